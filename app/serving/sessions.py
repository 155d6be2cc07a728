"""One published version in memory: its parts in the runtime of their format, checked before it may answer.

Checked are the hash of every part, what the graph takes and gives, and that the inputs kept at export still
give the outputs they gave then. Called by ``registry`` in a worker thread.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import zipfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from app.serving.runtimes.runtime import LoadedPart, Refused, Runtime, Source, Unreadable, first_line
from app.serving.tensors import check_arrays, largest_difference
from app.serving.warm_up import warm_up
from models.artifacts.store import ObjectMissing
from models.artifacts.versions import Versions
from models.catalog import Catalog
from models.contract.errors import ModelDamaged, RuntimeUnavailable, ValidationFailed
from models.contract.manifest import Manifest, PartFile, Probe
from models.contract.task import Array, Arrays, ServedModel, Task
from models.contract.tensors import TOLERANCES
from models.contract.ties import without_ties

_Cases = dict[tuple[str, str], dict[str, dict[str, Array]]]

PROBE_SLACK = 10
"""Another machine's kernels may differ from those of the export by this many tolerances."""


@dataclass(frozen=True)
class LoadedModel:
    """A version that is ready to answer."""

    manifest: Manifest
    served: ServedModel
    task: Task
    parts: Mapping[str, LoadedPart]
    in_process: bool
    """Whether every part computes on the thread that runs it."""
    run_seconds: Mapping[str, float]
    """What one row takes, by part, as measured when it was warmed up; infinity where another process computes."""
    digest: str
    """Hash of the manifest, which names the hash of every part."""

    @property
    def payload_bytes(self) -> int:
        """Size of the exported parts, wherever they are loaded."""
        return sum(part.payload_bytes for part in self.manifest.parts.values())

    def run(self, part: str, arrays: Arrays) -> dict[str, Array]:
        """Return the outputs of one run of ``part``.

        Raises:
            ValidationFailed: the arrays do not fit the part, or the graph refuses them.
            RuntimeUnavailable: what runs the part ended meanwhile.
            DeadlineExceeded: the run took longer than its limit.
        """
        check_arrays(part, self.served.signatures[part], arrays)
        try:
            return self.parts[part].run(arrays)
        except Refused as error:
            raise ValidationFailed.at("/inputs", f"the part '{part}' refused these values: {error}") from error


def load(
    versions: Versions,
    catalog: Catalog,
    runtimes: Mapping[str, Runtime],
    largest_batch: int,
    model: str,
    number: int,
) -> LoadedModel:
    """Return a version, checked and warm.

    Args:
        versions: where it lies.
        catalog: knows its task.
        runtimes: by format, what runs its parts.
        largest_batch: most rows that it will be asked for at a time.
        model: its model.
        number: its version.

    Raises:
        VersionNotFound: there is no such version.
        ModelDamaged: a part is missing, changed, or does not compute what it did at export; says which.
        RuntimeUnavailable: a part's format cannot be run here.
    """
    try:
        return _loaded(versions, catalog, runtimes, largest_batch, versions.manifest(model, number))
    finally:
        _give_back()


def _loaded(
    versions: Versions, catalog: Catalog, runtimes: Mapping[str, Runtime], largest_batch: int, manifest: Manifest
) -> LoadedModel:
    if manifest.task not in catalog.tasks():
        raise _damaged(manifest, f"its task '{manifest.task}' is not known here; check LECTERN_FAMILIES")
    parts = {name: _load(versions, runtimes, manifest, name) for name in manifest.parts}
    in_process = all(runtimes[part.format].in_process for part in manifest.parts.values())
    digest = f"sha256:{hashlib.sha256(manifest.model_dump_json().encode()).hexdigest()}"
    seconds: dict[str, float] = {}
    loaded = LoadedModel(manifest, manifest.served(), catalog.task(manifest.task), parts, in_process, seconds, digest)
    cases = _cases(manifest, _bytes(versions, manifest, manifest.probe, "its probe is not the one that was published"))
    _replay(loaded, cases)
    for name, part in parts.items():
        inputs = [arrays["in"] for (of, _), arrays in cases.items() if of == name]
        here = runtimes[manifest.parts[name].format].in_process
        seconds[name] = warm_up(part, manifest.parts[name].signature, inputs, largest_batch, in_process=here)
    return loaded


def _give_back() -> None:
    """Return to the system what loading needed for a moment; glibc keeps it for the process otherwise."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _load(versions: Versions, runtimes: Mapping[str, Runtime], manifest: Manifest, name: str) -> LoadedPart:
    part = manifest.parts[name]
    if part.format not in runtimes:
        raise RuntimeUnavailable(f"The part '{name}' is in the format '{part.format}', which this gateway cannot run.")
    changed = f"the bytes of the part '{name}' are not those that were published"
    try:
        return runtimes[part.format].load(Source(part.signature, partial(_bytes, versions, manifest, part, changed)))
    except Unreadable as error:
        raise _damaged(manifest, f"the part '{name}' cannot be read; {error}") from error


def _bytes(versions: Versions, manifest: Manifest, file: PartFile | Probe, changed: str) -> bytes:
    """Return a published file if it is the one that was published."""
    try:
        data = versions.read(file.path)
    except ObjectMissing as error:
        raise _damaged(manifest, f"{file.path} is missing from the artifact store") from error
    if hashlib.sha256(data).hexdigest() != file.sha256.removeprefix("sha256:"):
        raise _damaged(manifest, changed)
    return data


def _cases(manifest: Manifest, probe: bytes) -> _Cases:
    """Return the inputs and outputs of the probe by part and case."""
    cases: _Cases = defaultdict(lambda: {"in": {}, "out": {}})
    try:
        with np.load(io.BytesIO(probe), allow_pickle=False) as arrays:
            for key in arrays.files:
                part, case, direction, name = key.split("/")
                cases[part, case][direction][name] = arrays[key]
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise _damaged(manifest, f"its probe cannot be read: {first_line(error)}") from error
    return cases


def _replay(loaded: LoadedModel, cases: _Cases) -> None:
    """Compare what each part computes with what it gave at export."""
    manifest = loaded.manifest
    for (part, case), arrays in cases.items():
        if part not in loaded.parts:
            raise _damaged(manifest, f"its probe speaks of a part '{part}' that it does not have")
        try:
            found = loaded.run(part, arrays["in"])
        except ValidationFailed as error:
            raise _damaged(manifest, f"the part '{part}' does not run on probe {case}: {error.detail}") from error
        _compare(manifest, part, found, arrays["out"])


def _compare(manifest: Manifest, part: str, found: Arrays, expected: Arrays) -> None:
    signature = manifest.parts[part].signature
    found = without_ties(signature, expected, found, PROBE_SLACK)
    for tensor in signature.outputs:
        if tensor.name not in expected:
            continue
        difference = largest_difference(found[tensor.name], expected[tensor.name])
        if difference > TOLERANCES[tensor.quantity] * PROBE_SLACK:
            detail = f"'{tensor.name}' of the part '{part}' differs by {difference:.2g} from what it was at export"
            raise _damaged(manifest, detail)


def _damaged(manifest: Manifest, detail: str) -> ModelDamaged:
    return ModelDamaged(
        f"Version {manifest.version} of '{manifest.model}' cannot be served: {detail}. "
        "Point to another version, or train it again."
    )

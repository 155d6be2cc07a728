"""One published version in memory: its parts in ONNX Runtime, checked before it may answer.

Checked are the hash of every part, the names that the graph takes and gives, and that the inputs kept at
export still give the outputs they gave then. Called by ``registry`` in a worker thread.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.serving.tensors import check_arrays, largest_difference
from models.artifacts.store import ObjectMissing
from models.artifacts.versions import Versions
from models.catalog import Catalog
from models.contract.errors import ModelDamaged, ValidationFailed
from models.contract.manifest import Manifest, Part
from models.contract.task import Array, Arrays, ServedModel, Task
from models.contract.tensors import TOLERANCES, PartSignature

PROBE_SLACK = 10
"""Another machine's kernels may differ from those of the export by this many tolerances."""

# onnxruntime has no types.
RuntimeSession = Any


@dataclass(frozen=True)
class LoadedModel:
    """A version that is ready to answer."""

    manifest: Manifest
    served: ServedModel
    task: Task
    sessions: Mapping[str, RuntimeSession]

    @property
    def payload_bytes(self) -> int:
        """Size of the exported parts."""
        return sum(part.payload_bytes for part in self.manifest.parts.values())

    def run(self, part: str, arrays: Arrays) -> dict[str, Array]:
        """Return the outputs of one run of ``part``.

        Raises:
            ValidationFailed: the arrays do not fit the part, or the graph refuses them.
        """
        signature = self.served.signatures[part]
        check_arrays(part, signature, arrays)
        return _run(self.sessions[part], part, signature, arrays)


def load(versions: Versions, catalog: Catalog, model: str, number: int) -> LoadedModel:
    """Return a version, checked and warm.

    Raises:
        VersionNotFound: there is no such version.
        ModelDamaged: a part is missing, changed, or does not compute what it did at export; says which.
    """
    manifest = versions.manifest(model, number)
    if manifest.task not in catalog.tasks():
        raise _damaged(manifest, f"its task '{manifest.task}' is not known here; check LECTERN_FAMILIES")
    try:
        sessions = {
            name: _session(manifest, name, part, versions.read(part.path)) for name, part in manifest.parts.items()
        }
        probe = versions.read(manifest.probe.path)
    except ObjectMissing as error:
        raise _damaged(manifest, f"{error.args[0]} is missing from the artifact store") from error
    loaded = LoadedModel(manifest, manifest.served(), catalog.task(manifest.task), sessions)
    _replay(loaded, probe)
    return loaded


def _session(manifest: Manifest, name: str, part: Part, data: bytes) -> RuntimeSession:
    import onnxruntime  # noqa: PLC0415 - 0.2 s and 20 MB that the gateway need not wait for at start

    if hashlib.sha256(data).hexdigest() != part.sha256.removeprefix("sha256:"):
        raise _damaged(manifest, f"the bytes of the part '{name}' are not those that were published")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises many kinds without a common base
        raise _damaged(manifest, f"ONNX Runtime cannot read the part '{name}': {_line(error)}") from error
    for noun, found, wanted in (
        ("inputs", session.get_inputs(), part.signature.inputs),
        ("outputs", session.get_outputs(), part.signature.outputs),
    ):
        names, promised = {item.name for item in found}, {tensor.name for tensor in wanted}
        if names != promised:
            detail = f"the part '{name}' has the {noun} {sorted(names)}; its signature says {sorted(promised)}"
            raise _damaged(manifest, detail)
    return session


def _run(session: RuntimeSession, part: str, signature: PartSignature, arrays: Arrays) -> dict[str, Array]:
    names = [tensor.name for tensor in signature.outputs]
    try:
        return dict(zip(names, session.run(names, dict(arrays)), strict=True))
    except Exception as error:  # as above; a value out of range is only seen by the graph
        raise ValidationFailed.at("/inputs", f"the part '{part}' refused these values: {_line(error)}") from error


def _replay(loaded: LoadedModel, probe: bytes) -> None:
    """Compare what each part computes with what it gave at export."""
    manifest = loaded.manifest
    if hashlib.sha256(probe).hexdigest() != manifest.probe.sha256.removeprefix("sha256:"):
        raise _damaged(manifest, "its probe is not the one that was published")
    cases: dict[tuple[str, str], dict[str, dict[str, Array]]] = defaultdict(lambda: {"in": {}, "out": {}})
    try:
        with np.load(io.BytesIO(probe), allow_pickle=False) as arrays:
            for key in arrays.files:
                part, case, direction, name = key.split("/")
                cases[part, case][direction][name] = arrays[key]
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise _damaged(manifest, f"its probe cannot be read: {_line(error)}") from error
    for (part, case), arrays in cases.items():
        if part not in loaded.sessions:
            raise _damaged(manifest, f"its probe speaks of a part '{part}' that it does not have")
        try:
            found = loaded.run(part, arrays["in"])
        except ValidationFailed as error:
            raise _damaged(manifest, f"the part '{part}' does not run on probe {case}: {error.detail}") from error
        _compare(manifest, part, found, arrays["out"])


def _compare(manifest: Manifest, part: str, found: Arrays, expected: Arrays) -> None:
    for tensor in manifest.parts[part].signature.outputs:
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


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]

"""The smallest model whose every number is known, taken the whole way: built, exported, published, read back, asked.

XOR with two hidden units (Goodfellow, Bengio, Courville 2016, §6.1) has an exact solution, so its answers are
known without a file of expected outputs.
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from models.catalog import Catalog
from models.contract.manifest import DatasetReference, Manifest, Part, Probe
from models.contract.task import Arrays, answer
from workers.exporting.formats import EXPORTERS, write
from workers.exporting.gate import check_parity, traced_sizes

CATALOG = Catalog()
META: dict[str, Any] = {
    "height": 1,
    "width": 2,
    "channels": None,
    "classes": ["even", "odd"],
    "value_range": [0, 1],
    "pixel_mean": 0.5,
    "pixel_standard_deviation": 0.5,
}
SOLUTION = {
    "layers.0.weight": [[1.0, 1.0], [1.0, 1.0]],
    "layers.0.bias": [0.0, -1.0],
    "layers.2.weight": [[-1.0, 2.0], [1.0, -2.0]],
    "layers.2.bias": [1.0, 0.0],
}
"""W, c, and the two logits (1 − y, y) of y = w·h with w = [1, −2]."""

CORNERS = [[[0, 0]], [[0, 1]], [[1, 0]], [[1, 1]]]


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    """Return the versions of a store to which the exact solution was published as ``xor``."""
    spec = CATALOG.spec("mlp")
    config = spec.config.parse({"hidden_sizes": [2], "normalization": "none"})
    family = CATALOG.family("mlp")(config, META)
    module = family.build(torch.Generator().manual_seed(1))
    weights = {name: torch.tensor(value) for name, value in SOLUTION.items()}
    module.load_state_dict({**module.state_dict(), **weights})
    ((part, export),) = family.export(module).items()
    generator = torch.Generator().manual_seed(2)
    graph = write(part, export, "onnx", family.example(part, traced_sizes(export.signature), generator))
    run = EXPORTERS["onnx"].open(graph, export.signature)
    parity, _ = check_parity(part, export, "onnx", run, family, generator)

    versions = Versions(ArtifactStore(tmp_path.as_uri()))
    part_path, probe_path = (versions.part_path("job_1", 1, file) for file in ("classifier.onnx", "probe.npz"))
    versions.write(part_path, graph)
    versions.write(probe_path, b"")
    digest = hashlib.sha256(graph).hexdigest()
    versions.publish(
        Manifest(
            model="xor",
            version=1,
            job="job_1",
            family=spec.name,
            task=spec.task,
            verbs=("classify",),
            headline="accuracy",
            config=config.model_dump(mode="json"),
            training=spec.training().model_dump(mode="json"),
            dataset=DatasetReference(name="xor", kind="images", digest="sha256:0", counts={"train": 4}),
            seed=0,
            code_version="0",
            created=datetime(2026, 1, 1, tzinfo=UTC),
            duration_seconds={},
            metrics={},
            curves=[],
            parity={part: parity},
            parts={part: Part(path=part_path, sha256=digest, payload_bytes=len(graph), signature=export.signature)},
            probe=Probe(path=probe_path, sha256=hashlib.sha256(b"").hexdigest()),
            meta=META,
            assets={},
            value_range=(0.0, 1.0),
            insides=(),
        )
    )
    return versions


def _ask(versions: Versions, inputs: list[Any]) -> Any:  # noqa: ANN401 - predictions are read by key
    """Answer through the codec, from nothing but what lies in the store."""
    manifest = versions.manifest("xor", versions.listing("xor").resolve("xor", None))
    parts = {
        name: EXPORTERS["onnx"].open(versions.read(part.path), part.signature) for name, part in manifest.parts.items()
    }

    def run(part: str, arrays: Arrays) -> Arrays:
        outputs = parts[part](arrays)
        assert outputs["logits"][:, 0].tolist() == (1 - outputs["logits"][:, 1]).tolist()
        return outputs

    verb = CATALOG.task(manifest.task).verbs["classify"]
    return answer(verb.codec(manifest.served(), verb.request.model_validate({"inputs": inputs})), run)


def test_published_xor_answers_exactly(versions: Versions) -> None:
    """0, 1, 1, 0; the softmax of logits 0 and 1 gives σ(1) to each answer."""
    predictions = _ask(versions, CORNERS)
    assert [item["label"] for item in predictions] == ["even", "odd", "odd", "even"]
    wanted = 1 / (1 + math.exp(-1))
    assert [item["probability"] for item in predictions] == pytest.approx([wanted] * 4, abs=1e-7)
    assert [item["top"][1]["probability"] for item in predictions] == pytest.approx([1 - wanted] * 4, abs=1e-7)


def test_published_xor_is_piecewise_linear_between_the_corners(versions: Versions) -> None:
    """On the diagonal y(t, t) = 2t below ½ and 2 − 2t above: at ¼ and ¾ both labels are equally likely."""
    (low, high) = _ask(versions, [[[0.25, 0.25]], [[0.75, 0.75]]])
    assert (low["probability"], high["probability"]) == (0.5, 0.5)
    assert (low["label"], high["label"]) == ("even", "even")


def test_answers_do_not_depend_on_their_order(versions: Versions) -> None:
    forwards, backwards = _ask(versions, CORNERS), _ask(versions, CORNERS[::-1])
    assert forwards == backwards[::-1]
    assert forwards[:1] == _ask(versions, CORNERS[:1])

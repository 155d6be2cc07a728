"""The verb ``tag`` over HTTP, on a tiny published tagger, and jobs whose configuration names a further dataset."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
import redis
from onnx import TensorProto, helper, numpy_helper

from app.dependencies import Services
from models.contract.manifest import Part, Probe
from models.contract.tensors import PartSignature, TensorSignature
from models.data.kind import UploadedFile
from models.tagging.encoding import Asked, Encoding
from models.tagging.sentences import Sentence
from unit.app.job_records import finish, submit
from unit.app.publishing import Publisher

TAGS = ["O", "B-PER", "I-PER"]
WORDS = ("visits", "ann", "smith")
EMISSIONS = np.array([[0, 0, 0], [1, 0, 0], [3, 0, 0], [0, 4, 1], [0, 1, 4]], dtype=np.float32)
"""Of padding, of unknown words, and of each of ``WORDS``."""

SIGNATURE = PartSignature(
    inputs=(TensorSignature(name="words", dtype="int64", shape=("batch", "time")),),
    outputs=(TensorSignature(name="emissions", shape=("batch", "time", 3), quantity="logits"),),
)


@pytest.fixture
def tagger(publisher: Publisher) -> str:
    """Publish a tagger whose tags follow from each word; return its name."""
    job = "job_tagger"
    cases = {"tagger/0/in/words": np.array([[2, 0]]), "tagger/0/out/emissions": EMISSIONS[[[2, 0]]]}
    probe = io.BytesIO()
    np.savez(probe, **cases)  # type: ignore[arg-type]
    files = {"tagger.onnx": _graph(), "probe.npz": probe.getvalue()}
    for name, data in files.items():
        publisher.store.put(publisher.versions.part_path(job, 1, name), data)
    encoding = Encoding.learnt([Sentence((word,)) for word in WORDS], Asked())
    assert sorted(encoding.words.symbols) == sorted(WORDS)
    record = {**encoding.record(), "words": list(WORDS)}
    chain = {"start": [0.0] * 3, "transitions": [[0.0] * 3] * 3, "end": [0.0] * 3}
    other = publisher.publish(job="job_other")
    manifest = other.model_copy(
        update={
            "model": "tagger",
            "version": 1,
            "job": job,
            "family": "sequence_tagger",
            "task": "tagging",
            "verbs": ("tag",),
            "parts": {
                "tagger": Part(
                    path=publisher.versions.part_path(job, 1, "tagger.onnx"),
                    sha256=hashlib.sha256(files["tagger.onnx"]).hexdigest(),
                    payload_bytes=len(files["tagger.onnx"]),
                    signature=SIGNATURE,
                )
            },
            "probe": Probe(
                path=publisher.versions.part_path(job, 1, "probe.npz"),
                sha256=hashlib.sha256(files["probe.npz"]).hexdigest(),
            ),
            "meta": {"scheme": "bio", "features": []},
            "assets": {"encoding": record, "tags": TAGS, "scheme": "bio", "chain": chain},
            "history": (),
        }
    )
    return publisher.versions.publish(manifest).model


async def test_tags_spans_and_scores_come_back(client: httpx.AsyncClient, tagger: str) -> None:
    """In the order of the sentences, whatever their lengths; text is cut into tokens."""
    body: dict[str, Any] = {"sentences": [["Ann", "Smith", "visits", "Ann"], "Ann visits"], "marginals": True}
    answer = await client.post(f"/v1/models/{tagger}/tag", json=body)
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["predictions"]
    assert first["tags"] == ["B-PER", "I-PER", "O", "B-PER"]
    assert first["spans"] == [
        {"label": "PER", "start": 0, "end": 2, "text": "Ann Smith"},
        {"label": "PER", "start": 3, "end": 4, "text": "Ann"},
    ]
    assert (second["tokens"], second["tags"]) == (["Ann", "visits"], ["B-PER", "O"])
    assert first["score"] < 0
    assert np.sum(first["marginals"]["probabilities"], axis=1) == pytest.approx(np.ones(4))
    assert first["marginals"]["tags"] == TAGS


async def test_only_legal_tags_are_served_unless_asked(client: httpx.AsyncClient, tagger: str) -> None:
    """By itself the word would be inside a span that nothing began."""
    answers = [
        await client.post(f"/v1/models/{tagger}/tag", json={"sentences": [["smith"]], **options})
        for options in ({}, {"constrained": False}, {"n_best": 5}, {"transitions": True})
    ]
    served, raw, best, table = (answer.json()["predictions"][0] for answer in answers)
    assert (served["tags"], raw["tags"]) == (["B-PER"], ["I-PER"])
    assert [item["tags"] for item in best["alternatives"]] == [["B-PER"], ["O"]]
    assert table["transitions"]["start"] == [0, 0, None]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"sentences": []}, "/sentences"),
        ({"sentences": [[]]}, "/sentences/0"),
        ({"sentences": [["a"], ""]}, "/sentences/1"),
        ({"sentences": [["a"] * 10_000]}, "/sentences/0"),
        ({"sentences": [["a", 1]]}, "/sentences/0/1"),
        ({"sentences": [["a"]], "n_best": 0}, "/n_best"),
        ({"sentences": [["a"]], "beam": 3}, "/beam"),
        ({}, "/sentences"),
    ],
)
async def test_wrong_request_is_named(client: httpx.AsyncClient, tagger: str, body: object, pointer: str) -> None:
    """By its place."""
    answer = await client.post(f"/v1/models/{tagger}/tag", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_body_that_is_no_utf8_is_refused(client: httpx.AsyncClient, tagger: str) -> None:
    """As any that cannot be parsed."""
    answer = await client.post(
        f"/v1/models/{tagger}/tag", content=b'{"sentences": ["\xff"]}', headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")


@pytest.fixture
def datasets(services: Services, tmp_path: Path) -> None:
    """Add tagged sentences and word vectors."""
    texts = {"chunks": ("tagged", "EU B-X\nrejects O\n\n" * 9), "glove": ("vectors", "eu 1 2\nrejects 3 4\n")}
    for name, (kind, text) in texts.items():
        path = tmp_path / f"{name}.txt"
        path.write_text(text, encoding="utf-8")
        services.datasets.add(name, kind, {}, {"train": UploadedFile(path.name, path)})


@pytest.mark.usefixtures("datasets")
async def test_further_dataset_is_kept_for_the_job(client: httpx.AsyncClient, services: Services) -> None:
    """Its digest stands in the job, and it cannot be deleted while the job needs it."""
    named = {"family": "sequence_tagger", "dataset": "chunks", "config": {"word_vectors": "glove"}, "training": {}}
    job_id = await submit(client, **named)
    job = (await client.get(f"/v1/jobs/{job_id}")).json()
    digest = services.datasets.record("glove").digest
    assert job["further_datasets"] == {"word_vectors": {"name": "glove", "digest": digest}}
    refused = await client.delete("/v1/datasets/glove")
    assert (refused.status_code, refused.json()["code"]) == (409, "dataset_in_use")
    assert (await client.get("/v1/families/sequence_tagger")).json()["further_datasets"] == {"word_vectors": "vectors"}


@pytest.mark.usefixtures("datasets")
async def test_job_is_not_resumed_on_other_vectors(
    client: httpx.AsyncClient, services: Services, redis_client: redis.Redis, tmp_path: Path
) -> None:
    """Its parameters began with those that were there when it was submitted."""
    named = {"family": "sequence_tagger", "dataset": "chunks", "config": {"word_vectors": "glove"}}
    job_id = await submit(client, **named, training={"epochs": 1})
    finish(redis_client, job_id, "cancelled", checkpoint="x")
    assert (await client.delete("/v1/datasets/glove")).status_code == 204
    path = tmp_path / "other.txt"
    path.write_text("eu 5 6\n", encoding="utf-8")
    services.datasets.add("glove", "vectors", {}, {"train": UploadedFile(path.name, path)})
    refused = await client.post(f"/v1/jobs/{job_id}/resume", json={"training": {"epochs": 2}})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "'chunks' or 'glove'" in refused.json()["detail"]


@pytest.mark.usefixtures("datasets")
@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("glov", "validation_failed", "Did you mean 'glove'?"), ("chunks", "wrong_dataset_kind", "of the kind 'vectors'")],
)
async def test_wrong_further_dataset_is_named(client: httpx.AsyncClient, name: str, code: str, words: str) -> None:
    """At the option that names it."""
    body = {"family": "sequence_tagger", "dataset": "chunks", "model": "m", "config": {"word_vectors": name}}
    answer = await client.post("/v1/jobs", json=body)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert (problem["code"], problem["errors"][0]["pointer"]) == (code, "/config/word_vectors")
    assert words in problem["detail"]


def _graph() -> bytes:
    table = numpy_helper.from_array(EMISSIONS, "table")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "words"], ["emissions"], axis=0)],
        "tagger",
        [helper.make_tensor_value_info("words", TensorProto.INT64, ["batch", "time"])],
        [helper.make_tensor_value_info("emissions", TensorProto.FLOAT, ["batch", "time", 3])],
        [table],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    assert isinstance(model, onnx.ModelProto)
    return model.SerializeToString()

"""Requests of the load, and whether an answer to them is right."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest

from benchmarks.serving.answers import Answer, answer_in
from benchmarks.serving.forms import BarePng, Form, Inputs, OipBinary, OipJson
from benchmarks.serving.model import NAME, BenchModel, publish
from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions

FORMS = (OipJson, OipBinary, BarePng, Inputs)


@pytest.fixture(scope="module")
def model() -> BenchModel:
    return BenchModel.make()


def _probabilities(model: BenchModel) -> list[float]:
    return model.outputs["probabilities"].reshape(-1).tolist()


@pytest.mark.parametrize("form", FORMS)
def test_each_form_has_eight_bad_requests_that_differ_from_the_good_one(model: BenchModel, form: type[Form]) -> None:
    made = form(model, "/path", {"Authorization": "Bearer x"})
    requests = [made.good(), *made.bad()]
    assert len(set(requests)) == 9
    for request in requests:
        head, _, body = request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /path HTTP/1.1\r\n")
        assert b"\r\nAuthorization: Bearer x" in head
        assert f"\r\nContent-Length: {len(body)}".encode() in head


def test_binary_request_is_json_of_the_announced_length_and_then_the_values(model: BenchModel) -> None:
    head, _, body = OipBinary(model, "/path", {}).good().partition(b"\r\n\r\n")
    length = int(head.split(b"Inference-Header-Content-Length: ")[1].split(b"\r\n")[0])
    (tensor,) = json.loads(body[:length])["inputs"]
    assert tensor["parameters"]["binary_data_size"] == len(body) - length
    assert (np.frombuffer(body[length:], "<f4") == model.images.reshape(-1)).all()


def test_binary_answer_is_right_only_with_the_bytes_it_announces(model: BenchModel) -> None:
    values = np.array(_probabilities(model), "<f4").tobytes()
    said = {"outputs": [{"name": "probabilities", "parameters": {"binary_data_size": len(values)}}]}
    header = json.dumps(said).encode()
    head = f"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: {len(header)}\r\nContent-Length: "
    form = OipBinary(model, "/path", {})
    for body, right in ((header + values, True), (header + values[:-4], False), (header + values[::-1], False)):
        answer = answer_in(f"{head}{len(body)}\r\n\r\n".encode() + body)
        assert answer is not None
        assert form.right(answer) is right


def test_json_answer_is_right_only_with_the_probabilities_of_the_graph(model: BenchModel) -> None:
    form = OipJson(model, "/path", {})
    for data, right in ((_probabilities(model), True), ([0.1] * 10, False), ([], False)):
        body = json.dumps({"outputs": [{"name": "probabilities", "data": data}]}).encode()
        assert form.right(Answer(200, b"", body)) is right
    assert not form.right(Answer(500, b"", b"{}"))
    assert not form.right(Answer(200, b"", b"no json"))


def test_published_graph_computes_what_answers_are_compared_with(model: BenchModel, tmp_path: object) -> None:
    """A version that a gateway loads: the bytes in the store give the outputs that the forms expect."""
    url = f"file://{tmp_path}/store"
    publish(model, url)
    versions = Versions(ArtifactStore(url))
    manifest = versions.manifest(NAME, 1)
    session = onnxruntime.InferenceSession(versions.read(manifest.parts["classifier"].path))
    (found,) = session.run(["probabilities"], {"images": model.images})
    assert found.reshape(-1).tolist() == pytest.approx(_probabilities(model))
    assert found.sum() == pytest.approx(1, abs=1e-5)

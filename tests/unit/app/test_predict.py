"""Predictions by verb: the right version, one prediction per input, and a sentence for every wrong request."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import re
from typing import cast

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from app.dependencies import Services
from models.classification.task import TASK
from models.contract.task import Verb
from unit.app.publishing import Publisher

IMAGE = [[0, 1], [2, 3]]
BODY = {"inputs": [IMAGE, [[9, 0], [0, 0]]], "top": 2}


async def test_predictions_follow_the_inputs(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """Each input has a prediction, in order, and the version stands in body and header."""
    publisher.publish()
    answer = await client.post("/v1/models/tiny/classify", json=BODY)
    assert answer.status_code == 200, answer.text
    assert answer.headers["lectern-model-version"] == "1"
    found = answer.json()
    assert (found["model"], found["version"]) == ("tiny", 1)
    assert [item["label"] for item in found["predictions"]] == ["c", "c"]
    assert len(found["predictions"][0]["top"]) == 2


async def test_alias_production_wins_over_the_newest(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """Without a version: production if set, else the newest; a change counts at once."""
    publisher.publish()
    publisher.publish(job="job_2", scale=-1.0)
    assert (await client.post("/v1/models/tiny/classify", json=BODY)).json()["version"] == 2
    answer = await client.put("/v1/models/tiny/aliases/production", json={"version": 1})
    assert answer.status_code == 200
    assert (await client.post("/v1/models/tiny/classify", json=BODY)).json()["version"] == 1
    named = await client.post("/v1/models/tiny/versions/production/classify", json=BODY)
    assert named.json()["version"] == 1
    assert (await client.post("/v1/models/tiny/versions/2/classify", json=BODY)).json()["version"] == 2
    assert (await client.delete("/v1/models/tiny/aliases/production")).status_code == 204
    assert (await client.post("/v1/models/tiny/classify", json=BODY)).json()["version"] == 2


async def test_version_published_meanwhile_is_found_at_once(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """What is not known is looked up, never remembered as missing."""
    assert (await client.post("/v1/models/tiny/classify", json=BODY)).status_code == 404
    publisher.publish()
    assert (await client.post("/v1/models/tiny/versions/1/classify", json=BODY)).status_code == 200
    assert (await client.post("/v1/models/tiny/versions/2/classify", json=BODY)).status_code == 404
    publisher.publish(job="job_2")
    assert (await client.post("/v1/models/tiny/versions/2/classify", json=BODY)).status_code == 200


async def test_bare_image_is_classified(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """A picture can be the body."""
    publisher.publish()
    picture = io.BytesIO()
    Image.fromarray(np.array(IMAGE, dtype=np.uint8)).save(picture, "PNG")
    answer = await client.post(
        "/v1/models/tiny/classify", content=picture.getvalue(), headers={"Content-Type": "image/png"}
    )
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == 1


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("image/png", "image/png"),
        ("image/png;q=0.9, */*;q=0.1", "image/png"),
        ("application/json, image/png", "application/json"),
        ("application/json;q=0.5, image/png", "image/png"),
        ("application/json;q=0, image/png", "image/png"),
        ("image/png;q=0, application/json", "application/json"),
        ("image/*", "image/png"),
        ("text/html, image/webp, */*;q=0.8", "application/json"),
        ("*/*", "application/json"),
    ],
)
async def test_answer_comes_in_the_form_that_is_accepted(
    client: httpx.AsyncClient, publisher: Publisher, accept: str, form: str
) -> None:
    """Who names PNG and not JSON gets the picture, with all the explanations the model can give."""
    publisher.publish()
    answer = await client.post("/v1/models/tiny/classify", json=BODY, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, form), answer.text
    if form == "image/png":
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert picture.format == "PNG"


async def test_a_form_that_the_picture_does_not_have_is_refused_with_those_it_has(
    client: httpx.AsyncClient, publisher: Publisher
) -> None:
    """A client that takes only SVG learns that there is PNG; one that takes either gets what there is."""
    publisher.publish()
    for accept in ("image/svg+xml", "image/jpeg", "image/png;q=0, image/svg+xml"):
        refused = await client.post("/v1/models/tiny/classify", json=BODY, headers={"Accept": accept})
        assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable")
        assert "image/png" in refused.json()["detail"]
    either = await client.post("/v1/models/tiny/classify", json=BODY, headers={"Accept": "image/svg+xml, image/png"})
    assert either.headers["content-type"] == "image/png"


async def test_headers_that_come_twice_are_read_together(client: httpx.AsyncClient, publisher: Publisher) -> None:
    publisher.publish()
    headers = [("Accept", "application/json"), ("Accept", "image/png"), ("X-Other", "1")]
    answer = await client.post("/v1/models/tiny/classify", json=BODY, headers=headers)
    assert answer.headers["content-type"] == "application/json"


async def test_of_many_mistakes_in_a_list_the_first_is_told(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """A body can hold a million of them."""
    publisher.publish()
    answer = await client.post("/v1/models/tiny/classify", json={"inputs": [IMAGE], "explain": [1] * 100_000})
    assert answer.status_code == 422
    assert len(answer.content) < 2_000
    many = [{f"field {number}": 1 for number in range(1_001)}]
    answer = await client.post("/v1/models/tiny/classify", json={"inputs": many})
    assert answer.status_code == 422
    assert "1001 fields" in answer.json()["detail"]


async def test_a_long_answer_is_that_of_each_input(
    client: httpx.AsyncClient, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is written in pieces."""
    monkeypatch.setattr("app.routes.inference.WRITTEN_SECONDS", 0.0)
    publisher.publish()
    one = await client.post("/v1/models/tiny/classify", json={"inputs": [IMAGE]})
    many = await client.post("/v1/models/tiny/classify", json={"inputs": [IMAGE] * 40})
    assert many.json() == {**one.json(), "predictions": one.json()["predictions"] * 40}


async def test_verb_without_a_picture_says_so(
    client: httpx.AsyncClient, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.publish()
    verb = TASK.verbs["classify"]
    monkeypatch.setitem(cast("dict[str, Verb]", TASK.verbs), "classify", dataclasses.replace(verb, picture=None))
    answer = await client.post("/v1/models/tiny/classify", json=BODY, headers={"Accept": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")


@pytest.mark.parametrize(
    ("body", "media", "status", "code"),
    [
        (b'{"inputs": [[[0, 1], [2', "application/json", 400, "malformed_body"),
        (b'{"inputs": [[[NaN, 1], [2, 3]]]}', "application/json", 400, "malformed_body"),
        (b'{"inputs": [[[Infinity, 1], [2, 3]]]}', "application/json", 400, "malformed_body"),
        (b'{"inputs": [[[1e999, 1], [2, 3]]]}', "application/json", 400, "malformed_body"),
        (b"[" * 100_000, "application/json", 400, "malformed_body"),
        (b"", "application/json", 400, "malformed_body"),
        (b"\xff\xfe", "application/json", 400, "malformed_body"),
        (b"[]", "application/json", 422, "validation_failed"),
        (b"null", "application/json", 422, "validation_failed"),
        (b"{}", "application/json", 422, "validation_failed"),
        (b'{"inputs": []}', "application/json", 422, "validation_failed"),
        (b'{"inputs": [[[0, 1]]]}', "application/json", 422, "validation_failed"),
        (b'{"inputs": [[[0, 1], [2]]]}', "application/json", 422, "validation_failed"),
        (b'{"inputs": [[["a", 1], [2, 3]]]}', "application/json", 422, "validation_failed"),
        (b'{"inputs": [' + b"[" * 900 + b"]" * 900 + b"]}", "application/json", 422, "validation_failed"),
        (b'{"inputs": [[[0, 1], [2, 3]]], "bottom": 1}', "application/json", 422, "validation_failed"),
        (b"\x00\x01", "image/png", 422, "validation_failed"),
        (b"x=1", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
)
async def test_wrong_body_is_refused(
    client: httpx.AsyncClient, publisher: Publisher, body: bytes, media: str, status: int, code: str
) -> None:
    """Nothing that a client sends is an error of the server."""
    publisher.publish()
    answer = await client.post("/v1/models/tiny/classify", content=body, headers={"Content-Type": media})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_body_without_media_type_is_read_as_json(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """Many clients forget it."""
    publisher.publish()
    content = b'{"inputs": [[[0, 1], [2, 3]]]}'
    assert (await client.post("/v1/models/tiny/classify", content=content)).status_code == 200


async def test_unknown_verb_lists_those_answered(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """The caller learns what to ask instead."""
    publisher.publish()
    answer = await client.post("/v1/models/tiny/translate", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "verb_not_found")
    assert "classify" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["tony", "%2e%2e", "a\x00b", "a" * 100])
async def test_unknown_model_is_not_found(client: httpx.AsyncClient, publisher: Publisher, name: str) -> None:
    """Also what cannot be a name, or would be a path."""
    publisher.publish()
    url = httpx.URL("http://localhost", raw_path=f"/v1/models/{name}/classify".replace("\x00", "%00").encode())
    answer = await client.post(url, json=BODY)
    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found"), answer.text
    if name == "tony":
        assert "Did you mean 'tiny'?" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("file", "data", "reason"),
    [
        ("classifier.onnx", b"damaged", "the bytes of the part 'classifier'"),
        ("classifier.onnx", None, "is missing from the artifact store"),
        ("probe.npz", b"damaged", "its probe is not the one"),
    ],
)
async def test_damaged_version_says_what_is_wrong(
    client: httpx.AsyncClient, publisher: Publisher, file: str, data: bytes | None, reason: str
) -> None:
    """Nothing is served from a part that fails its checks."""
    publisher.publish()
    path = publisher.versions.part_path("job_1", 1, file)
    if data is None:
        publisher.store.delete(path)
    else:
        publisher.store.put(path, data)
    answer = await client.post("/v1/models/tiny/classify", json=BODY)
    assert (answer.status_code, answer.json()["code"]) == (503, "model_damaged")
    assert reason in answer.json()["detail"]
    assert answer.headers["retry-after"]


async def test_part_that_computes_something_else_than_at_export_is_not_served(
    client: httpx.AsyncClient, publisher: Publisher
) -> None:
    """The control of the probe: another graph under the right hash."""
    wrong, right = publisher.publish(model="wrong", scale=2.0), publisher.publish(job="job_2")
    mixed = right.model_copy(update={"model": "mixed", "job": "job_3", "probe": wrong.probe})
    publisher.versions.publish(mixed)
    answer = await client.post("/v1/models/mixed/classify", json=BODY)
    assert answer.json()["code"] == "model_damaged"
    assert "differs" in answer.json()["detail"]


async def test_deleted_version_answers_no_more(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """Deleting unloads."""
    publisher.publish()
    publisher.publish(job="job_2")
    assert (await client.post("/v1/models/tiny/versions/2/classify", json=BODY)).status_code == 200
    assert (await client.delete("/v1/models/tiny/versions/2")).status_code == 204
    assert (await client.post("/v1/models/tiny/versions/2/classify", json=BODY)).status_code == 404
    assert (await client.post("/v1/models/tiny/classify", json=BODY)).json()["version"] == 1


async def test_version_is_loaded_once_for_all_who_ask(
    client: httpx.AsyncClient, publisher: Publisher, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty requests at the same moment load one session."""
    publisher.publish()
    manifests: list[int] = []
    read = services.versions.manifest
    monkeypatch.setattr(
        services.versions, "manifest", lambda model, number: (manifests.append(number), read(model, number))[1]
    )
    answers = await asyncio.gather(*(client.post("/v1/models/tiny/classify", json=BODY) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert manifests == [1]


async def test_predictions_are_counted_by_outcome(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """Only of models and verbs that exist, so that nobody can make up labels."""
    publisher.publish()
    await client.post("/v1/models/tiny/classify", json=BODY)
    await client.post("/v1/models/tiny/classify", json={})
    await client.post("/v1/models/other/classify", json=BODY)
    for made_up in ("divine", "foretell"):
        assert (await client.post(f"/v1/models/tiny/{made_up}", json=BODY)).status_code == 404
    text = (await client.get("/metrics")).text
    labels = (
        'lectern_prediction_seconds_count{model="tiny",outcome="%s",project="default",verb="classify",version="1"} 1.0'
    )
    assert labels % "ok" in text
    assert labels % "validation_failed" in text
    assert 'model="other"' not in text
    assert not re.search("divine|foretell", text)
    assert labels.replace("classify", "other").replace("1.0", "2.0") % "verb_not_found" in text
    assert 'lectern_model_load_seconds_count{model="tiny",outcome="ok",project="default"} 1.0' in text
    assert "lectern_models_loaded 1.0" in text
    assert 'route="/v1/models/{model}/{verb}"' in text


async def test_client_that_leaves_while_it_sends_is_no_failure(
    gateway: FastAPI, client: httpx.AsyncClient, publisher: Publisher
) -> None:
    """Nor is one that leaves later."""
    publisher.publish()
    path = "/v1/models/tiny/classify"
    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(_: object) -> None:
        pass

    await gateway(scope, receive, send)
    text = (await client.get("/metrics")).text
    labels = 'model="tiny",outcome="client_left",project="default",verb="classify",version="1"'
    assert f"lectern_prediction_seconds_count{{{labels}}} 1.0" in text

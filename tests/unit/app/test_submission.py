"""What a job may ask for: each wrong field is named, with what would be right."""

from __future__ import annotations

import httpx
import orjson
import pytest
import redis

from app.dependencies import Services
from unit.app.job_records import finish, submit
from unit.app.publishing import Publisher

BODY = {"family": "mlp", "dataset": "digits", "model": "m"}


@pytest.mark.parametrize(
    ("changes", "code", "pointer", "words"),
    [
        ({"family": "mpl"}, "validation_failed", "/family", "Did you mean 'mlp'?"),
        ({"family": 3}, "validation_failed", "/family", "string"),
        ({"dataset": "digit"}, "validation_failed", "/dataset", "Did you mean 'digits'?"),
        ({"dataset": "../digits"}, "validation_failed", "/dataset", "letters, digits, _ . and -"),
        ({"model": "no spaces"}, "validation_failed", "/model", "letters, digits, _ . and -"),
        ({"model": ""}, "validation_failed", "/model", "1 to 64 characters"),
        ({"colour": "red"}, "validation_failed", "/colour", "does not exist"),
        ({"config": {"hiden_sizes": [3]}}, "validation_failed", "/config/hiden_sizes", "hidden_sizes"),
        ({"config": {"epochs": 3}}, "validation_failed", "/config/epochs", "did you mean 'training.epochs'?"),
        ({"config": {"epoch": 3}}, "validation_failed", "/config/epoch", "did you mean 'training.epochs'?"),
        (
            {"config": {"priority": "low"}},
            "validation_failed",
            "/config/priority",
            "'priority', which stands beside config",
        ),
        ({"config": {"formats": ["onnx"]}}, "validation_failed", "/config/formats", "did you mean 'export.formats'?"),
        ({"training": {"dropout": 0}}, "validation_failed", "/training/dropout", "did you mean 'config.dropout'?"),
        (
            {"training": {"patience": 3}},
            "validation_failed",
            "/training/patience",
            "'training.early_stopping.patience'",
        ),
        ({"quantize": True}, "validation_failed", "/quantize", "did you mean 'export.quantize'?"),
        ({"config": {"hidden_sizes": [0]}}, "validation_failed", "/config/hidden_sizes/0", "greater"),
        ({"config": {"hidden_sizes": "wide"}}, "validation_failed", "/config/hidden_sizes", "must be a list"),
        ({"config": {"dropout": 1}}, "validation_failed", "/config/dropout", "less than 1"),
        ({"config": []}, "validation_failed", "/config", "must be an object"),
        ({"training": {"epochs": 0}}, "validation_failed", "/training/epochs", "greater"),
        ({"training": {"epochs": 1.5}}, "validation_failed", "/training/epochs", "integer"),
        ({"training": {"warp": 9}}, "validation_failed", "/training/warp", "does not exist"),
        (
            {"training": {"optimizer": "adam", "momentum": 0.9}},
            "validation_failed",
            "/training",
            "momentum is not used",
        ),
        ({"export": {"formats": []}}, "validation_failed", "/export/formats", "at least 1"),
        ({"export": {"formats": ["pickle"]}}, "validation_failed", "/export/formats/0", "onnx"),
        ({"export": {"formats": ["onnx", "onnx"]}}, "validation_failed", "/export/formats", "a format twice"),
        ({"export": {"quantize": 8}}, "validation_failed", "/export/quantize", "boolean"),
        (
            {"export": {"formats": ["onnx", "torchscript"], "quantize": True}},
            "validation_failed",
            "/export/quantize",
            'needs "formats": ["onnx"]',
        ),
        (
            {"export": {"quantize": True, "formats": ["torchscript"]}},
            "validation_failed",
            "/export/quantize",
            'needs "formats": ["onnx"]',
        ),
    ],
)
async def test_wrong_field_is_named(
    client: httpx.AsyncClient, changes: dict[str, object], code: str, pointer: str, words: str
) -> None:
    """One problem, one pointer."""
    answer = await client.post("/v1/jobs", json={**BODY, **changes})
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert (problem["code"], problem["errors"][0]["pointer"]) == (code, pointer), problem
    assert words in problem["detail"]
    assert (await client.get("/v1/jobs")).json()["items"] == []


@pytest.mark.parametrize("overrides", [{"families": ("models", "rehearsal")}])
async def test_wrong_kind_names_both(client: httpx.AsyncClient, services: Services) -> None:
    """The family's kind and the dataset's."""
    catalog = services.catalog
    other = next((name for name in catalog.names() if "images" not in catalog.spec(name).dataset_kinds), None)
    assert other is not None
    answer = await client.post("/v1/jobs", json={**BODY, "family": other})
    assert (answer.status_code, answer.json()["code"]) == (422, "wrong_dataset_kind")
    assert answer.json()["errors"][0]["pointer"] == "/dataset"
    assert f"'{catalog.spec(other).dataset_kinds[0]}'" in answer.json()["detail"]
    assert "'images'" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/{job}/resume"])
async def test_a_model_keeps_the_task_of_its_newest_version(
    client: httpx.AsyncClient, services: Services, publisher: Publisher, redis_client: redis.Redis, path: str
) -> None:
    """A family of the same task may follow, one of another may not; a version that was deleted does not count."""
    job = await submit(client, model="tiny")
    finish(redis_client, job, "cancelled", checkpoint=f"default/jobs/{job}/checkpoints/1-9.pt")
    body = {"training": {"epochs": 99}} if "{" in path else {**BODY, "model": "tiny"}
    first = publisher.publish(job="job_1").model_copy(update={"family": "another"})
    services.versions.publish(first.model_copy(update={"job": "job_2"}))
    assert (await client.post(path.format(job=job), json=body)).status_code == 202
    services.versions.publish(first.model_copy(update={"job": "job_3", "task": "generation"}))
    refused = await client.post(path.format(job=job), json=body)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    (error,) = refused.json()["errors"]
    assert error["pointer"] == "/model"
    for words in ("'tiny'", "'generation' in its version 3", "'mlp' learns 'classification'", "another model name"):
        assert words in error["detail"]
    services.versions.delete("tiny", 3)
    assert (await client.post(path.format(job=job), json=body)).status_code == 202


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"family": "mlp", "dataset"', 400),
        (b'{"family": "mlp", "training": {"learning_rate": NaN}}', 400),
        (b'{"family": "mlp", "training": {"learning_rate": Infinity}}', 400),
        (b'{"training": {"learning_rate": 1e999}}', 400),
        (b'{"config":' * 5000, 400),
        (b"\x80", 400),
        (b'"\\ud800"', 400),
        (b"", 400),
        (b"[]", 422),
        (b"3", 422),
        (b"null", 422),
        (
            b'{"family": "mlp", "dataset": "digits", "model": "m", "config": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}",
            422,
        ),
    ],
)
async def test_body_that_is_no_job_is_refused(client: httpx.AsyncClient, content: bytes, status: int) -> None:
    """What cannot be parsed is a 400, what can but is wrong a 422; never an error of the server."""
    answer = await client.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text


async def test_other_media_type_is_refused(client: httpx.AsyncClient) -> None:
    """A form is no JSON."""
    answer = await client.post("/v1/jobs", data={"family": "mlp"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_family_in_the_path_is_not_found(client: httpx.AsyncClient) -> None:
    """There it is the resource itself that is missing."""
    answer = await client.get("/v1/families/mpl")
    assert (answer.status_code, answer.json()["code"]) == (404, "family_not_found")
    assert "Did you mean 'mlp'?" in answer.json()["detail"]


async def test_families_state_schemas_with_defaults(client: httpx.AsyncClient) -> None:
    """What a job may hold can be read from the catalogue."""
    family = (await client.get("/v1/families/mlp")).json()
    assert (family["id"], family["task"], family["dataset_kind"]) == ("mlp", "classification", "images")
    assert family["config"]["properties"]["hidden_sizes"]["default"]
    assert family["training"]["properties"]["epochs"]["default"]
    assert family["verbs"] == ["classify"]
    listed = (await client.get("/v1/families?limit=1")).json()
    assert len(listed["items"]) == 1


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/{job}/resume"])
@pytest.mark.parametrize("depth", [100, 252, 254, 900])
async def test_deep_nesting_is_refused(client: httpx.AsyncClient, path: str, depth: int) -> None:
    """Also where one library still reads it and another no longer writes it."""
    job = (await client.post("/v1/jobs", json=BODY)).json()["id"]
    await client.post(f"/v1/jobs/{job}/cancel")
    deep = orjson.Fragment("[" * depth + "]" * depth)
    body = {"training": {"x": deep}} | ({} if "{" in path else BODY)
    answer = await client.post(path.format(job=job), content=orjson.dumps(body))
    assert answer.status_code in (409, 422), answer.text  # the job has no checkpoint, which is looked at before options

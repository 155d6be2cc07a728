"""Published models over HTTP: shown, named by aliases, taken away, downloaded."""

from __future__ import annotations

import hashlib
import io
import tarfile

import httpx
import orjson
import pytest
import redis

from models.contract.jobs import CHANGED_MODELS
from unit.app.publishing import Publisher

ALIASES = "/v1/models/tiny/aliases"


async def test_models_are_listed_with_versions_and_aliases(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """One entry per model."""
    publisher.publish()
    publisher.publish(job="job_2")
    publisher.publish(model="other", job="job_3")
    publisher.versions.set_alias("tiny", "best", 1)
    items = (await client.get("/v1/models")).json()["items"]
    assert [item["name"] for item in items] == ["other", "tiny"]
    tiny = (await client.get("/v1/models/tiny")).json()
    assert tiny == items[1]
    assert (tiny["task"], tiny["family"], tiny["aliases"]) == ("classification", "mlp", {"best": 1})
    assert [version["version"] for version in tiny["versions"]] == [1, 2]
    page = (await client.get("/v1/models?limit=1")).json()
    assert page["next"] == "other"
    assert (await client.get("/v1/models?limit=1&after=other")).json()["items"] == [tiny]


async def test_card_tells_everything(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """By number or alias."""
    publisher.publish()
    publisher.versions.set_alias("tiny", "best", 1)
    card = (await client.get("/v1/models/tiny/versions/1")).json()
    assert card == (await client.get("/v1/models/tiny/versions/best")).json()
    assert card["metrics"] == {"test": {"accuracy": 1.0}}
    assert card["aliases"] == ["best"]
    assert card["parts"]["classifier"]["signature"]["inputs"][0]["shape"] == ["batch", 2, 2]
    for version in ("2", "worst", "0", "01x", "٣"):
        answer = await client.get(f"/v1/models/tiny/versions/{version}")
        assert (answer.status_code, answer.json()["code"]) == (404, "version_not_found")


@pytest.mark.parametrize(
    ("alias", "body", "status", "pointer"),
    [
        ("best", {"version": 7}, 422, "/version"),
        ("best", {"version": "1"}, 422, "/version"),
        ("best", {"version": 0}, 422, "/version"),
        ("best", {"version": 1.5}, 422, "/version"),
        ("best", {}, 422, "/version"),
        ("best", {"version": 1, "note": ""}, 422, "/note"),
        ("123", {"version": 1}, 422, "/alias"),
        ("%2e%2e", {"version": 1}, 422, "/alias"),
        ("a b", {"version": 1}, 422, "/alias"),
    ],
)
async def test_wrong_alias_is_refused(
    client: httpx.AsyncClient, publisher: Publisher, alias: str, body: dict[str, object], status: int, pointer: str
) -> None:
    """A name, never all digits, of a version that exists."""
    publisher.publish()
    answer = await client.put(f"{ALIASES}/{alias}", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (status, pointer), answer.text


async def test_alias_keeps_its_version(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """What an alias names is not deleted; without it, it is, and its number stays used."""
    publisher.publish()
    publisher.publish(job="job_2")
    assert (await client.put(f"{ALIASES}/best", json={"version": 2})).json()["version"] == 2
    refused = await client.delete("/v1/models/tiny/versions/2")
    assert (refused.status_code, refused.json()["code"]) == (409, "version_in_use")
    assert (await client.delete("/v1/models/tiny/versions/best")).status_code == 404
    assert (await client.delete(f"{ALIASES}/best")).status_code == 204
    assert (await client.delete(f"{ALIASES}/best")).json()["code"] == "alias_not_found"
    assert (await client.delete("/v1/models/tiny/versions/2")).status_code == 204
    assert (await client.delete("/v1/models/tiny/versions/2")).status_code == 404
    assert publisher.publish(job="job_3").version == 3


async def test_model_without_versions_is_gone(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """A model is its versions."""
    publisher.publish()
    await client.delete("/v1/models/tiny/versions/1")
    assert (await client.get("/v1/models")).json()["items"] == []
    assert (await client.get("/v1/models/tiny")).json()["code"] == "model_not_found"


async def test_changes_are_announced(
    client: httpx.AsyncClient, publisher: Publisher, redis_client: redis.Redis
) -> None:
    """Other gateways follow."""
    publisher.publish()
    with redis_client.pubsub() as subscription:
        subscription.subscribe(CHANGED_MODELS)
        subscription.get_message(timeout=1)
        await client.put(f"{ALIASES}/best", json={"version": 1})
        message = subscription.get_message(timeout=1)
    assert message
    assert message["data"] == "default/tiny"


async def test_artifact_is_a_tar_of_what_was_published(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """Manifest, parts, probe and the job's events, each whole."""
    manifest = publisher.publish()
    answer = await client.get("/v1/models/tiny/versions/1/artifact")
    assert answer.headers["content-type"] == "application/x-tar"
    assert len(answer.content) == int(answer.headers["content-length"])
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        files = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
    assert set(files) == {"manifest.json", "classifier.onnx", "pair.onnx", "probe.npz", "events.jsonl"}
    for name, part in manifest.parts.items():
        assert hashlib.sha256(files[f"{name}.onnx"]).hexdigest() == part.sha256
    assert orjson.loads(files["manifest.json"])["job"] == "job_1"
    assert hashlib.sha256(files["events.jsonl"]).hexdigest() == manifest.history[0].sha256


async def test_artifact_of_a_version_older_than_histories_is_whole(
    client: httpx.AsyncClient, publisher: Publisher
) -> None:
    """Its manifest has no such field."""
    publisher.publish()
    path = "default/models/tiny/versions/1.json"
    raw = orjson.loads(publisher.store.get(path))
    del raw["history"]
    publisher.store.put(path, orjson.dumps(raw))
    answer = await client.get("/v1/models/tiny/versions/1/artifact")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        assert set(archive.getnames()) == {"manifest.json", "classifier.onnx", "pair.onnx", "probe.npz"}


async def test_deleting_a_version_leaves_no_file_of_it(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """Parts, probe and events."""
    publisher.publish()
    assert (await client.delete("/v1/models/tiny/versions/1")).status_code == 204
    assert [*publisher.store.below("default/jobs")] == []


@pytest.mark.parametrize("file", ["classifier.onnx", "probe.npz", "events.jsonl"])
async def test_artifact_that_is_not_whole_is_not_begun(
    client: httpx.AsyncClient, publisher: Publisher, file: str
) -> None:
    """Said before the first byte, not by a download that breaks off."""
    publisher.publish()
    publisher.store.delete(publisher.versions.part_path("job_1", 1, file))
    answer = await client.get("/v1/models/tiny/versions/1/artifact")
    assert (answer.status_code, answer.json()["code"]) == (503, "model_damaged")
    assert file in answer.json()["detail"]


async def test_version_deleted_while_models_are_listed_is_left_out(
    client: httpx.AsyncClient, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there a moment ago is no reason to refuse the rest."""
    publisher.publish()
    publisher.publish(job="job_2")
    publisher.publish(model="other", job="job_3")
    listings = {name: publisher.versions.listing(name) for name in ("tiny", "other")}
    publisher.versions.delete("tiny", 1)
    publisher.versions.delete("other", 1)
    monkeypatch.setattr(publisher.versions, "listing", listings.__getitem__)
    items = (await client.get("/v1/models")).json()["items"]
    assert [(item["name"], [version["version"] for version in item["versions"]]) for item in items] == [("tiny", [2])]
    assert (await client.get("/v1/models/other")).json()["code"] == "model_not_found"

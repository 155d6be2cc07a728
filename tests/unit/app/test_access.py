"""Every operation that there is, asked without a key and with every wrong one; a new route is covered by itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import redis
from fastapi import FastAPI

from app.access.keyring import Keyring
from app.access.keys import Keys
from app.access.scopes import OPEN, ROUTES, Permissions, Scope, Scopes, expanded
from app.dependencies import Services
from app.main import create_app
from app.settings import GatewaySettings
from models.artifacts.versions import Versions
from unit.app.job_records import finish, submit
from unit.app.publishing import Publisher

BUILT_IN = "/v1/datasets/digits"
THINGS = {"{model}": "tiny", "{version}": "1", "{alias}": "best", "{verb}": "classify", "{family}": "mlp"}

MakeKey = Callable[..., dict[str, str]]


def _operations() -> dict[str, dict[str, object]]:
    """Return the operations of the OpenAPI document by ``METHOD /path``."""
    app = create_app(GatewaySettings(store_url="memory:///"))
    return {
        f"{method.upper()} {path}": operation
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    }


OPERATIONS = _operations()
ASKING = sorted(operation for operation in OPERATIONS if operation.split(" ")[1] not in OPEN)
OF_THINGS = [operation for operation in ASKING if any(part in operation for part in ("{model}", "{job_id}", "{name}"))]


def _needed(operation: str) -> Scopes:
    found = Permissions().needed(*operation.split(" "))
    assert found is not None, f"{operation} is not declared in app/access/scopes.py"
    return found


@pytest.fixture
def keys(services: Services) -> Keys:
    """Return the keys of the gateway's store."""
    return Keys(services.store)


@pytest.fixture
def keyring(gateway: FastAPI) -> Keyring:
    """Return what the gateway knows of them."""
    return gateway.state.keyring


@pytest.fixture
def key(keys: Keys, keyring: Keyring) -> MakeKey:
    """Return a function that makes a key known to the gateway, and returns the header with it."""

    def make(*scopes: Scope, project: str = "default", expires: datetime | None = None) -> dict[str, str]:
        _, token = keys.create("test", scopes or (Scope.ADMIN,), project, expires)
        keyring.refresh()
        return {"Authorization": f"Bearer {token}"}

    return make


async def _ask(client: httpx.AsyncClient, operation: str, headers: dict[str, str], job_id: str = "") -> httpx.Response:
    method, path = operation.split(" ")
    for name, value in {**THINGS, "{job_id}": job_id, "{name}": "dots"}.items():
        path = path.replace(name, value)
    needs_body = OPERATIONS[operation].get("requestBody", {}).get("required", False)  # type: ignore[attr-defined]
    return await client.request(method, path, headers=headers, json={"version": 1} if needs_body else None)


def _check_refused(answer: httpx.Response, operation: str, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    if operation.split(" ")[1].startswith("/v2"):
        assert set(answer.json()) == {"error"}
    else:
        assert answer.json()["code"] == code
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_every_operation_says_who_may_ask(operation: str) -> None:
    """In the one table, and in the document."""
    method, path = operation.split(" ")
    described = OPERATIONS[operation]
    if path in OPEN:
        assert "security" not in described
        return
    needed = _needed(operation)
    assert described["security"] == [{"key": [scope.value]} for scope in sorted(needed)]
    assert {"401", "403", "429"} <= set(described["responses"])  # type: ignore[call-overload]
    assert ("408" in described["responses"]) == ("requestBody" in described)  # type: ignore[operator]
    assert Permissions().needed(method, path.replace("{model}", "m")) == needed


def test_every_declared_route_exists() -> None:
    """A row of a route that is gone would let in whoever takes its place."""
    verbs = {operation.rpartition("/")[0] + "/{verb}" for operation in OPERATIONS if "POST /v1/models/" in operation}
    assert {f"{method} {path}" for method, path in ROUTES} <= set(OPERATIONS) | verbs


@pytest.mark.parametrize("operation", ASKING)
async def test_no_key_that_is_valid_is_401(
    client: httpx.AsyncClient, key: MakeKey, keys: Keys, keyring: Keyring, operation: str
) -> None:
    """None, no bearer token, an unknown one, another secret, an expired and a revoked one."""
    good = key()["Authorization"]
    expired = key(expires=datetime.now(UTC) - timedelta(seconds=1))["Authorization"]
    revoked = key()["Authorization"]
    keys.revoke(revoked.split("_")[1])
    keyring.refresh()
    other = good[:-1] + ("0" if good[-1] != "0" else "1")
    wrong = [
        "",
        "Basic YTpi",
        "Bearer",
        "Bearer x",
        f"Bearer lk_{'0' * 12}_{'0' * 64}",
        other,
        expired,
        revoked,
        good * 2,
    ]
    for value in wrong:
        answer = await _ask(client, operation, {"Authorization": value} if value else {})
        _check_refused(answer, operation, 401, "unauthorized")
        assert good.split("_")[2] not in answer.text
    assert (await _ask(client, operation, {"Authorization": good}, "job_none")).status_code not in (401, 403)


@pytest.mark.parametrize("operation", ASKING)
@pytest.mark.parametrize("scope", list(Scope))
async def test_a_scope_that_does_not_suffice_is_403(
    client: httpx.AsyncClient, key: MakeKey, operation: str, scope: Scope
) -> None:
    """``admin`` includes all."""
    answer = await _ask(client, operation, key(scope), "job_none")
    if expanded([scope]).isdisjoint(_needed(operation)):
        _check_refused(answer, operation, 403, "forbidden")
    else:
        assert answer.status_code not in (401, 403)


@pytest.mark.parametrize("operation", OF_THINGS)
async def test_things_of_another_project_do_not_exist(
    client: httpx.AsyncClient,
    services: Services,
    key: MakeKey,
    redis_client: redis.Redis,
    operation: str,
) -> None:
    """The answer is that of a gateway in which nobody has such a thing."""
    stranger = key(project="theirs")
    owner = key()
    before = await _ask(client, operation, stranger, "job_01M85F07FHZB6E03V2SEVF1CXA")
    versions = Publisher(services.store, services.versions)
    versions.publish()
    versions.versions.set_alias("tiny", "best", 1)
    await _upload(client, owner)
    client.headers.update(owner)
    job_id = await submit(client)
    finish(redis_client, job_id)
    client.headers.pop("Authorization")
    answer = await _ask(client, operation, stranger, job_id)
    assert answer.status_code == 404, answer.text
    assert _told(answer, job_id) == _told(before, "job_01M85F07FHZB6E03V2SEVF1CXA")
    own = await _ask(client, operation, owner, job_id)
    assert own.status_code != 404 or own.json()["code"] == "verb_not_found"  # of a verb that other tasks have


async def _upload(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await client.post(
        "/v1/datasets",
        headers=headers,
        data={"name": "dots", "kind": "table", "options": '{"label": "y"}'},
        files={"train": ("a.csv", "x,y\n" + "".join(f"{number},{'ab'[number % 2]}\n" for number in range(60)))},
    )
    assert answer.status_code == 201, answer.text


def _told(answer: httpx.Response, job_id: str) -> dict[str, object]:
    told = answer.json()
    told.pop("request_id", None)
    return {name: value.replace(job_id, "JOB") if isinstance(value, str) else value for name, value in told.items()}


async def test_lists_hold_what_is_of_the_own_project(
    client: httpx.AsyncClient, services: Services, key: MakeKey
) -> None:
    """A project exists as soon as a key names it."""
    Publisher(services.store, services.versions).publish()
    Publisher(services.store, Versions(services.store, "theirs")).publish("other", "job_2")
    for project, model in (("default", "tiny"), ("theirs", "other")):
        headers = key(project=project)
        listed = (await client.get("/v1/models", headers=headers)).json()["items"]
        assert [item["name"] for item in listed] == [model]
        answer = await client.post(f"/v1/models/{model}/classify", headers=headers, json={"inputs": [[[0, 0], [0, 1]]]})
        assert answer.status_code == 200, answer.text


async def test_jobs_belong_to_the_project_of_their_key(client: httpx.AsyncClient, key: MakeKey) -> None:
    """Also those with the same idempotency key."""
    ids = set[str]()
    for project in ("default", "theirs"):
        headers = {**key(Scope.TRAIN, project=project), "Idempotency-Key": "same"}
        body = {"family": "mlp", "dataset": "digits", "model": "m"}
        ids.add((await client.post("/v1/jobs", headers=headers, json=body)).json()["id"])
        assert len((await client.get("/v1/jobs", headers=headers)).json()["items"]) == 1
    assert len(ids) == 2


@pytest.mark.parametrize("overrides", [{"loaded_models_limit": 1}])
async def test_projects_share_the_memory_for_models(
    client: httpx.AsyncClient, services: Services, key: MakeKey, gateway: FastAPI
) -> None:
    """Two projects do not have twice the memory, and a model of the same name is another one."""
    ask = {"inputs": [[[0, 0], [0, 1]]], "top": 1}
    probabilities: list[float] = []
    for project, scale in (("default", 1.0), ("theirs", 3.0)):
        found = gateway.state.projects.of(project)
        Publisher(services.store, found.versions).publish(scale=scale)
        answer = await client.post("/v1/models/tiny/classify", headers=key(project=project), json=ask)
        probabilities.append(answer.json()["predictions"][0]["probability"])
        assert len(found.registry.pending()) == 1
    assert probabilities[0] != probabilities[1]


@pytest.mark.parametrize("path", sorted(OPEN))
async def test_what_tells_nothing_of_what_is_held_is_open(client: httpx.AsyncClient, key: MakeKey, path: str) -> None:
    """Probes have no keys, and pages of documentation cannot send one."""
    key()
    assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("path", "method", "scope", "found"),
    [
        ("/v1/nothing", "GET", Scope.TRAIN, 404),
        ("/v1/models//classify", "POST", Scope.PREDICT, 404),
        ("/v1/jobs%0A", "GET", Scope.PREDICT, 404),
        ("/livez%0A", "GET", Scope.PREDICT, 404),
        ("/v1/jobs", "PATCH", Scope.PREDICT, "GET, POST"),
        ("/v1/jobs", "PATCH", Scope.ADMIN, "GET, POST"),
        ("/v1/models/m/versions/1/artifact", "PUT", Scope.PREDICT, "GET"),
        ("/v1/nothing", "GET", Scope.ADMIN, 404),
    ],
)
async def test_a_path_that_is_not_declared_is_nowhere(
    client: httpx.AsyncClient, key: MakeKey, path: str, method: str, scope: Scope, found: int | str
) -> None:
    """Nobody is told of it; a wrong method is told with the right ones."""
    answer = await client.request(method, path, headers=key(scope))
    assert answer.status_code == (405 if isinstance(found, str) else found)
    assert (await client.request(method, path)).status_code == 401
    if isinstance(found, str):
        assert answer.headers["allow"] == found


async def test_a_route_that_nobody_declared_answers_admin_alone(
    gateway: FastAPI, client: httpx.AsyncClient, key: MakeKey
) -> None:
    """A forgotten row shuts a door; it opens none."""

    async def secret() -> str:
        return "told"

    gateway.add_api_route("/v1/secret", secret)
    assert (await client.get("/v1/secret", headers=key(Scope.TRAIN, Scope.PREDICT))).status_code == 404
    assert (await client.get("/v1/secret", headers=key(Scope.ADMIN))).json() == "told"


async def test_a_refusal_reads_no_body(gateway: FastAPI, key: MakeKey) -> None:
    """It is decided on the headers."""
    headers = key(Scope.PREDICT)

    for given in ({}, headers):
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/jobs",
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        }
        sent: list[dict[str, object]] = []

        async def receive() -> dict[str, object]:
            raise AssertionError

        async def send(message: dict[str, object], sent: list[dict[str, object]] = sent) -> None:
            sent.append(message)

        await gateway(scope, receive, send)  # type: ignore[arg-type]
        assert sent[0]["status"] == (403 if given else 401)


@pytest.mark.parametrize("overrides", [{"rate_per_second": 0.5, "rate_burst": 3}])
async def test_a_key_that_asks_too_often_is_told_when_to_come_again(client: httpx.AsyncClient, key: MakeKey) -> None:
    """Others are not concerned, nor are probes."""
    busy, calm = key(), key()
    answers = [await client.get("/v1/families", headers=busy) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].json()["code"] == "rate_limited"
    assert answers[3].headers["retry-after"] == "2"
    assert (await client.get("/v1/families", headers=calm)).status_code == 200
    assert (await client.get("/livez", headers=busy)).status_code == 200
    assert (await client.get("/v2/models/m", headers=busy)).json().keys() == {"error"}

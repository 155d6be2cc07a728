"""What the framework refuses is a problem document like everything else; each request has an id."""

from __future__ import annotations

import gzip

import httpx
import pytest

from unit.app.publishing import Publisher


async def test_unknown_path_is_a_problem(client: httpx.AsyncClient) -> None:
    """A 404 of the router looks like ours."""
    answer = await client.get("/v1/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "route_not_found"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert set(problem) == {"type", "title", "status", "detail", "code", "request_id", "errors"}


async def test_unknown_path_under_v2_is_the_protocols_error(client: httpx.AsyncClient) -> None:
    """The protocol wants one string."""
    answer = await client.get("/v2/nothing")
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET, POST"),
        ("POST", "/v1/datasets/digits", "GET, DELETE"),
        ("PUT", "/v1/models/m/versions/1", "GET, DELETE"),
        ("GET", "/v1/models/m/aliases/a", "PUT, DELETE"),
        ("GET", "/v1/models/m/classify", "POST"),
        ("DELETE", "/v1/models/m/versions/1/artifact", "GET"),
        ("GET", "/v2/models/m/infer", "POST"),
    ],
)
async def test_wrong_method_names_the_right_ones(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    """A 405 says what is allowed, also when several routes have the path."""
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert path.startswith("/v2") or answer.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "state=sleeping", "limit=100000"])
async def test_wrong_query_is_a_validation_problem(client: httpx.AsyncClient, query: str) -> None:
    """FastAPI's own findings become pointers."""
    answer = await client.get(f"/v1/jobs?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/{query.partition('=')[0]}"


@pytest.mark.parametrize(
    ("path", "media", "encoding"),
    [
        ("/v1/jobs", "application/json", "gzip"),
        ("/v1/datasets", "multipart/form-data; boundary=x", "gzip"),
        ("/v1/models/tiny/classify", "application/json", "br"),
        ("/v2/models/tiny/infer", "application/json", "br"),
    ],
)
async def test_compressed_body_is_named_as_what_is_wrong(
    client: httpx.AsyncClient, publisher: Publisher, path: str, media: str, encoding: str
) -> None:
    """Not taken for broken JSON."""
    publisher.publish()
    headers = {"Content-Type": media, "Content-Encoding": encoding}
    answer = await client.post(path, content=gzip.compress(b"{}"), headers=headers)
    assert (answer.status_code, f"'{encoding}'" in answer.text) == (415, True)
    assert (
        await client.post(path, content=b"{", headers={**headers, "Content-Encoding": "identity"})
    ).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/jobs", {"family": "a" * 2**20}, 413),
        ("PUT", "/v1/models/tiny/aliases/a", {"version": [1] * 2**19}, 413),
        ("POST", "/v1/jobs", {str(number): 1 for number in range(1001)}, 422),
        ("POST", "/v1/jobs", {"config": {str(number): 1 for number in range(1001)}}, 422),
        ("POST", "/v1/models/tiny/classify", {"inputs": [1], **{str(number): 1 for number in range(1001)}}, 422),
        ("POST", "/v2/models/tiny/infer", {"inputs": [], "outputs": [1] * 1001}, 400),
    ],
)
async def test_refusal_is_no_larger_than_a_person_reads(
    client: httpx.AsyncClient, publisher: Publisher, method: str, path: str, body: dict[str, object], status: int
) -> None:
    """A body of 60 MB of unknown fields kept the gateway from everybody else for half a minute."""
    publisher.publish()
    answer = await client.request(method, path, json=body)
    assert answer.status_code == status
    assert len(answer.content) < 1000


async def test_given_request_id_is_echoed(client: httpx.AsyncClient) -> None:
    """A caller can follow a request through its own logs."""
    answer = await client.get("/livez", headers={"X-Request-ID": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"


async def test_request_id_that_could_forge_a_log_is_replaced(client: httpx.AsyncClient) -> None:
    """Only harmless characters are repeated."""
    answer = await client.get("/livez", headers={"X-Request-ID": "a b\tc"})
    assert " " not in answer.headers["x-request-id"]


async def test_openapi_describes_every_verb(client: httpx.AsyncClient) -> None:
    """The document is whole: every reference leads somewhere."""
    document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [item for value in node.values() for item in references(value)]
        return [item for value in node for item in references(value)] if isinstance(node, list) else []

    assert {reference.removeprefix("#/components/schemas/") for reference in references(document)} <= set(schemas)
    assert any(path.startswith("/v1/models/{model}/versions/{version}/") for path in document["paths"])

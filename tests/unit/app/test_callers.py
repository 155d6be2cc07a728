"""Without keys a gateway answers this machine's programs and pages, and nobody else's."""

from __future__ import annotations

import httpx
import pytest

OWN = ["localhost", "localhost:8000", "LOCALHOST:1", "127.0.0.1", "127.8.8.8:65535", "[::1]", "[::1]:8000"]
FOREIGN = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "0.0.0.0",  # noqa: S104 - refused, not bound
    "192.168.1.2:8000",
    "[::2]",
    "::1:8000",
    "localhost:8000:1",
    "127.0.0.1@evil.example",
    "localhost, evil.example",
    "",
    "x" * 70_000,
]
PATHS = ["/v1/models", "/v2/models/m", "/metrics"]


def _check_forbidden(answer: httpx.Response, path: str) -> None:
    assert answer.status_code == 403, answer.text
    assert answer.json().keys() == {"error"} if path.startswith("/v2") else answer.json()["code"] == "forbidden"


@pytest.mark.parametrize("host", OWN)
async def test_this_machine_has_many_names(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/v1/models", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", FOREIGN)
async def test_another_host_is_refused(client: httpx.AsyncClient, host: str, path: str) -> None:
    """A page whose name was made to point here asks for its own host."""
    _check_forbidden(await client.get(path, headers={"Host": host}), path)


async def test_two_hosts_are_none(client: httpx.AsyncClient) -> None:
    _check_forbidden(await client.get("/v1/jobs", headers=[("Host", "localhost"), ("Host", "localhost")]), "/v1/jobs")


@pytest.mark.parametrize("overrides", [{"trusted_hosts": "gateway, My.Lan"}])
async def test_hosts_can_be_named(client: httpx.AsyncClient) -> None:
    """Prometheus in a container asks for `gateway`."""
    for host, status in {"gateway:8000": 200, "my.lan": 200, "localhost": 200, "evil.example": 403}.items():
        assert (await client.get("/v1/models", headers={"Host": host})).status_code == status


@pytest.mark.parametrize(
    ("overrides", "status"),
    [({"insecure": True}, 200), ({"insecure": True, "trusted_hosts": ("gateway",)}, 403)],
)
async def test_insecure_takes_any_host_unless_some_are_named(client: httpx.AsyncClient, status: int) -> None:
    """Who listens beyond this machine is asked under names that nobody knows beforehand."""
    assert (await client.get("/v1/models", headers={"Host": "10.0.0.7:8000"})).status_code == status
    answer = await client.get("/v1/models", headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://127.0.0.1:8001", "Sec-Fetch-Site": "same-site"}, 200),
        ({"Origin": "http://[::1]:3000"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "https://localhost.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://localhost:8000", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_page_of_another_site_is_refused(
    client: httpx.AsyncClient, method: str, headers: dict[str, str], status: int
) -> None:
    """Whatever it asks: what it may not read it may not do either."""
    answer = await client.request(method, "/v1/jobs", headers=headers)
    assert (answer.status_code == 403) == (status == 403)


async def test_probes_come_under_any_name(client: httpx.AsyncClient) -> None:
    assert (await client.get("/readyz", headers={"Host": "10.0.0.7:8000"})).status_code == 200

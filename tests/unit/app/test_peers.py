"""What one process of a gateway asks of the others, and does when another asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from app.main import create_app
from app.peers import Change
from app.projects import Projects
from app.serving import registry as registries
from app.serving.registry import Registry
from app.settings import GatewaySettings
from unit.app.publishing import Publisher

ALIAS = "/v1/models/tiny/aliases/best"
REPOSITORY = "/v2/repository/models/tiny"


class OtherProcesses:
    """Keeps what it was asked, and how this process was then."""

    def __init__(self) -> None:
        self.asked: list[tuple[Change, object]] = []
        self.look: Callable[[], object] = type(None)

    async def merged(self) -> CollectorRegistry:
        return CollectorRegistry()

    async def pass_on(self, change: Change) -> None:
        self.asked.append((change, self.look()))


@pytest.fixture
def others() -> OtherProcesses:
    return OtherProcesses()


@pytest.fixture
async def gateway(settings: GatewaySettings, others: OtherProcesses) -> AsyncIterator[FastAPI]:
    """Return one process of several."""
    app = create_app(settings, others)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def registry(gateway: FastAPI) -> Registry:
    return gateway.state.services.registry


async def test_others_follow_what_changes_a_model(
    client: httpx.AsyncClient, publisher: Publisher, others: OtherProcesses
) -> None:
    """Once it is written; what is refused they are not asked for."""
    publisher.publish()
    publisher.publish(job="job_2")
    others.look = lambda: dict(publisher.versions.listing("tiny").aliases).get("best")
    assert (await client.put(ALIAS, json={"version": 9})).status_code == 422
    assert (await client.delete("/v1/models/tiny/versions/9")).status_code == 404
    assert (await client.put(ALIAS, json={"version": 1})).status_code == 200
    assert (await client.delete(ALIAS)).status_code == 204
    forget = Change("default", "tiny", "forget")
    assert others.asked == [(forget, 1), (forget, None)]


async def test_others_forget_a_version_that_is_deleted(
    client: httpx.AsyncClient, publisher: Publisher, others: OtherProcesses
) -> None:
    publisher.publish()
    publisher.publish(job="job_2")
    await client.put("/v1/models/tiny/aliases/production", json={"version": 2})
    others.asked.clear()
    others.look = lambda: list(publisher.versions.listing("tiny").versions)
    assert (await client.delete("/v1/models/tiny/versions/1")).status_code == 204
    assert others.asked == [(Change("default", "tiny", "forget"), [2])]


async def test_others_unload_and_load(
    client: httpx.AsyncClient, publisher: Publisher, others: OtherProcesses, registry: Registry
) -> None:
    """Loading begins there before it has ended here."""
    publisher.publish()
    others.look = lambda: (registry.is_unloaded("tiny"), len(registry.endpoints()))
    assert (await client.post(f"{REPOSITORY}/load")).status_code == 200
    assert (await client.post(f"{REPOSITORY}/unload")).status_code == 200
    assert (await client.post("/v2/repository/models/none/unload")).status_code == 404
    assert others.asked == [
        (Change("default", "tiny", "load"), (False, 0)),
        (Change("default", "tiny", "unload"), (True, 0)),
    ]


async def test_what_another_process_unloads_does_not_answer_here(
    client: httpx.AsyncClient, publisher: Publisher, gateway: FastAPI
) -> None:
    """And is told by the index, until it is loaded there."""
    publisher.publish()
    projects: Projects = gateway.state.projects
    assert (await client.get("/v2/models/tiny/ready")).status_code == 200
    projects.follow(Change("elsewhere", "tiny", "unload"))
    assert (await client.get("/v2/models/tiny/ready")).status_code == 200
    projects.follow(Change("default", "tiny", "unload"))
    assert (await client.get("/v2/models/tiny/ready")).status_code == 503
    assert (await client.post("/v2/repository/index")).json()[0]["reason"] == "unloaded"
    projects.follow(Change("default", "tiny", "load"))
    assert (await client.get("/v2/models/tiny/ready")).status_code == 200


async def test_what_another_process_loads_is_loaded_here_without_a_request(
    publisher: Publisher, gateway: FastAPI, registry: Registry
) -> None:
    """What cannot be loaded is told to requests alone."""
    publisher.publish()
    projects: Projects = gateway.state.projects
    for model in ("none", "tiny"):
        projects.follow(Change("default", model, "load"))
    await asyncio.gather(*registry._warming, return_exceptions=True)
    assert [endpoint.manifest.model for endpoint in registry.endpoints()] == ["tiny"]


@pytest.mark.parametrize("overrides", [{"redis_url": "unix:///nowhere.sock?db=0"}])
async def test_what_another_process_was_told_of_the_store_is_asked_anew(
    publisher: Publisher, gateway: FastAPI, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not only when it would have been anyway."""
    monkeypatch.setattr(registries, "BELIEVED_SECONDS", 60.0)
    publisher.publish()
    publisher.publish(job="job_2")
    publisher.versions.set_alias("tiny", "production", 1)
    assert await registry.resolve("tiny", None) == 1
    publisher.versions.set_alias("tiny", "production", 2)
    assert await registry.resolve("tiny", None) == 1
    projects: Projects = gateway.state.projects
    projects.follow(Change("default", "tiny", "forget"))
    assert await registry.resolve("tiny", None) == 2

"""The projects of one gateway: each has datasets, jobs and models of its own, and services that know no others.

Catalogue, store, metrics, runtimes, threads and the memory for models are shared. A project exists as soon as a key
names it; its services are made when a request first needs them. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from app.dependencies import Services
from app.peers import Change, Peers
from app.queue import JobQueue
from app.reading import Readings
from app.serving import sessions
from app.serving.endpoints import Endpoint
from app.serving.registry import Memory, Registry
from app.serving.runs import Limits
from app.serving.runtimes.runtime import Runtime
from app.serving.sessions import LoadedModel
from app.settings import GatewaySettings
from app.store_probe import StoreProbe
from app.telemetry import Metrics
from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from models.catalog import Catalog


@dataclass(frozen=True)
class Shared:
    """What all projects use together."""

    settings: GatewaySettings
    catalog: Catalog
    store: ArtifactStore
    readings: Readings
    metrics: Metrics
    runtimes: Mapping[str, Runtime]
    executor: ThreadPoolExecutor
    computing: ThreadPoolExecutor
    waiting: ThreadPoolExecutor
    draining: asyncio.Event
    peers: Peers | None = None
    memory: Memory = field(default_factory=OrderedDict[tuple[str, str, int], Endpoint])


class Projects:
    """The services of every project that was asked for."""

    def __init__(self, shared: Shared) -> None:
        """Make the services of the gateway's own project.

        Raises:
            ValueError: the URL of Redis is none.
        """
        self._shared = shared
        self._following: list[asyncio.Task[None]] | None = None
        self._store_probe = StoreProbe(shared.store)
        self.own = self._made(shared.settings.project)
        self._services = {self.own.project: self.own}

    def of(self, project: str | None) -> Services:
        """Return the services of ``project``; of the gateway's own if it is None."""
        if project is None:
            return self.own
        found = self._services.get(project)
        if found is None:
            found = self._services[project] = self._made(project)
            if self._following is not None:
                self._following.append(_followed(found))
        return found

    def follow(self, change: Change) -> None:
        """Do what one process of the gateway asked of all."""
        registry = self.of(change.project).registry
        registry.apply(change)
        if change.what == "load":
            registry.warm(change.model)

    def start(self) -> None:
        """Follow what changes in the projects, also in those to come."""
        self._following = [_followed(services) for services in self._services.values()]

    async def stop(self) -> None:
        """Follow no more, and close every connection."""
        following, self._following = self._following or [], None
        for task in following:
            await ended(task)
        for services in self._services.values():
            await services.queue.close()

    def _made(self, project: str) -> Services:
        shared, settings = self._shared, self._shared.settings
        versions = Versions(shared.store, project)
        registry = Registry(
            versions,
            partial(self._load, versions),
            settings.loaded_models_limit,
            settings.loaded_models_limit_bytes,
            partial(self._opened, project),
            memory=shared.memory,
        )
        return Services(
            project=project,
            settings=settings,
            catalog=shared.catalog,
            store=shared.store,
            store_probe=self._store_probe,
            datasets=Datasets(shared.store, shared.catalog, project),
            readings=shared.readings,
            versions=versions,
            queue=JobQueue(settings.redis_url, project, settings.max_attempts),
            registry=registry,
            metrics=shared.metrics,
            runtimes=shared.runtimes,
            executor=shared.executor,
            computing=shared.computing,
            waiting=shared.waiting,
            draining=shared.draining,
            peers=shared.peers,
        )

    def _load(self, versions: Versions, model: str, number: int) -> LoadedModel:
        """Return a version, checked and warm, and have it observed how long that takes."""
        shared = self._shared
        with shared.metrics.serving.loading(versions.project, model):
            most = shared.settings.max_batch_size
            return sessions.load(versions, shared.catalog, shared.runtimes, most, model, number)

    def _opened(self, project: str, loaded: LoadedModel) -> Endpoint:
        """Return what answers for a loaded version, with the limits of the settings."""
        shared, settings = self._shared, self._shared.settings
        limits = Limits(
            batch_size=settings.max_batch_size,
            queue_size=settings.max_queue_size,
            queue_wait_seconds=settings.max_queue_wait_microseconds / 1e6,
            queue_delay_seconds=settings.max_queue_delay_microseconds / 1e6,
            concurrency=settings.threads() if loaded.in_process else 1,
            tensor_elements=settings.tensor_limit_elements,
        )
        meters = shared.metrics.serving.of(project, loaded.manifest.model, loaded.manifest.version)
        return Endpoint(loaded, limits, shared.computing if loaded.in_process else shared.waiting, meters)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel ``task`` and return when it has ended.

    The Redis client loses a cancellation that comes while it connects, so once is not enough.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.1)


def _followed(services: Services) -> asyncio.Task[None]:
    return asyncio.create_task(services.registry.follow(services.queue))

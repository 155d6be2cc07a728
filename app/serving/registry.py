"""Which version is meant, and which are in memory. One per gateway process; lives on the event loop.

What the store says of a model is believed for a second, or until Redis announces a change; a model or
version that is not known is looked up afresh. Predictions need the store and no Redis.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog
from anyio import to_thread

from app.peers import Change
from app.queue import JobQueue
from app.serving.endpoints import Endpoint
from app.serving.sessions import LoadedModel
from models.artifacts.versions import ModelListing, Versions
from models.contract.errors import ModelNotFound, ModelUnloaded, QueueUnavailable, StoreUnavailable, VersionNotFound

BELIEVED_SECONDS = 1.0
AHEAD_SECONDS = 0.5
"""How long before a listing is believed no more it is looked up anew, so that requests need not wait for the store."""

LATE_SECONDS = 2.0
"""How long a listing is believed beyond that while its successor is on its way: on a gateway that is too busy to take
it, what does not need it must not wait for it."""

PATIENCE_SECONDS = 2.0
"""How long a look-up is waited for where something is known already; a store that takes longer counts as away."""

SILENCE_SECONDS = 10.0
"""How long a look-up is waited for where nothing is known."""

RECONNECT_SECONDS = 1.0

log = structlog.get_logger()

Key = tuple[str, int]
Memory = OrderedDict[tuple[str, str, int], Endpoint]
"""Versions in memory by project, model and number, the one unused for longest first."""


@dataclass(frozen=True)
class _Known:
    listing: ModelListing
    until: float


@dataclass
class _LookUp:
    task: asyncio.Task[ModelListing]
    since: float
    given_up: bool = False


class Registry:
    """The models of one project as this process serves them."""

    def __init__(
        self,
        versions: Versions,
        load: Callable[[str, int], LoadedModel],
        largest_count: int,
        largest_bytes: int,
        opened: Callable[[LoadedModel], Endpoint],
        clock: Callable[[], float] = time.monotonic,
        memory: Memory | None = None,
    ) -> None:
        """Load nothing yet; at most ``largest_count`` versions of ``largest_bytes`` stay loaded.

        ``load`` returns a version, checked and warm; ``opened`` makes of it what answers.
        Registries that are given the same ``memory`` have these limits together.
        """
        self._versions = versions
        self.load = load
        self._largest_count = largest_count
        self._largest_bytes = largest_bytes
        self.opened = opened
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._looking_up: dict[str, _LookUp] = {}
        self._forgotten = 0
        self._project = versions.project
        self._loaded: Memory = OrderedDict() if memory is None else memory
        self._loading: dict[Key, asyncio.Task[Endpoint]] = {}
        self._unloaded: set[str] = set()
        self._warming: set[asyncio.Task[Endpoint]] = set()

    async def listing(self, model: str) -> ModelListing:
        """Return versions and aliases of a model; those known last if the store is away or does not answer.

        Raises:
            ModelNotFound: the model has no version.
            StoreUnavailable: the store is away or does not answer, and nothing is known.
        """
        known = self._known.get(model)
        left = known.until - self._clock() if known else 0.0
        # One look-up at a time: behind a busy disk it takes long, and all who ask meanwhile want the same.
        look_up = self._looking_up.get(model)
        if look_up is None and left <= AHEAD_SECONDS:
            look_up = self._begin_look_up(model)
        if known and left > 0:
            return known.listing
        assert look_up is not None
        if known and not await self._is_in_time(model, look_up):
            return known.listing
        return await _told(look_up.task)

    def at_hand(self, model: str, wanted: str | None) -> Endpoint | None:
        """Return what ``find`` would if nothing has to be looked up or loaded for it; costs microseconds."""
        known = self._known.get(model)
        left = known.until - self._clock() if known else 0.0
        if known is None or left <= (-LATE_SECONDS if model in self._looking_up else 0.0):
            return None
        if left <= AHEAD_SECONDS and model not in self._looking_up:
            self._begin_look_up(model)
        try:
            place = (self._project, model, known.listing.resolve(model, wanted))
        except VersionNotFound:
            return None
        endpoint = self._loaded.get(place)
        if endpoint is not None:
            self._loaded.move_to_end(place)
        return endpoint

    def endpoints(self) -> list[Endpoint]:
        """Return the versions in memory that are this project's."""
        return [endpoint for place, endpoint in self._loaded.items() if place[0] == self._project]

    def pending(self) -> list[tuple[str, str, int, int]]:
        """Return project, model, version and number of waiting runs of each version in the shared memory."""
        return [(*place, found.pending) for place, found in self._loaded.items()]

    async def find(self, model: str, wanted: str | None) -> Endpoint:
        """Return the version that ``wanted`` means, loaded: a number, an alias, or None for the default.

        Raises:
            ModelNotFound: the model has no version.
            VersionNotFound: it has no such version or alias.
            ModelDamaged: the version fails its checks.
            RuntimeUnavailable: its format cannot be run here.
        """
        return await self.loaded(model, await self.resolve(model, wanted))

    async def resolve(self, model: str, wanted: str | None) -> int:
        """Return the number of the version that ``wanted`` means."""
        try:
            return (await self.listing(model)).resolve(model, wanted)
        except VersionNotFound:
            # Afresh: a look-up under way may have begun before the version was published.
            return (await _told(asyncio.create_task(self._look_up(model)))).resolve(model, wanted)

    async def loaded(self, model: str, number: int) -> Endpoint:
        """Return a version, loading it once however many ask at the same time."""
        if model in self._unloaded:
            raise ModelUnloaded(f"'{model}' was unloaded; load it with POST /v2/repository/models/{model}/load.")
        key = (model, number)
        place = (self._project, *key)
        if place in self._loaded:
            self._loaded.move_to_end(place)
            return self._loaded[place]
        task = self._loading.get(key)
        if task is None:
            task = asyncio.create_task(self._load(key))
            self._loading[key] = task
            task.add_done_callback(lambda done: self._loaded_or_not(key, done))
        # The first to ask may leave; those who asked after still want it.
        return await asyncio.shield(task)

    async def models(self) -> list[str]:
        """Return the names of all models in the store."""
        return await to_thread.run_sync(self._versions.models)

    def apply(self, change: Change) -> None:
        """Do what a change says."""
        match change.what:
            case "forget":
                self.forget(change.model)
            case "unload":
                self.unload(change.model)
            case "load":
                self.allow(change.model)

    def warm(self, model: str) -> None:
        """Load the default version for requests to come; what forbids that is told to them."""
        task = asyncio.create_task(self.find(model, None))
        self._warming.add(task)
        task.add_done_callback(self._warmed)

    def unload(self, model: str) -> None:
        """Take a model out of memory, and load it no more until ``allow``; requests under way keep theirs."""
        self._unloaded.add(model)
        self._unload(model, ())

    def allow(self, model: str) -> None:
        """Let a model be loaded again."""
        self._unloaded.discard(model)

    def is_unloaded(self, model: str) -> bool:
        """Return whether somebody unloaded the model."""
        return model in self._unloaded

    def forget(self, model: str | None) -> None:
        """Believe nothing of ``model``, or of any model, until the store was asked again or is found to be away."""
        self._forgotten += 1
        for name in list(self._known) if model is None else [model]:
            if name in self._known:
                self._known[name] = _Known(self._known[name].listing, -math.inf)
        if model is None:
            self._looking_up.clear()
        else:
            self._looking_up.pop(model, None)

    async def follow(self, queue: JobQueue) -> None:
        """Forget what Redis announces as changed, for ever; while it is away, time alone does it."""
        while True:
            try:
                async for model in queue.changes():
                    self.forget(model)
            except QueueUnavailable:
                await asyncio.sleep(RECONNECT_SECONDS)

    def _begin_look_up(self, model: str) -> _LookUp:
        task = asyncio.create_task(self._look_up(model))
        begun = self._looking_up[model] = _LookUp(task, self._clock())
        task.add_done_callback(lambda done: self._looked_up(model, done))
        return begun

    async def _is_in_time(self, model: str, look_up: _LookUp) -> bool:
        """Wait for a look-up as long as is reasonable; return whether it is done."""
        left = look_up.since + PATIENCE_SECONDS - self._clock()
        if left > 0:
            await asyncio.wait({look_up.task}, timeout=left)
        done = look_up.task.done()
        if not done and not look_up.given_up:
            look_up.given_up = True
            log.warning("store_does_not_answer", project=self._project, model=model, seconds=PATIENCE_SECONDS)
        return done

    async def _look_up(self, model: str) -> ModelListing:
        forgotten = self._forgotten
        try:
            listing = await to_thread.run_sync(self._versions.listing, model)
        except StoreUnavailable:
            # What is loaded can go on answering without the store.
            if model not in self._known:
                raise
            listing = self._known[model].listing
        except ModelNotFound:
            self._known.pop(model, None)
            self._unload(model, ())
            raise
        # What was read while a change was announced may be from before it: good for this request, not for later ones.
        if forgotten == self._forgotten:
            self._known[model] = _Known(listing, self._clock() + BELIEVED_SECONDS)
        self._unload(model, listing.versions)
        return listing

    def _looked_up(self, model: str, done: asyncio.Task[ModelListing]) -> None:
        begun = self._looking_up.get(model)
        if begun is not None and begun.task is done:
            del self._looking_up[model]
        if not done.cancelled():
            done.exception()  # whoever waits has it; of a look-up ahead of time nobody does, and the next one tells

    def _unload(self, model: str, but: Collection[int]) -> None:
        own = (self._project, model)
        for place in [place for place in self._loaded if place[:2] == own and place[2] not in but]:
            del self._loaded[place]

    async def _load(self, key: Key) -> Endpoint:
        started = time.perf_counter()
        loaded = await to_thread.run_sync(self.load, *key)
        endpoint = self.opened(loaded)
        seconds = round(time.perf_counter() - started, 3)
        log.info("model_loaded", project=self._project, model=key[0], version=key[1], seconds=seconds)
        if key[0] not in self._unloaded:  # else it answers those who have waited for it, and nobody after them
            self._loaded[(self._project, *key)] = endpoint
            self._evict()
        return endpoint

    def _loaded_or_not(self, key: Key, done: asyncio.Task[Endpoint]) -> None:
        del self._loading[key]
        if not done.cancelled():
            done.exception()  # looked at, lest asyncio complains when everybody who waited has left

    def _warmed(self, done: asyncio.Task[Endpoint]) -> None:
        self._warming.discard(done)
        if not done.cancelled():
            done.exception()  # looked at, as above

    def _evict(self) -> None:
        """Drop the versions that were not asked for longest; requests under way keep theirs."""
        while len(self._loaded) > 1 and (
            len(self._loaded) > self._largest_count
            or sum(endpoint.loaded.payload_bytes for endpoint in self._loaded.values()) > self._largest_bytes
        ):
            (project, model, number), _ = self._loaded.popitem(last=False)
            log.info("model_evicted", project=project, model=model, version=number)


async def _told(look_up: asyncio.Task[ModelListing]) -> ModelListing:
    """Return what a look-up finds, if the store answers at all; it goes on if nobody waits for it."""
    try:
        return await asyncio.wait_for(asyncio.shield(look_up), SILENCE_SECONDS)
    except TimeoutError as error:
        look_up.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at, whatever it is
        raise StoreUnavailable(f"The artifact store has not answered for {SILENCE_SECONDS:g} s.") from error

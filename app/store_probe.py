"""Whether the artifact store answers, for whoever asks how the gateway is."""

from __future__ import annotations

import asyncio

from anyio import to_thread

from models.artifacts.store import ArtifactStore
from models.contract.errors import StoreUnavailable


class StoreProbe:
    """Looks at a store once at a time however many ask: a look at one that hangs keeps its thread."""

    def __init__(self, store: ArtifactStore) -> None:
        """Look at nothing yet."""
        self._store = store
        self._looking: asyncio.Task[bool] | None = None

    async def answers(self, seconds: float) -> bool:
        """Return whether the store answers within ``seconds``."""
        looking = self._looking
        if looking is None or looking.done():
            looking = self._looking = asyncio.create_task(self._look())
        done, _ = await asyncio.wait({looking}, timeout=seconds)
        return bool(done) and looking.result()

    async def _look(self) -> bool:
        try:
            await to_thread.run_sync(self._store.exists, "readyz")
        except StoreUnavailable:
            return False
        return True

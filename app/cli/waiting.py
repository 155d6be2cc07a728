"""Whether a job that stays queued waits for somebody: a sentence for whoever watches it, if not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.client import Client, Event

PATIENCE_SECONDS = 5.0
"""A worker that starts with the gateway shows itself within two or three."""

NO_GPU = (
    "no worker takes jobs for a GPU here; use --set training.device=auto or cpu, "
    "or start a worker on a machine with a GPU"
)
NO_WORKER = "no worker takes jobs here; start one with 'lectern up', or 'lectern worker' beside the gateway"


class Waiting:
    """Looks once, a while after a job was queued, whether a worker takes from its queue."""

    def __init__(self, client: Client, job_id: str, tell: Callable[[str], None]) -> None:
        """Give ``tell``, in a thread of its own, what there is to say."""
        self._client = client
        self._job_id = job_id
        self._tell = tell
        self._timer: threading.Timer | None = None

    def see(self, event: Event) -> None:
        """Take notice of an event of the job."""
        if event.event != "state":
            return
        self.close()
        if event.data.get("state") == "queued":
            self._timer = threading.Timer(PATIENCE_SECONDS, self._look)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        """Say nothing any more."""
        timer, self._timer = self._timer, None
        if timer:
            timer.cancel()

    def _look(self) -> None:
        from app.client import ClientError  # noqa: PLC0415 - `lectern --help` opens no connection
        from models.contract.jobs import GPU_QUEUE, JobState  # noqa: PLC0415 - as above

        try:
            job = self._client.job(self._job_id)
            workers = self._client.workers(job.queue)
        except (ClientError, RuntimeError):  # a key without the scope, or a client that was closed meanwhile
            return
        if workers == 0 and job.state is JobState.QUEUED and threading.current_thread() is self._timer:
            self._tell(NO_GPU if job.queue == GPU_QUEUE else NO_WORKER)

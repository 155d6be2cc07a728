# What Lectern uses of Celery's signals.

from collections.abc import Callable

class Signal:
    def connect(self, receiver: Callable[..., object], *, weak: bool = True) -> object: ...

heartbeat_sent: Signal
worker_process_init: Signal
worker_ready: Signal
worker_shutdown: Signal

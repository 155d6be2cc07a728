# The part of Celery that Lectern uses: one application, one task, messages by task name.

from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

class AsyncResult:
    id: str

class Settings:
    def update(self, **options: object) -> None: ...

class Celery:
    conf: Settings
    def __init__(
        self,
        main: str | None = None,
        *,
        broker: str | None = None,
        backend: str | None = None,
        set_as_current: bool = True,
    ) -> None: ...
    def close(self) -> None: ...
    def send_task(
        self,
        name: str,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        *,
        queue: str | None = None,
        priority: int | None = None,
        ignore_result: bool = False,
        retry: bool = True,
        retry_policy: Mapping[str, float] | None = None,
    ) -> AsyncResult: ...
    def task(self, function: Callable[_P, _R], /, *, name: str) -> Callable[_P, _R]: ...
    def worker_main(self, argv: Sequence[str] | None = None) -> None: ...

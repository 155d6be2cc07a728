"""Whether Redis answers, keeps what it is given, and whether workers are there to take jobs from it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from app.cli.checks.finding import Finding, ok, problem, warning
from app.cli.checks.installation import own_version
from app.cli.embedded_redis import LONGEST_SOCKET_BYTES, SOCKET, find_server, redis_url, unreachable
from app.cli.output import CommandFailed

if TYPE_CHECKING:
    from redis import Redis

    from models.contract.workers import WorkerPresence

ANSWER_SECONDS = 3.0
OLDEST = (6, 2)
SKEW_SECONDS = 2.0
NO_GPU = "submit with training.device auto or cpu, or start a worker on a machine with a GPU"


def server() -> Finding:
    """Return which Redis `lectern up` would start."""
    try:
        return ok("redis", f"none runs; 'lectern up' starts {Path(find_server()).name}")
    except CommandFailed:
        return problem(
            "redis",
            "there is none to start on this machine",
            "install valkey-server or redis-server, or set LECTERN_REDIS_URL",
        )


def embedded(home: Path) -> Iterator[Finding]:
    """Yield how the Redis of the `lectern up` in ``home`` is, or which one it would start."""
    socket = home.absolute() / SOCKET
    if len(bytes(socket)) > LONGEST_SOCKET_BYTES:
        remedy = "choose a --home with a shorter path"
        yield warning("redis", "that of 'lectern up' cannot be found: the path of its home is too long", remedy)
    elif unreachable(redis_url(socket)):
        yield server()
    else:
        yield from redis(redis_url(socket))


def redis(url: str) -> Iterator[Finding]:
    """Yield how the Redis at ``url`` is, and who works for it."""
    from redis import Redis, RedisError  # noqa: PLC0415 - `lectern --help` needs no client

    timeouts = {"socket_timeout": ANSWER_SECONDS, "socket_connect_timeout": ANSWER_SECONDS}
    try:
        with Redis.from_url(url, decode_responses=True, **timeouts) as client:
            facts = cast("Mapping[str, Any]", client.info())
            yield version(facts)
            yield persistence(facts)
            yield eviction(facts)
            yield clock(client)
            yield from workers(client)
    except ValueError:  # the error repeats pieces of the URL, which may hold a password
        yield problem("redis", "LECTERN_REDIS_URL is no URL of Redis", "write redis://[:password@]host:6379/0")
    except (RedisError, OSError) as error:
        reason = str(error).rstrip(".") or type(error).__name__
        yield problem("redis", f"no Redis answers ({reason})", "start one there, or correct LECTERN_REDIS_URL")


def version(facts: Mapping[str, Any]) -> Finding:
    """Return whether it knows the commands that Lectern uses; ``facts`` are what INFO says."""
    text = str(facts.get("redis_version", "0"))
    number = tuple(int(part) if part.isdigit() else 0 for part in text.split("."))
    if number < OLDEST:
        return problem("redis", f"it answers, and is version {text}", "install Redis 6.2 or newer")
    return ok("redis", f"it answers, and knows the commands of Redis {text}")


def persistence(facts: Mapping[str, Any]) -> Finding:
    """Return whether jobs survive its end."""
    if str(facts.get("aof_last_write_status", "ok")) != "ok":
        return problem("persistence", "Redis cannot write its log", "make room on its disk")
    if not int(facts.get("aof_enabled", 0)):
        remedy = "set 'appendonly yes' in its configuration"
        return warning("persistence", "Redis keeps no log: when it ends, jobs are lost", remedy)
    return ok("persistence", "every write is logged (appendonly)")


def eviction(facts: Mapping[str, Any]) -> Finding:
    """Return whether it refuses writes, not jobs that it holds, when its memory is full."""
    policy = str(facts.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        remedy = "set 'maxmemory-policy noeviction' in its configuration"
        return problem("eviction", f"Redis drops what it holds when its memory is full ({policy})", remedy)
    return ok("eviction", "nothing is dropped when memory is full (noeviction)")


def clock(client: Redis) -> Finding:
    """Return whether this machine and that of Redis agree on the time."""
    began = time.time()
    seconds, microseconds = client.time()
    skew = seconds + microseconds / 1e6 - (began + time.time()) / 2
    if abs(skew) > SKEW_SECONDS:
        remedy = "set both clocks by a time server"
        return warning("clock", f"Redis is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}", remedy)
    return ok("clock", "agrees with that of Redis")


def workers(client: Redis) -> Iterator[Finding]:
    """Yield who takes jobs, and what waits for nobody."""
    from models.contract.jobs import GPU_QUEUE, QUEUES, waiting_lists  # noqa: PLC0415 - `lectern --help` needs no record of a job

    present = _present(client)
    waiting = {queue: sum(map(client.llen, waiting_lists(queue))) for queue in QUEUES}
    stuck = {
        queue: count for queue, count in waiting.items() if count and not any(queue in item.queues for item in present)
    }
    others = [item for item in present if item.version != own_version()]
    start = "start one with 'lectern worker' or 'lectern up'"
    for queue, count in stuck.items():
        remedy = NO_GPU if queue == GPU_QUEUE else start
        yield problem("workers", f"{count} job(s) wait in {queue}, and no worker takes from it", remedy)
    if not present and not stuck:
        yield warning("workers", "there is none: jobs will stay queued", start)
    for item in others:
        remedy = "restart it from the same installation"
        yield warning("workers", f"{item.host} process {item.pid} runs {item.version}, this is {own_version()}", remedy)
    if present and not others:
        yield ok("workers", "; ".join(map(_described, present)))


def _present(client: Redis) -> list[WorkerPresence]:
    from models.contract.workers import WorkerPresence, presence_keys  # noqa: PLC0415 - as in ``workers``

    keys = cast("list[str]", client.keys(presence_keys()))
    values = cast("list[str | None]", client.mget(keys)) if keys else []
    return [WorkerPresence.model_validate_json(value) for value in values if value]


def _described(worker: WorkerPresence) -> str:
    return f"{worker.host} process {worker.pid}, {worker.slots} at a time from {' and '.join(worker.queues)}"

"""What it costs to look at many jobs: ``make bench-queue``.

A stack without workers, so that every job stays queued. 1,000 jobs are submitted over HTTP, then one client asks again
and again for the list, its pages and filters, one job, and the metrics. After that 10,000 ended jobs are written into
Redis beside them, as workers leave them, and everything is asked once more; a filter then looks at many jobs that it
does not want, and that has no limit.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
from redis import Redis

from app.cli.address import free_address
from app.cli.log_files import LogFiles
from app.cli.stack import Stack, StackOptions
from app.scripts import new_job_id
from benchmarks.machine import describe
from models.contract.jobs import JobKeys

LIMIT_SECONDS = 0.05
BODY = {"family": "mlp", "dataset": "digits", "model": "digits", "training": {"epochs": 3}}
KEYS = JobKeys("default")
WARM_UP = 20

# KEYS: job, index, figures, their events. ARGV: id, milliseconds, request. An ended job has an event per state.
ENDED = """
redis.call('HSET', KEYS[1], 'request', ARGV[3], 'state', 'succeeded', 'attempt', '1', 'max_attempts', '5',
  'created', '2026-01-01T00:00:00.000Z', 'started', '2026-01-01T00:00:01.000Z', 'finished', '2026-01-01T00:01:00.000Z',
  'version', '1', 'queue', 'train.cpu', 'family', 'mlp', 'model', 'digits')
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
redis.call('HINCRBY', KEYS[3], 'jobs:train.cpu:succeeded', 1)
for _, state in ipairs({'queued', 'running', 'exporting', 'succeeded'}) do
  redis.call('XADD', KEYS[4], '*', 'event', 'state', 'data', cjson.encode({state = state, attempt = 1}))
end
"""


def main() -> None:
    """Print what the requests take and what Redis holds; exit with 1 if a 99th percentile is beyond the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000, help="queued jobs (default 1,000)")
    parser.add_argument("--ended", type=int, default=10_000, help="ended jobs beside them (default 10,000)")
    parser.add_argument("--requests", type=int, default=500, help="requests of each kind (default 500)")
    options = parser.parse_args()
    print(describe("fastapi", "redis", "prometheus_client"))
    with tempfile.TemporaryDirectory() as folder, LogFiles(Path(folder) / "logs") as logs:
        store = {"LECTERN_STORE_URL": (Path(folder) / "store").as_uri()}
        stack_options = StackOptions(Path(folder), free_address("127.0.0.1", 0), workers=0, environment=store)
        with (
            Stack(stack_options, logs.emit) as stack,
            httpx.Client(base_url=stack.base_url, trust_env=False, timeout=30) as client,
            Redis.from_url(stack.redis_url, decode_responses=True) as redis,
        ):
            _submit(client, redis, options.jobs)
            kept = [_ask(client, f"{options.jobs} queued", options.requests, filters_limited=True)]
            if options.ended:
                _write_ended(client, redis, options.ended)
                situation = f"{options.jobs} queued and {options.ended} ended"
                kept.append(_ask(client, situation, options.requests, filters_limited=False))
    sys.exit(0 if all(kept) else 1)


def _submit(client: httpx.Client, redis: Redis, count: int) -> None:
    """Submit jobs one after another; print how many a second, and the bytes that Redis holds for each."""
    client.post("/v1/jobs", json=BODY).raise_for_status()
    before = _used_bytes(redis)
    began = time.perf_counter()
    for number in range(1, count):
        client.post("/v1/jobs", json={**BODY, "model": f"digits-{number % 10}"}).raise_for_status()
    seconds = time.perf_counter() - began
    print(f"{count} jobs submitted by one client: {(count - 1) / seconds:.0f} a second")
    _tell_memory(before, _used_bytes(redis), count - 1)


def _write_ended(client: httpx.Client, redis: Redis, count: int) -> None:
    """Write records of jobs that ended before all others."""
    example = client.get("/v1/jobs", params={"limit": 1}).json()["items"][0]["id"]
    request = str(redis.hget(KEYS.job(example), "request"))
    before = _used_bytes(redis)
    for number in range(count):
        job_id = new_job_id(number)
        keys = (KEYS.job(job_id), KEYS.index(), KEYS.figures(), KEYS.events(job_id))
        redis.eval(ENDED, len(keys), *keys, job_id, str(number), request)
    print(f"{count} ended jobs beside them")
    _tell_memory(before, _used_bytes(redis), count)


def _ask(client: httpx.Client, situation: str, count: int, *, filters_limited: bool) -> bool:
    """Print the percentiles of each kind of request; return whether those with a limit keep it."""
    newest = client.get("/v1/jobs", params={"limit": 1}).json()["items"][0]["id"]
    print(f"with {situation}, {count} requests of each kind by one client, p50 and p99:")
    kept = True
    for path, limited in (
        ("/v1/jobs?limit=100", True),
        ("/v1/jobs?limit=100&state=queued", filters_limited),
        ("/v1/jobs?limit=100&model=digits-3", filters_limited),
        (f"/v1/jobs/{newest}", True),
        ("/metrics", True),
        ("/v1/jobs?limit=100&state=failed", False),
        ("/v1/jobs?limit=1000", False),
    ):
        p50, p99 = _percentiles(client, path, count if limited else max(count // 5, 2))
        kept = kept and (p99 < LIMIT_SECONDS or not limited)
        wanted = f" (less than {1000 * LIMIT_SECONDS:.0f} wanted)" if limited else ""
        print(f"  GET {path:<40} {1000 * p50:7.1f} ms {1000 * p99:7.1f} ms{wanted}", flush=True)
    return kept


def _percentiles(client: httpx.Client, path: str, count: int) -> tuple[float, float]:
    seconds: list[float] = []
    gc.collect()
    for _ in range(WARM_UP + count):
        began = time.perf_counter()
        client.get(path).raise_for_status()
        seconds.append(time.perf_counter() - began)
    cuts = statistics.quantiles(seconds[WARM_UP:], n=100, method="inclusive")
    return cuts[49], cuts[98]


def _used_bytes(redis: Redis) -> int:
    return int(redis.info("memory")["used_memory"])


def _tell_memory(before: int, after: int, jobs: int) -> None:
    print(
        f"  Redis: {before / 1e6:.2f} MB before, {after / 1e6:.2f} MB after, {(after - before) / jobs:.0f} bytes a job"
    )


if __name__ == "__main__":
    main()

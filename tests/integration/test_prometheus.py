"""A real Prometheus beside a gateway: what it says of the slowest requests is what their clients saw."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import orjson
import pytest

from app.cli.address import free_address
from benchmarks.serving.figures import percentile, poisson_seconds
from benchmarks.serving.load import Load
from gateways import CLASSIFY, IMAGES, Gateway, publisher
from steady_load import steady_load
from waiting import wait_until

PROMETHEUS = shutil.which("prometheus")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        PROMETHEUS is None, reason="Prometheus is not installed (on Debian: apt-get install prometheus)"
    ),
]

SCRAPES = """
global: {{scrape_interval: 2s, scrape_timeout: 2s}}
scrape_configs: [{{job_name: lectern, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
"""
BUSY_LAYERS = 120
"""Makes a run take some ten milliseconds, so that latencies are those of a queue and not of the two on the wire."""

LOAD_SECONDS, SHARE_OF_CAPACITY = 45.0, 0.7
CLOSE = 0.1
COUNTED, INFERRED = "lectern_prediction_seconds", '{verb="infer",outcome="ok"}'
INFER = "/v2/models/tiny/infer"
TENSOR = {"name": "images", "shape": [1, 2, 2], "datatype": "FP32", "data": [0, 1, 2, 3]}


class Prometheus:
    """A server that scrapes one gateway every two seconds."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=20, trust_env=False)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def ask(self, query: str) -> float | None:
        """Return the one value of a query; None where there is none yet."""
        try:
            answer = self._client.get("/api/v1/query", params={"query": query})
        except httpx.TransportError:
            return None
        if answer.status_code == 503:  # it is still starting
            return None
        found = answer.json()["data"]["result"]
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None


@contextmanager
def scraping(gateway: Gateway) -> Generator[Prometheus]:
    """Start a Prometheus and return once it has scraped."""
    configuration, address = gateway.folder / "prometheus.yml", free_address("127.0.0.1", 0)
    configuration.write_text(SCRAPES.format(port=gateway.port))
    command = [
        str(PROMETHEUS),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={gateway.folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{address.port}",
    ]
    with (
        (gateway.folder / "prometheus.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as server,
    ):
        try:
            with closing(Prometheus(address.url)) as found:
                wait_until(lambda: found.ask('up{job="lectern"}') == 1, 60)
                yield found
        finally:
            server.terminate()


def test_its_slowest_are_the_clients_slowest(tmp_path: Path) -> None:
    """The 99th percentile by ``histogram_quantile`` is within 10 % of what was measured at the other end."""
    publisher(tmp_path).publish(busy_layers=BUSY_LAYERS)
    # None is refused because one before it waits long: five in flight would be enough for that, in runs of one.
    settings = {
        "LECTERN_PROCESSES": "1",
        "LECTERN_MAX_BATCH_SIZE": "1",
        "LECTERN_MAX_QUEUE_WAIT_MICROSECONDS": "0",
    }
    with Gateway(tmp_path, **settings) as gateway, scraping(gateway) as prometheus:
        with Load("127.0.0.1", gateway.port) as clients:
            assert clients.ask(request(INFER, {"inputs": [TENSOR]})).status == 200
            capacity = len(clients.closed(request(CLASSIFY, IMAGES), 1, 3.0).good()) / 3.0
            # Whatever was counted before the first scrape of a series is no increase.
            wait_until(lambda: prometheus.ask(f"sum({COUNTED}_count{INFERRED})") == 1, 30)
            due = poisson_seconds(SHARE_OF_CAPACITY * capacity, LOAD_SECONDS, seed=3)
            sample = clients.scheduled(request(INFER, {"inputs": [TENSOR]}), due)
        assert len(sample.good()) == len(due), sample.other_statuses()
        wait_until(lambda: prometheus.ask(f"sum({COUNTED}_count{INFERRED})") == 1 + len(due), 30)
        told = prometheus.ask(f"histogram_quantile(0.99, sum(increase({COUNTED}_bucket{INFERRED}[5m])) by (le))")
    measured = percentile(sample.good(), 0.99)
    rate = len(due) / LOAD_SECONDS
    print(f"p99 at {rate:.0f}/s: {told} s by Prometheus, {measured} s at the client")  # noqa: T201 - the figures, with -s
    assert told == pytest.approx(measured, rel=CLOSE)


async def test_no_counter_goes_back_when_a_process_is_killed(tmp_path: Path) -> None:
    """As Prometheus sees it: it counts resets itself."""
    publisher(tmp_path).publish()
    with Gateway(tmp_path) as gateway, scraping(gateway) as prometheus:
        async with steady_load(gateway.url) as clients:
            for _ in range(2):
                killed = gateway.children()[0]
                os.kill(killed, signal.SIGKILL)
                await asyncio.to_thread(wait_until, lambda gone=killed: replaced(gateway, gone))
                await asyncio.sleep(3)
        await asyncio.sleep(4)
        counted = prometheus.ask("sum(last_over_time(lectern_http_requests_total[5m]))")
        assert prometheus.ask("sum(resets(lectern_http_requests_total[5m]))") == 0
        assert prometheus.ask("sum(resets(lectern_prediction_seconds_count[5m]))") == 0
    assert counted is not None
    assert counted > len(clients.requests) / 2


def replaced(gateway: Gateway, gone: int) -> bool:
    """Return whether another process stands in for one that is gone."""
    now = gateway.children()
    return gone not in now and len(now) == 2


def request(path: str, asked: object) -> bytes:
    """Return a request as it goes over the wire."""
    body = orjson.dumps(asked)
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

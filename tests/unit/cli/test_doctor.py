"""`lectern doctor`: for every check what is well, what is broken, and what to do about it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from typer.testing import CliRunner

from app.cli.checks import gateway, gpu, installation, machine, redis, store
from app.cli.checks.finding import Finding
from app.cli.embedded_redis import find_server, unreachable
from app.cli.main import app
from models.contract.workers import WorkerPresence
from waiting import wait_until

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CannedGateway

REQUIREMENTS = ["celery[redis]==5.7.0; extra == 'train'", "httpx==0.28.1", "ruff==1.0; extra == 'dev'"]
GIB = 2**30


@pytest.fixture(scope="module")
def redis_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Redis without persistence in a home of its own."""
    home = tmp_path_factory.mktemp("home")
    command = [find_server(), "--port", "0", "--unixsocket", str(home / "redis.sock"), "--save", "", "--dir", str(home)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            # It listens some time after its socket is a file.
            wait_until(lambda: not unreachable(f"unix://{home}/redis.sock") or server.poll() is not None)
            assert server.poll() is None
            yield home / "redis.sock"
        finally:
            server.terminate()


@pytest.fixture
def client(redis_socket: Path) -> Iterator[Redis]:
    with Redis.from_url(f"unix://{redis_socket}", decode_responses=True) as client:
        client.flushall()
        yield client


def present(client: Redis, **changes: Any) -> None:
    facts = {"host": "here", "pid": 7, "queues": ("train.cpu",), "slots": 1, "version": installation.own_version()}
    record = WorkerPresence.model_validate({**facts, **changes})
    client.set(record.key, record.model_dump_json())


def level(finding: Finding) -> str:
    """Return the level; whoever is told of something wrong is told what to do."""
    assert bool(finding.remedy) == (finding.level != "ok")
    return finding.level


@pytest.mark.parametrize(("version", "expected"), [((3, 11, 2), "ok"), ((3, 10, 14), "problem")])
def test_python_is_new_enough(version: tuple[int, ...], expected: str) -> None:
    assert level(installation.python(version)) == expected


@pytest.mark.parametrize(
    ("installed", "expected", "words"),
    [
        ({"httpx": "0.28.1", "celery": "5.7.0+local"}, "ok", "2 pinned packages"),
        ({"httpx": "0.28.1"}, "ok", "none for training"),
        ({"httpx": "0.27.0", "celery": "5.7.0"}, "problem", "httpx is 0.27.0, pinned 0.28.1"),
        ({"celery": "5.7.0"}, "problem", "httpx is missing"),
        ({"httpx": "0.28.1", "celery": "5.5.0"}, "problem", "celery is 5.5.0"),
    ],
)
def test_packages_are_the_pinned_ones(installed: dict[str, str], expected: str, words: str) -> None:
    """A build's local version is the version; development tools are nobody's concern here."""
    finding = installation.packages(REQUIREMENTS, installed.get)
    assert level(finding) == expected
    assert words in finding.detail


def test_this_installation_is_the_pinned_one() -> None:
    assert installation.packages().level == "ok"


def test_a_home_that_cannot_be_written_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert level(machine.home(tmp_path / "new" / "home")) == "ok"
    assert list(tmp_path.iterdir()) == []

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)
    assert level(machine.home(tmp_path)) == "problem"


@pytest.mark.parametrize(("free", "expected"), [(100 * GIB, "ok"), (2 * GIB, "warning"), (GIB // 10, "problem")])
def test_disk_has_room(free: int, expected: str, tmp_path: Path) -> None:
    assert level(machine.disk(tmp_path, free)) == expected
    assert machine.disk(tmp_path).detail.endswith(str(tmp_path))


@pytest.mark.parametrize(("available", "expected"), [(8 * GIB, "ok"), (GIB // 2, "warning")])
def test_memory_is_left(available: int, expected: str) -> None:
    assert level(machine.memory(available)) == expected


def test_memory_is_what_the_control_group_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    assert level(machine.memory()) == "ok"
    (tmp_path / "memory.max").write_text(f"{GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB // 2}\n")
    assert machine.memory().detail == "0.5 GiB available"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "ok"),
        ({"cpu.max": "max 100000"}, "ok"),
        ({"cpu.max": "150000 100000"}, "warning"),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, "warning"),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "ok"),
    ],
)
def test_cores_are_those_that_the_control_group_grants(
    files: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    finding = machine.cores(cpus=4)
    assert level(finding) == expected
    assert ("LECTERN_TRAINER_THREADS=1" in finding.remedy) == (expected == "warning")


@pytest.mark.parametrize(("limit", "expected"), [(256, "warning"), (1024, "ok"), (-1, "ok")])
def test_enough_files_may_be_open(limit: int, expected: str) -> None:
    assert level(machine.open_files(limit)) == expected


@pytest.mark.parametrize(
    ("cards", "torch", "expected", "words"),
    [
        (None, ["2.13.0+cpu", False], "ok", "trains on the CPU"),
        ("H200, 143771 MiB\n", ["2.13.0+cu130", 1], "ok", "uses 1 GPU: H200"),
        ("H200, 143771 MiB\n", ["2.13.0+cpu", False], "warning", "does not see H200"),
        ("H200, 143771 MiB\n", None, "problem", "cannot be imported"),
    ],
)
def test_a_gpu_that_is_there_is_used(cards: str | None, torch: object, expected: str, words: str) -> None:
    def ask(command: Sequence[str]) -> str | None:
        answer = None if torch is None else json.dumps(torch)
        return cards if command[0] == "nvidia-smi" else answer

    finding = gpu.gpu(ask)
    assert level(finding) == expected
    assert words in finding.detail


def test_without_torch_nobody_asks_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda _: None)
    assert level(gpu.gpu(lambda _: None)) == "ok"


def test_a_store_is_written_and_left_as_it_was(tmp_path: Path) -> None:
    assert level(store.store(tmp_path.as_uri())) == "ok"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert level(store.store((tmp_path / "none").as_uri())) == "ok"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("url", ["nothing://here", "not a url"])
def test_a_store_that_cannot_be_opened_is_a_problem(url: str) -> None:
    assert level(store.store(url)) == "problem"


def test_a_store_without_put_if_absent_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.artifacts.store.ArtifactStore.put_if_absent", lambda self, *item: self.put(*item) or 1)
    finding = store.store(tmp_path.as_uri())
    assert level(finding) == "problem"
    assert "only if absent" in finding.detail


def test_a_gateway_is_well_when_it_reaches_what_it_needs(canned: CannedGateway) -> None:
    canned.answer("GET /v2", {"name": "lectern", "version": installation.own_version()})
    canned.answer("GET /readyz", {"status": "ready", "queue": "up", "store": "up"})
    assert [level(finding) for finding in gateway.gateway(canned.url, wanted=True)] == ["ok", "ok"]
    canned.answer("GET /v2", {"name": "lectern", "version": "0.0.1"})
    canned.answer("GET /readyz", {"status": "ready", "queue": "down", "store": "up"})
    assert [level(finding) for finding in gateway.gateway(canned.url, wanted=True)] == ["warning", "problem"]
    canned.refuse("GET /readyz", 503, "draining", "The gateway is shutting down.")
    assert level(list(gateway.gateway(canned.url, wanted=True))[1]) == "problem"


def test_another_program_on_the_port_is_a_problem(canned: CannedGateway) -> None:
    (finding,) = gateway.gateway(canned.url, wanted=False)
    assert level(finding) == "problem"
    assert "another program" in finding.detail
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        gateway_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        (finding,) = gateway.gateway(gateway_url, wanted=False)
    assert "is no gateway" in finding.detail


@pytest.mark.parametrize(("wanted", "expected"), [(True, "problem"), (False, "ok")])
def test_no_gateway_is_a_problem_where_one_was_named(wanted: bool, expected: str) -> None:  # noqa: FBT001 - a case
    (finding,) = gateway.gateway("http://127.0.0.1:1", wanted=wanted)
    assert level(finding) == expected


def test_a_url_that_is_none_is_a_problem() -> None:
    (finding,) = gateway.gateway("ftp://somewhere", wanted=True)
    assert level(finding) == "problem"


@pytest.mark.parametrize(("version", "expected"), [("7.2.4", "ok"), ("6.2.0", "ok"), ("6.0.16", "problem")])
def test_redis_is_new_enough(version: str, expected: str) -> None:
    assert level(redis.version({"redis_version": version})) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"aof_enabled": 1, "aof_last_write_status": "ok"}, "ok"),
        ({"aof_enabled": 0}, "warning"),
        ({"aof_enabled": 1, "aof_last_write_status": "err"}, "problem"),
    ],
)
def test_redis_keeps_what_it_is_given(facts: dict[str, object], expected: str) -> None:
    assert level(redis.persistence(facts)) == expected


@pytest.mark.parametrize(("policy", "expected"), [("noeviction", "ok"), ("allkeys-lru", "problem")])
def test_redis_drops_nothing(policy: str, expected: str) -> None:
    assert level(redis.eviction({"maxmemory_policy": policy})) == expected


@pytest.mark.parametrize(("ahead_seconds", "expected"), [(0, "ok"), (-90, "warning"), (90, "warning")])
def test_clocks_agree(client: Redis, monkeypatch: pytest.MonkeyPatch, ahead_seconds: int, expected: str) -> None:
    now = redis.time.time()
    monkeypatch.setattr(redis.time, "time", lambda: now - ahead_seconds)
    finding = redis.clock(client)
    assert level(finding) == expected
    assert ("ahead" in finding.detail) == (ahead_seconds > 0)


def test_workers_are_there_for_what_waits(client: Redis) -> None:
    assert [level(finding) for finding in redis.workers(client)] == ["warning"]
    present(client)
    assert [level(finding) for finding in redis.workers(client)] == ["ok"]
    client.lpush("train.gpu", "a job")
    (finding,) = (finding for finding in redis.workers(client) if finding.level == "problem")
    assert "wait in train.gpu" in finding.detail
    assert "training.device auto or cpu" in finding.remedy
    present(client, pid=8, queues=("train.gpu",), version="0.0.1")
    assert [level(finding) for finding in redis.workers(client)] == ["warning"]


def test_redis_as_a_whole(redis_socket: Path, client: Redis) -> None:
    present(client)
    found = {finding.check: level(finding) for finding in redis.redis(f"unix://{redis_socket}")}
    assert found == {"redis": "ok", "persistence": "warning", "eviction": "ok", "clock": "ok", "workers": "ok"}
    assert [finding.check for finding in redis.embedded(redis_socket.parent)][:2] == ["redis", "persistence"]


@pytest.mark.parametrize("url", ["redis://:sekret@127.0.0.1:1/0", "http://:sekret@127.0.0.1", "redis://:sekret/0@host"])
def test_a_redis_that_is_away_is_a_problem_and_its_password_stays_a_secret(url: str) -> None:
    (finding,) = redis.redis(url)
    assert level(finding) == "problem"
    assert "sekret" not in finding.detail + finding.remedy


def test_the_redis_of_a_home_that_does_not_run_is_one_that_could(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finding,) = redis.embedded(tmp_path)
    assert level(finding) == "ok"
    (finding,) = redis.embedded(tmp_path / ("long" * 30))
    assert level(finding) == "warning"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("app.cli.embedded_redis.importlib.util.find_spec", lambda _: None)
    (finding,) = redis.embedded(tmp_path)
    assert level(finding) == "problem"


@pytest.fixture
def examine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run the command as JSON without what this machine says of itself."""
    monkeypatch.setattr(gpu, "gpu", lambda: Finding("gpu", "ok", "none"))
    for name in [name for name in os.environ if name.startswith("LECTERN_")]:
        monkeypatch.delenv(name)

    def run(**environment: str) -> tuple[int, dict[str, Any]]:
        words = ["doctor", "--json", "--home", str(tmp_path)]
        result = CliRunner().invoke(app, words, env=environment)
        return result.exit_code, json.loads(result.stdout)

    return run


def test_a_problem_ends_with_1_and_stands_in_the_json(examine: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    status, report = examine(LECTERN_PORT="1", LECTERN_REDIS_URL="redis://127.0.0.1:1/0")
    assert (status, report["healthy"]) == (1, False)
    assert [item["check"] for item in report["checks"] if item["level"] == "problem"] == ["redis"]


def test_a_check_that_falls_is_a_finding(
    examine: Callable[..., tuple[int, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall() -> Finding:
        raise RuntimeError("out of order")

    monkeypatch.setattr(machine, "memory", fall)
    status, report = examine(LECTERN_PORT="1")
    assert status == 1
    (broken,) = [item for item in report["checks"] if item["level"] == "problem"]
    assert "out of order" in broken["detail"]
    assert report["checks"][-1]["check"] == "redis"


def test_a_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "gpu", lambda: Finding("gpu", "ok", "none"))
    environment = {"LECTERN_REDIS_URL": "redis://127.0.0.1:1/0", "LECTERN_PORT": "1"}
    result = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path)], env=environment)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].startswith("problem  redis        no Redis answers (")
    assert result.stdout.splitlines()[-1].endswith("; start one there, or correct LECTERN_REDIS_URL")


def test_asking_torch_does_not_load_it_here() -> None:
    code = "import sys; from app.cli.checks import gpu; print(gpu.gpu().level, 'torch' in sys.modules)"
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert fresh.stdout.split()[1] == "False"

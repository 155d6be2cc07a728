"""`lectern up` as a user runs it: one line when ready, sentences when refused, nothing left behind, nothing lost."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from app.client import Client, ClientError, Job

LECTERN = (sys.executable, "-P", "-m", "app.cli.main")
GONE_SECONDS = 15.0
START_SECONDS = 60.0


class Up:
    """A running ``lectern up`` and what it wrote so far."""

    def __init__(self, home: Path, *options: str) -> None:
        """Start it on a free port."""
        self.home = home
        self.port = free_port()
        self.lines: list[str] = []
        command = [*LECTERN, "up", "--home", str(home), "--port", str(self.port), *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def ready_line(self) -> str:
        return f"ready http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.wait_for(self.ready_line)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGTERM)

    def client(self) -> Client:
        return Client(f"http://127.0.0.1:{self.port}")

    def wait_for(self, pattern: str, count: int = 1) -> None:
        """Return when ``count`` lines match."""
        wait_until(
            lambda: sum(bool(re.search(pattern, line)) for line in self.lines) >= count, self.described, START_SECONDS
        )

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        status = self.process.wait(30)
        self._reader.join(30)
        return status

    def described(self) -> str:
        return "\n".join(self.lines[-40:])

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            self.lines.extend(line.rstrip("\n") for line in iter(output.readline, ""))


def environment(**added: str) -> dict[str, str]:
    """The environment without what a user may have set for Lectern."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LECTERN_")} | added


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition: Callable[[], bool], describe: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.05)


def processes_of(home: Path) -> dict[int, str]:
    """Return the command of every living process that has the home in its command or environment."""
    mark = str(home).encode()
    found: dict[int, str] = {}
    if not Path("/proc/self/environ").exists():
        listing = subprocess.run(["ps", "-axwwE", "-o", "pid=,command="], capture_output=True, check=True)  # noqa: S607
        for line in listing.stdout.splitlines():
            pid, _, command = line.strip().partition(b" ")
            if mark in command:
                found[int(pid)] = command.decode(errors="replace")
        return found
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, variables = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if mark in command or mark in variables:
            found[int(process.name)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


def assert_all_gone(home: Path, seconds: float = GONE_SECONDS) -> None:
    wait_until(lambda: not processes_of(home), lambda: processes_of(home), seconds)


def run(*words: str, **added: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LECTERN, *words], capture_output=True, text=True, env=environment(**added), timeout=60, check=False
    )


def train(client: Client, epochs: int) -> Job:
    family = next(item.sent()["id"] for item in client.families() if item.sent()["dataset_kind"] == "images")
    submission = {"family": family, "dataset": "digits", "model": "first", "training": {"epochs": epochs}}
    return client.submit(submission)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("shared")) as running:
        yield running


def test_the_ready_line_is_written_once_and_true(up: Up) -> None:
    with up.client() as client:
        assert [item.name for item in client.datasets()] == ["digits", "ellipses", "sprites"]
    assert [line for line in up.lines if not re.match(r"(gateway|worker |redis  |lectern) \| ", line)] == [
        up.ready_line
    ]


def test_a_second_up_on_the_same_home_names_the_first(up: Up) -> None:
    second = run("up", "--home", str(up.home), "--port", str(free_port()))
    assert second.returncode == 1
    assert second.stdout == ""
    assert f"(process {up.process.pid}); stop it with 'kill {up.process.pid}'" in second.stderr


def test_a_taken_port_is_named(up: Up, tmp_path: Path) -> None:
    second = run("up", "--home", str(tmp_path), "--port", str(up.port))
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == f"lectern: Port {up.port} on 127.0.0.1 is taken; choose another with --port.\n"


def test_a_redis_that_does_not_answer_is_named(tmp_path: Path) -> None:
    failed = run("up", "--home", str(tmp_path), "--port", "0", LECTERN_REDIS_URL="redis://127.0.0.1:1/0")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "No Redis answers at redis://127.0.0.1:1/0" in failed.stderr


@pytest.mark.parametrize("piece", ["gateway", "worker"])
def test_a_piece_without_its_redis_says_what_to_do(piece: str) -> None:
    failed = run(piece, LECTERN_REDIS_URL="redis://127.0.0.1:1/0")
    assert failed.returncode == 1
    assert re.fullmatch(r"lectern: No Redis answers at redis://127.0.0.1:1/0 .* start its own.\n", failed.stderr)


def test_a_setting_that_is_wrong_is_named() -> None:
    failed = run("gateway", LECTERN_JSON_LIMIT_BYTES="many")
    assert failed.returncode == 1
    assert failed.stderr.startswith("lectern: LECTERN_JSON_LIMIT_BYTES: ")


def test_listening_to_others_is_refused_without_insecure(tmp_path: Path) -> None:
    refused = run("up", "--home", str(tmp_path), "--port", "0", "--host", "0.0.0.0")  # noqa: S104 - refused
    assert refused.returncode == 1
    assert "--insecure" in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_stops_everything(tmp_path: Path, number: signal.Signals) -> None:
    up = Up(tmp_path)
    up.wait_for(up.ready_line)
    assert up.stop(number) == 0, up.described()
    assert processes_of(tmp_path) == {}
    assert "bye bye" in up.lines[-1]  # Redis last, its file complete


def test_a_start_can_be_stopped(tmp_path: Path) -> None:
    up = Up(tmp_path)
    up.wait_for("^redis   | ")
    assert up.stop(signal.SIGTERM) == 0, up.described()
    assert processes_of(tmp_path) == {}
    assert up.ready_line not in up.lines


@pytest.mark.slow
def test_a_killed_up_leaves_no_process_and_the_next_one_goes_on(tmp_path: Path) -> None:
    """Also no trainer; the next `up`, started at once, waits for the remains and takes the job up again."""
    up = Up(tmp_path)
    up.wait_for(up.ready_line)
    with up.client() as client:
        job = train(client, 100_000)
        next(event for event in client.events(job.id) if event.event == "progress")
    old = set(processes_of(tmp_path)) - {up.process.pid}
    up.stop(signal.SIGKILL)
    killed = time.monotonic()
    with Up(tmp_path) as following:
        assert not old & set(processes_of(tmp_path))
        assert time.monotonic() - killed < GONE_SECONDS + 5
        with following.client() as client:
            wait_until(lambda: client.job(job.id).attempt == 2, following.described, 60)
            client.cancel(job.id)
            wait_until(lambda: client.job(job.id).state.final, following.described, 30)
    assert_all_gone(tmp_path, 0.5)


def test_a_killed_up_leaves_nothing_behind(tmp_path: Path) -> None:
    up = Up(tmp_path)
    up.wait_for(up.ready_line)
    up.stop(signal.SIGKILL)
    assert_all_gone(tmp_path)


def test_the_next_up_finds_everything_as_it_was(tmp_path: Path) -> None:
    def state(client: Client) -> list[object]:
        lists = (client.datasets(), client.jobs(), client.models())
        return [item.sent() for items in lists for item in items]

    with Up(tmp_path) as first, first.client() as client:
        job = train(client, 1)
        assert [event.data["state"] for event in client.events(job.id) if event.final] == ["succeeded"]
        before = state(client)
    with Up(tmp_path) as second, second.client() as client:
        assert state(client) == before
        assert client.version("first", 1).metrics["test"]


@pytest.mark.parametrize(
    ("name", "command"),
    [("worker", r"-m workers\s*$"), ("gateway", r"app.cli.main gateway\s*$"), ("redis", "unixsocket:")],
)
def test_a_killed_program_is_started_again(up: Up, name: str, command: str) -> None:
    found = processes_of(up.home).items()
    os.kill(min(pid for pid, words in found if re.search(command, words) and "guard" not in words), signal.SIGKILL)
    up.wait_for(rf"^lectern \| {name} ended with status 137 and is started again in 1 s")
    with up.client() as client:
        wait_until(lambda: answers(client), up.described, 30)
        if name == "worker":
            job = train(client, 1)
            wait_until(lambda: client.job(job.id).state == "succeeded", up.described, 60)


def test_a_reader_that_left_stops_nothing(tmp_path: Path) -> None:
    """As in `lectern up | head -1`."""
    port = free_port()
    command = [*LECTERN, "up", "--home", str(tmp_path), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while not process.stdout.readline().startswith(b"ready"):
            assert process.poll() is None
        process.stdout.close()
        redis = next(pid for pid, words in processes_of(tmp_path).items() if "unixsocket:" in words)
        os.kill(redis, signal.SIGKILL)  # which would be told on stdout
        with Client(f"http://127.0.0.1:{port}") as client:
            wait_until(lambda: not answers(client), lambda: "Redis goes on", 10)
            wait_until(lambda: answers(client), lambda: "Redis was not started again", 20)
        process.terminate()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0
    assert processes_of(tmp_path) == {}


def answers(client: Client) -> bool:
    """Return whether gateway and Redis answer."""
    try:
        client.jobs()
    except ClientError:
        return False
    return True

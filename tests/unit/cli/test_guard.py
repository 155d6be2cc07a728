"""The guard: what it runs never outlives its holder, and is asked to stop before it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.guarded import Guarded, Program
from app.cli.kept import Kept

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
POLITE = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (print('asked', flush=True), sys.exit(3)));"
    "print('up', flush=True); time.sleep(60)"
)
PARENT = (
    "import os, subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    "print(child.pid, flush=True); {then}"
)


def guard(code: str, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli.guard", *options, "--", sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def close_stdin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def is_gone(pid: int, within_seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def test_the_end_of_stdin_stops_the_command_politely() -> None:
    with guard(POLITE) as process:
        assert line(process) == "up"
        close_stdin(process)
        assert line(process) == "asked"
        assert process.wait(5) == 3


def test_a_command_that_does_not_listen_is_killed_after_the_grace() -> None:
    with guard(STUBBORN, "--grace=0.2") as process:
        assert line(process) == "up"
        close_stdin(process)
        assert process.wait(5) == 128 + signal.SIGKILL


def test_the_delay_passes_only_when_the_holder_died() -> None:
    with guard(POLITE, "--delay=60") as process:
        assert line(process) == "up"
        assert process.stdin is not None
        process.stdin.write(".")
        process.stdin.flush()
        assert process.wait(5) == 3
    with guard(POLITE, "--delay=0.3") as process:
        assert line(process) == "up"
        began = time.monotonic()
        close_stdin(process)
        process.wait(5)
        assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize("then", ["os.kill(os.getpid(), 9)", "sys.exit()"])
def test_nothing_of_the_group_is_left_when_the_command_ends(then: str) -> None:
    """Also when it is killed and cannot take its children along."""
    with guard(PARENT.format(then=then)) as process:
        child = int(line(process))
        process.wait(5)
        assert is_gone(child)


def test_signals_of_the_terminal_reach_the_command_through_the_guard() -> None:
    with guard(POLITE) as process:
        assert line(process) == "up"
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 3


def guarded(code: str, lock: int, lines: list[str]) -> Guarded:
    program = Program("program", (sys.executable, "-c", code), dict(os.environ), grace_seconds=2)
    return Guarded(program, lock, lambda name, text: lines.append(f"{name}: {text}"))


def wait_for(lines: list[str], count: int) -> None:
    deadline = time.monotonic() + 10
    while len(lines) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(lines) >= count


def test_a_killed_guard_takes_its_command_along(lock: int) -> None:
    """The guard reported the process id, so the watcher can do what the guard no longer can."""
    lines: list[str] = []
    running = guarded("import os, time; print(os.getpid(), flush=True); time.sleep(60)", lock, lines)
    wait_for(lines, 1)
    running.kill()
    running.wait()
    assert is_gone(int(lines[0].removeprefix("program: ")))


def test_output_is_passed_on_line_by_line_whatever_its_bytes(lock: int) -> None:
    lines: list[str] = []
    code = "import sys; sys.stdout.buffer.write(b'one\\n\\xff\\n'); sys.stderr.write('three')"
    assert guarded(code, lock, lines).wait() == 0
    wait_for(lines, 3)
    assert sorted(lines) == ["program: one", "program: three", "program: \ufffd"]


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[int]:
    with (tmp_path / "lock").open("w") as file:
        yield file.fileno()


def test_a_folder_that_is_named_as_a_package_of_ours_is_not_taken_for_it(
    lock: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`lectern up` is called where the user's own code lies."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    assert guarded("", lock, []).wait() == 0


def kept(code: str, lock: int, lines: list[str], most: int = 99) -> Kept:
    program = Program("program", (sys.executable, "-c", code), dict(os.environ), grace_seconds=2)
    return Kept(program, lock, lambda name, text: lines.append(f"{name}: {text}"), lambda failures, _: failures >= most)


def test_a_program_that_dies_is_started_again_after_a_pause(lock: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.kept.FIRST_PAUSE_SECONDS", 0.01)
    lines: list[str] = []
    keeping = kept("import sys; sys.exit(7)", lock, lines)
    wait_for(lines, 2)
    keeping.stop()
    keeping.join()
    assert set(lines) == {"lectern: program ended with status 7 and is started again in 0 s"}


def test_a_program_that_cannot_start_is_given_up(lock: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.kept.FIRST_PAUSE_SECONDS", 0.01)
    lines: list[str] = []
    kept("import sys; sys.exit(7)", lock, lines, most=3).join()
    assert len(lines) == 2


def test_a_stopped_program_is_not_started_again(lock: int) -> None:
    lines: list[str] = []
    keeping = kept(POLITE, lock, lines)
    wait_for(lines, 1)
    keeping.stop()
    keeping.join()
    wait_for(lines, 2)
    assert lines == ["program: up", "program: asked"]

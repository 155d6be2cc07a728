"""A container engine for the tests: the one that answers here, else one of their own, which root can start.

An engine of their own keeps everything in a temporary folder and is gone afterwards, with its network. Without a
registry to pull from, ``bases`` makes the images that ours are built on.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 60.0
PULL_SECONDS = 300.0
BRIDGE = "docker0"
DATA_BYTES = 9 * 2**30
MEMORY_WANTED_BYTES = 15 * 2**30
"""All images and volumes together take 6 GB; what is trained and served in them wants the rest."""


class NoEngine(Exception):
    """There is none, and none can be started; says what is missing."""


@dataclass(frozen=True)
class Engine:
    """A running engine: how its client and compose are called, and whether images can be pulled."""

    docker: str
    compose: tuple[str, ...]
    environment: Mapping[str, str]
    own: bool

    def run(self, *words: str, timeout_seconds: float = PULL_SECONDS) -> str:
        """Run ``docker`` with ``words`` and return what it printed."""
        return self._output((self.docker, *words), timeout_seconds)

    def composed(self, *words: str, timeout_seconds: float = PULL_SECONDS, **variables: str) -> str:
        """Run compose with ``words`` and more environment variables; return what it printed."""
        return self._output((*self.compose, *words), timeout_seconds, variables)

    def can_pull(self, image: str) -> bool:
        """Return whether ``image`` is here now, pulled if need be."""
        try:
            self.run("image", "inspect", image)
        except AssertionError:
            try:
                self.run("pull", "--quiet", image)
            except AssertionError:
                return False
        return True

    def _output(
        self, command: tuple[str, ...], timeout_seconds: float, variables: Mapping[str, str] | None = None
    ) -> str:
        ended = subprocess.run(
            command,
            env={**self.environment, **(variables or {})},
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout


@contextmanager
def engine(images: tuple[str, ...]) -> Generator[Engine]:
    """Yield an engine that has or can pull ``images``, else an empty one of our own.

    Raises:
        NoEngine: there is none.
    """
    found = _answering(dict(os.environ), own=False)
    if found and all(found.can_pull(image) for image in images):
        yield found
        return
    if os.geteuid() != 0:
        message = "needs root: no container engine that can pull images answers, and only root can start one"
        raise NoEngine(message)
    if not shutil.which("dockerd"):
        message = "no container engine answers and dockerd is not installed"
        raise NoEngine(message)
    with tempfile.TemporaryDirectory(prefix="lectern-engine-") as folder, _daemon(Path(folder)) as started:
        yield started


@contextmanager
def _daemon(folder: Path) -> Generator[Engine]:
    """Run an engine in ``folder``; nothing is left of it afterwards, and nothing runs when the tests are killed."""
    log, address = folder / "log", f"unix://{folder}/docker.sock"
    options = {"data-root": folder / "data", "exec-root": folder / "exec", "pidfile": folder / "pid", "host": address}
    command = _in_memory(folder / "data", ["dockerd", *(f"--{name}={value}" for name, value in options.items())])
    guard = [sys.executable, "-m", "app.cli.guard", f"--grace={STOP_SECONDS}", "--"]
    with (
        _network_restored(),
        log.open("wb") as output,
        subprocess.Popen([*guard, *command], stdin=subprocess.PIPE, stdout=output, stderr=output) as process,
    ):
        try:
            yield _started(process, {**os.environ, "DOCKER_HOST": address}, log)
        finally:
            process.terminate()
            process.wait(STOP_SECONDS * 2)


def _started(process: subprocess.Popen[bytes], environment: dict[str, str], log: Path) -> Engine:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if found := _answering(environment, own=True):
            return found
        time.sleep(0.2)
    reason = log.read_text(errors="replace").strip().splitlines()[-1:]
    message = f"needs root with the rights to start a container engine: {' '.join(reason)}"
    raise NoEngine(message)


def _answering(environment: dict[str, str], *, own: bool) -> Engine | None:
    """Return the engine that answers, if there is a client here that can build and compose with it."""
    environment = {**environment, "DOCKER_BUILDKIT": "1"}
    for folder in os.get_exec_path():
        docker = shutil.which("docker", path=folder)
        if docker and _works((docker, "info"), environment) and _builds(docker, environment):
            for compose in (("docker-compose",), (docker, "compose")):
                if _works((*compose, "version"), environment):
                    return Engine(docker, compose, environment, own)
    return None


def _builds(docker: str, environment: dict[str, str]) -> bool:
    """Return whether this client builds: some come without the part that does."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
        return _works((docker, "build", "--quiet", "--no-cache", folder), environment)


def _works(command: tuple[str, ...], environment: dict[str, str]) -> bool:
    try:
        return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _in_memory(data: Path, command: list[str]) -> list[str]:
    """Return ``command`` with ``data`` in memory, for as long as it runs, where there is plenty of it.

    Images are some 100,000 files: to delete them from a disk can take longer than all the tests.
    """
    data.mkdir()
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text().splitlines() if meminfo.exists() else []
    available = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    if available < MEMORY_WANTED_BYTES or not shutil.which("unshare"):
        return command
    mount = f"mount -t tmpfs -o size={DATA_BYTES} tmpfs {data} && exec {shlex.join(command)}"
    return ["unshare", "--mount", "sh", "-c", mount]


@contextmanager
def _network_restored() -> Generator[None]:
    """Put back what an engine changes of the network and leaves so: the rules of the firewall, and its bridge."""
    bridged, before = Path("/sys/class/net", BRIDGE).exists(), _bytes(["iptables-save"])
    try:
        yield
    finally:
        if not bridged:
            _bytes(["ip", "link", "delete", BRIDGE])
            _bytes(["iptables-restore"], before)


def _bytes(command: list[str], stdin: bytes = b"") -> bytes:
    return subprocess.run(command, input=stdin, capture_output=True, check=False).stdout

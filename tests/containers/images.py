"""The images of docker-compose.yml: those of others pulled or stood in for, ours built.

Without a registry, the images that ours rest on are made of Debian's packages, and pip's packages are fetched
here, with this machine's configuration, and handed to the build: the Dockerfiles know nothing of either.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from containers.engine import Engine, NoEngine

ROOT = Path(__file__).resolve().parents[2]
PYTHON, REDIS, PROMETHEUS = "python:3.11-slim", "redis:7-alpine", "prom/prometheus:v2.53.4"
BASES = (PYTHON, REDIS, PROMETHEUS)
TORCHSCRIPT = "gateway-torchscript"
SUITE = "bookworm"
"""The Debian whose Python is the one of ``PYTHON``."""

UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists")
"""What the image that is stood in for does not hold either."""

BUILD_SECONDS = 1200.0
PIP_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "TORCH_INDEX_URL")


@dataclass(frozen=True)
class Image:
    """A built image: its name with tag, its size, and how long building took."""

    name: str
    size_bytes: int
    seconds: float


def build(engine: Engine, tag: str, arguments: Mapping[str, str]) -> dict[str, Image]:
    """Build ours and return them by name."""
    files = {"gateway": "gateway", TORCHSCRIPT: "gateway", "worker": "worker"}
    return {
        name: _build(
            engine,
            f"lectern-{name}:{tag}",
            arguments,
            file=f"docker/{file}.Dockerfile",
            target=name if file == "gateway" else None,
        )
        for name, file in files.items()
    }


@contextmanager
def bases(engine: Engine, folder: Path) -> Generator[dict[str, str]]:
    """See that ``BASES`` are there; yield the build arguments with which ours find their packages."""
    if not engine.own:
        yield {name: os.environ[name] for name in PIP_VARIABLES if name in os.environ}
        return
    python = _debian(engine, folder)
    _stand_in(engine, REDIS, "redis")
    _stand_in(engine, PROMETHEUS, "prometheus")
    wheels = folder / "wheels"
    _download(python, wheels)
    shutil.rmtree(folder / SUITE)
    with _served(wheels) as url:
        yield {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": url}


def _build(engine: Engine, name: str, arguments: Mapping[str, str], *, file: str, target: str | None = None) -> Image:
    words = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
    words += ["--target", target] if target else []
    began = time.monotonic()
    engine.run(
        *("build", "--quiet", "--network", "host", "--file", str(ROOT / file), "--tag", name, *words, str(ROOT)),
        timeout_seconds=BUILD_SECONDS,
    )
    size = int(engine.run("image", "inspect", "--format", "{{.Size}}", name))
    return Image(name, size, time.monotonic() - began)


def _stand_in(engine: Engine, name: str, target: str) -> None:
    _build(engine, name, {}, file="tests/containers/stand-ins.Dockerfile", target=target)


def _debian(engine: Engine, folder: Path) -> Path:
    """Make the image ``PYTHON`` and return its Python, which runs here as well."""
    if not shutil.which("debootstrap"):
        message = "no registry answers and debootstrap, which makes images without one, is not installed"
        raise NoEngine(message)
    root = folder / SUITE
    _run("debootstrap", "--variant=minbase", "--include=python3,python3-venv", SUITE, str(root))
    for name in UNUSED:
        shutil.rmtree(root / name, ignore_errors=True)
    archive = folder / "debian.tar"
    _run("tar", "--directory", str(root), "--create", "--file", str(archive), ".")
    engine.run("import", str(archive), PYTHON)
    archive.unlink()
    return root / "usr/bin/python3"


def _download(python: Path, wheels: Path) -> None:
    """Fetch what the images install, as the image's own Python wants it."""
    build_system = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    pins = _run(sys.executable, "docker/pins.py", "train").split()
    pip = (sys.executable, "-m", "pip", "--python", str(python))
    _run(*pip, "download", "--quiet", "--dest", str(wheels), *pins, *build_system)


@contextmanager
def _served(folder: Path) -> Generator[str]:
    """Serve ``folder`` to builds on this machine's own network; yield its URL."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base's
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def _run(*command: str) -> str:
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}"
    return ended.stdout

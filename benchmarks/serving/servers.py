"""What is measured: a server, how it is started on its core, and the forms in which it is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import orjson

from app.cli import embedded_redis
from app.cli.address import free_address
from benchmarks.serving.forms import BarePng, Constant, Form, OipBinary, OipJson
from benchmarks.serving.model import NAME, BenchModel, publish
from benchmarks.serving.processes import Tree, await_ready, started

HOST = "127.0.0.1"
INFER = f"/v2/models/{NAME}/infer"
CLASSIFY = f"/v1/models/{NAME}/classify"
LECTERN = (sys.executable, "-P", "-m", "app.cli.main")
CONSTANT = (sys.executable, "-P", str(Path(__file__).parent / "programs" / "constant.py"))


@dataclass(frozen=True)
class Site:
    """Where the servers of one run find what they need."""

    folder: Path
    model: BenchModel
    core: int
    """On which the servers run."""

    cache: Path
    """Where what is downloaded stays for the next run."""

    @cached_property
    def graph(self) -> Path:
        """The graph as a file."""
        path = self.folder / "bench.onnx"
        path.write_bytes(self.model.graph)
        return path

    def log(self, name: str) -> Path:
        """Return where a server writes."""
        return self.folder / f"{name}.log"


@dataclass(frozen=True)
class Running:
    """A server that is ready."""

    port: int
    tree: Tree
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Server(ABC):
    """Something that can be started and asked in one or more forms."""

    name: ClassVar[str]
    title: ClassVar[str]
    peer: ClassVar[bool] = False

    @abstractmethod
    def version(self) -> str:
        """Return what it is, with versions and what was set."""

    @abstractmethod
    def command(self, site: Site, port: int) -> Sequence[str]:
        """Return what starts it."""

    @abstractmethod
    def forms(self, model: BenchModel, headers: Mapping[str, str]) -> Mapping[str, Form]:
        """Return by name how it is asked."""

    def environment(self, site: Site) -> Mapping[str, str]:  # noqa: ARG002 - most need none
        """Return variables that it reads."""
        return {}

    ready_path: ClassVar[str] = "/"

    @contextmanager
    def run(self, site: Site) -> Generator[Running]:
        """Run it on its core.

        Raises:
            NotStarted: it does not get ready; says why.
        """
        port = free_address(HOST, 0).port
        log = site.log(self.name)
        with started(self.command(site, port), site.core, log, self.environment(site)) as process:
            await_ready(process, f"http://{HOST}:{port}{self.ready_path}", log)
            yield Running(port, Tree(process.pid))


class BareUvicorn(Server):
    """uvicorn with a constant: what the transport alone takes."""

    name = "uvicorn"
    title = "uvicorn alone"

    def version(self) -> str:
        """Return what it does."""
        return "uvloop and httptools as in Lectern; reads the JSON request to its end, answers a constant"

    def command(self, site: Site, port: int) -> Sequence[str]:  # noqa: ARG002 - it serves no model
        """Return what starts it."""
        return (*CONSTANT, str(port))

    def forms(self, model: BenchModel, headers: Mapping[str, str]) -> Mapping[str, Form]:
        """Return the request that Lectern gets, too."""
        return {"constant": Constant(model, INFER, headers)}


class Lectern(Server):
    """The gateway as a user starts it, beside a Redis that predictions do not ask."""

    name = "lectern"
    title = "Lectern"
    ready_path = "/livez"
    options: ClassVar[Sequence[str]] = ()

    def version(self) -> str:
        """Return what is switched on."""
        key = "API keys" if _knows("keys", "create") else "no API keys yet"
        return f"`lectern gateway{''.join(f' {word}' for word in self.options)}` with its defaults; {key}"

    def command(self, site: Site, port: int) -> Sequence[str]:  # noqa: ARG002 - the environment says where the model is
        """Return what starts it."""
        return (*LECTERN, "gateway", "--port", str(port), *self.options)

    def environment(self, site: Site) -> Mapping[str, str]:
        """Return where store and Redis are."""
        return {"LECTERN_STORE_URL": (site.folder / "store").as_uri(), "LECTERN_REDIS_URL": _redis_url(site)}

    def forms(self, model: BenchModel, headers: Mapping[str, str]) -> Mapping[str, Form]:
        """Return tensors as JSON and as bytes, and a picture."""
        return {
            "JSON": OipJson(model, INFER, headers),
            "binary": OipBinary(model, INFER, headers),
            "PNG": BarePng(model, CLASSIFY, headers),
        }

    @contextmanager
    def run(self, site: Site) -> Generator[Running]:
        """Run it with the model published and, where there are keys, with one."""
        headers = _key(self.environment(site))
        with super().run(site) as running:
            yield Running(running.port, running.tree, headers)


class TwoProcesses(Lectern):
    """The same on two processes, where the command knows that."""

    name = "lectern-2"
    title = "Lectern, 2 processes"
    options = ("--processes", "2")

    def forms(self, model: BenchModel, headers: Mapping[str, str]) -> Mapping[str, Form]:
        """Return tensors as JSON."""
        return {"JSON": OipJson(model, INFER, headers)}

    def known(self) -> bool:
        """Return whether this Lectern can do it."""
        return "--processes" in _help("gateway")


@contextmanager
def backing(site: Site, core: int) -> Generator[None]:
    """Publish the model, and run the Redis that the gateway wants beside it, on ``core``."""
    publish(site.model, (site.folder / "store").as_uri())
    program = embedded_redis.program(site.folder, _redis_socket(site))
    with started(program.command, core, site.log("redis"), program.environment):
        yield


def _redis_socket(site: Site) -> Path:
    return site.folder / embedded_redis.SOCKET


def _redis_url(site: Site) -> str:
    return embedded_redis.redis_url(_redis_socket(site))


def _key(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return the header with a new key; nothing where there are no keys yet."""
    if not _knows("keys", "create"):
        return {}
    command = [*LECTERN, "keys", "create", "bench", "--scope", "predict", "--json"]
    made = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return {"Authorization": f"Bearer {orjson.loads(made.stdout)['key']}"}


def _knows(*words: str) -> bool:
    return subprocess.run([*LECTERN, *words, "--help"], capture_output=True, check=False).returncode == 0


def _help(*words: str) -> str:
    wide = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run([*LECTERN, *words, "--help"], env=wide, capture_output=True, text=True, check=False).stdout

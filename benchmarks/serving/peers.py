"""Other servers, each in an environment of its own, and each with the one model through ONNX Runtime on one thread.

Each is set up as its documentation says for a model of one's own, and where a setting costs throughput and nobody
needs it here (request logs), it is off. What is set stands in ``version``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import orjson

from app.cli.address import free_address
from benchmarks.serving.forms import Form, Inputs, OipJson
from benchmarks.serving.model import NAME, BenchModel
from benchmarks.serving.servers import HOST, INFER, Server, Site

PROGRAMS = Path(__file__).parent / "programs"
RUNTIME = "onnxruntime==1.32.0"
INSTALL_SECONDS = 900


class NotInstalled(Exception):
    """A peer cannot be installed; says why."""


class Peer(Server):
    """A server that is installed for the comparison."""

    peer = True
    package: ClassVar[str]
    settings: ClassVar[str]

    def version(self) -> str:
        """Return the package and what is set."""
        return f"{self.package}; {self.settings}"

    def binary(self, site: Site, name: str) -> str:
        """Return a program of the peer's environment."""
        return str(site.cache / self.name / "bin" / name)

    def install(self, site: Site) -> None:
        """Make the peer's environment unless it is there.

        Raises:
            NotInstalled: its package is not to be had here.
        """
        folder = site.cache / self.name
        mark = folder / "installed"
        wanted = f"{self.package} {RUNTIME}"
        if mark.exists() and mark.read_text() == wanted:
            return
        print(f"installing {wanted}", flush=True)
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        quiet = ("--quiet", "--disable-pip-version-check")
        _run([self.binary(site, "python"), "-m", "pip", "install", *quiet, self.package, RUNTIME])
        mark.write_text(wanted)


class MlServer(Peer):
    """MLServer: a custom runtime behind the same protocol as Lectern's."""

    name = "mlserver"
    title = "MLServer"
    package = "mlserver==1.7.1"
    settings = (
        "custom runtime, `parallel_workers` 0 (all in one process, as there is one core), `debug` off, "
        "no adaptive batching (its default)"
    )
    ready_path = f"/v2/models/{NAME}/ready"

    def command(self, site: Site, port: int) -> Sequence[str]:
        """Return what starts it, after its settings are written."""
        folder = site.folder / self.name
        folder.mkdir(exist_ok=True)
        others = [free_address(HOST, 0).port for _ in range(2)]
        server = {"host": HOST, "http_port": port, "grpc_port": others[0], "metrics_port": others[1]}
        (folder / "settings.json").write_bytes(orjson.dumps(server | {"debug": False, "parallel_workers": 0}))
        model = {"name": NAME, "implementation": "peer_mlserver.OnnxModel"}
        parameters = {"uri": str(site.graph), "version": "1"}
        (folder / "model-settings.json").write_bytes(orjson.dumps(model | {"parameters": parameters}))
        return (self.binary(site, "mlserver"), "start", str(folder))

    def environment(self, site: Site) -> Mapping[str, str]:  # noqa: ARG002 - as the base has it
        """Return where it finds the custom runtime."""
        return {"PYTHONPATH": str(PROGRAMS)}

    def forms(self, model: BenchModel, headers: Mapping[str, str]) -> Mapping[str, Form]:
        """Return tensors as JSON."""
        return {"JSON": OipJson(model, INFER, headers)}


class LitServe(Peer):
    """LitServe: an API with its four verbs."""

    name = "litserve"
    title = "LitServe"
    package = "litserve==0.2.19"
    settings = "one API server, one worker, `max_batch_size` 1 (its default: no batching)"
    ready_path = "/health"

    def command(self, site: Site, port: int) -> Sequence[str]:
        """Return what starts it."""
        return (self.binary(site, "python"), str(PROGRAMS / "peer_litserve.py"), str(site.graph), str(port))

    def forms(self, model: BenchModel, headers: Mapping[str, str]) -> Mapping[str, Form]:
        """Return nested values."""
        return {"JSON": Inputs(model, "/predict", headers)}


class BentoMl(Peer):
    """BentoML: a service with one API."""

    name = "bentoml"
    title = "BentoML"
    package = "bentoml==1.4.39"
    settings = "one worker, access log off, API not `batchable` (its default: no batching)"
    ready_path = "/readyz"

    def command(self, site: Site, port: int) -> Sequence[str]:
        """Return what starts it."""
        where = ("--working-dir", str(PROGRAMS), "--host", HOST, "--port", str(port))
        return (self.binary(site, "bentoml"), "serve", "peer_bentoml:Classifier", *where)

    def environment(self, site: Site) -> Mapping[str, str]:
        """Return where it finds the graph and keeps what it keeps."""
        home = str(site.folder / "bentoml-home")
        return {"BENCH_GRAPH": str(site.graph), "BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True"}

    def forms(self, model: BenchModel, headers: Mapping[str, str]) -> Mapping[str, Form]:
        """Return nested values."""
        return {"JSON": Inputs(model, "/predict", headers)}


PEERS: tuple[type[Peer], ...] = (MlServer, LitServe, BentoMl)


def _run(command: Sequence[str]) -> None:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        message = f"not installed within {INSTALL_SECONDS} s"
        raise NotInstalled(message) from error
    if ended.returncode:
        lines = [line for line in ended.stderr.strip().splitlines() if line.startswith("ERROR")]
        raise NotInstalled((lines or ["no reason was given"])[-1][:200])

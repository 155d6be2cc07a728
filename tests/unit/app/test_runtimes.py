"""Versions of another format over HTTP: what their runtime cannot do is a clear problem, and ONNX goes on answering."""

from __future__ import annotations

import asyncio
import hashlib
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import httpx
import numpy as np
import pytest

from app.dependencies import Services
from app.serving.runtimes.runtime import Runtime
from app.serving.runtimes.torchscript import TorchScriptRuntime
from models.contract.manifest import Part, Probe
from unit.app.publishing import SIGNATURE, Publisher
from unit.app.test_torchscript import FAKE, HIDING_TORCH

CLASSIFY = {"inputs": [[[0, 1], [2, 3]]]}
INFER = {"inputs": [{"name": "images", "shape": [1, 2, 2], "datatype": "FP32", "data": [0, 1, 2, 3]}]}

Publish = Callable[[bytes], str]


@pytest.fixture
def publish(publisher: Publisher) -> Publish:
    """Publish a TorchScript version that does what its bytes say, beside the ONNX model ``tiny``."""
    manifest = publisher.publish()

    def published(behaviour: bytes, format_: str = "torchscript") -> str:
        model = f"{format_}-{behaviour.decode() or 'plain'}"
        probe = io.BytesIO()
        np.savez(probe)
        paths = {name: publisher.versions.part_path(model, 1, name) for name in ("classifier.pt", "probe.npz")}
        for path, data in zip(paths.values(), (behaviour, probe.getvalue()), strict=True):
            publisher.store.put(path, data)
        part = Part(
            path=paths["classifier.pt"],
            format=format_,
            sha256=hashlib.sha256(behaviour).hexdigest(),
            payload_bytes=len(behaviour),
            signature=SIGNATURE,
        )
        known = Probe(path=paths["probe.npz"], sha256=hashlib.sha256(probe.getvalue()).hexdigest())
        changes = {"model": model, "job": model, "parts": {"classifier": part}, "probe": known}
        publisher.versions.publish(manifest.model_copy(update=changes))
        return model

    return published


def use(services: Services, limit_seconds: float, *command: str) -> TorchScriptRuntime:
    """Let the gateway run TorchScript in another program."""
    runtime = TorchScriptRuntime(limit_seconds, (sys.executable, *command))
    cast("dict[str, Runtime]", services.runtimes)["torchscript"] = runtime
    return runtime


async def test_missing_torch_is_a_problem_of_that_version_alone(
    services: Services, client: httpx.AsyncClient, publish: Publish, tmp_path: Path
) -> None:
    use(services, 20, "-P", "-c", HIDING_TORCH, str(tmp_path / "starts"))
    model = publish(b"")
    refused = await client.post(f"/v1/models/{model}/classify", json=CLASSIFY)
    assert (refused.status_code, refused.json()["code"]) == (503, "runtime_unavailable")
    assert "Install torch" in refused.json()["detail"]
    assert refused.headers["retry-after"]
    tensors = await client.post(f"/v2/models/{model}/infer", json=INFER)
    assert (tensors.status_code, list(tensors.json())) == (503, ["error"])
    assert (await client.get(f"/v2/models/{model}/ready")).status_code == 503
    assert (await client.get(f"/v1/models/{model}/versions/1")).status_code == 200
    assert (await client.post("/v1/models/tiny/classify", json=CLASSIFY)).status_code == 200
    assert (await client.get("/readyz")).status_code == 200


async def test_format_that_nobody_knows_is_a_problem(client: httpx.AsyncClient, publish: Publish) -> None:
    """Of a newer Lectern, say."""
    model = cast("Callable[..., str]", publish)(b"", "pickle")
    refused = await client.post(f"/v1/models/{model}/classify", json=CLASSIFY)
    assert (refused.status_code, refused.json()["code"]) == (503, "runtime_unavailable")
    assert "'pickle'" in refused.json()["detail"]


async def test_platform_says_what_runs_a_version(
    services: Services, client: httpx.AsyncClient, publish: Publish, tmp_path: Path
) -> None:
    use(services, 20, str(FAKE), str(tmp_path / "starts"))
    model = publish(b"twice")
    assert (await client.get(f"/v2/models/{model}")).json()["platform"] == "pytorch_torchscript"
    assert (await client.get("/v2/models/tiny")).json()["platform"] == "onnxruntime_onnx"
    answer = await client.post(f"/v2/models/{model}/infer", json=INFER)
    assert [output["name"] for output in answer.json()["outputs"]] == ["logits", "probabilities"]
    assert answer.json()["outputs"][0]["data"] == [0, 1, 2, 3]


async def test_child_that_dies_under_a_request_is_a_problem_and_counted(
    services: Services, client: httpx.AsyncClient, publish: Publish, tmp_path: Path
) -> None:
    use(services, 20, str(FAKE), str(tmp_path / "starts"))
    deadly, sound = publish(b"crash"), publish(b"twice")
    refused = await client.post(f"/v1/models/{deadly}/classify", json=CLASSIFY)
    assert (refused.status_code, refused.json()["code"]) == (503, "runtime_unavailable")
    assert "SIGKILL" in refused.json()["detail"]
    assert (await client.post(f"/v2/models/{sound}/infer", json=INFER)).status_code == 200
    metrics = (await client.get("/metrics")).text
    labels = f'model="{deadly}",outcome="runtime_unavailable",project="default",verb="classify",version="1"'
    assert f"lectern_prediction_seconds_count{{{labels}}} 1.0" in metrics


async def test_endless_run_ends_as_504_and_holds_up_nothing_else(
    services: Services, client: httpx.AsyncClient, publish: Publish, tmp_path: Path
) -> None:
    """More of them than there are threads to compute: ONNX, and what needs no model, are answered meanwhile."""
    use(services, 1.5, str(FAKE), str(tmp_path / "starts"))
    model = publish(b"hang")
    await client.get(f"/v2/models/{model}/ready")
    started = time.monotonic()
    endless = [
        asyncio.create_task(client.post(f"/v1/models/{model}/classify", json=CLASSIFY))
        for _ in range(services.settings.threads() + 2)
    ]
    await asyncio.sleep(0.2)
    assert (await client.post("/v1/models/tiny/classify", json=CLASSIFY)).status_code == 200
    assert (await client.get("/livez")).status_code == 200
    assert time.monotonic() - started < 1.4
    found = {(answer.status_code, answer.json()["code"]) for answer in await asyncio.gather(*endless)}
    assert (504, "deadline_exceeded") in found
    assert found <= {(504, "deadline_exceeded"), (503, "runtime_unavailable")}  # or waited too long for its turn


async def test_damaged_file_is_named_and_never_reaches_the_child(
    services: Services, client: httpx.AsyncClient, publish: Publish, tmp_path: Path
) -> None:
    runtime = use(services, 20, str(FAKE), str(tmp_path / "starts"))
    model = publish(b"twice")
    path = services.versions.manifest(model, 1).parts["classifier"].path
    for damage in (b"twicf", b"twi", b""):
        services.store.put(path, damage)
        refused = await client.post(f"/v1/models/{model}/classify", json=CLASSIFY)
        assert (refused.status_code, refused.json()["code"]) == (503, "model_damaged")
        assert "'classifier'" in refused.json()["detail"]
    services.store.delete(path)
    refused = await client.post(f"/v1/models/{model}/classify", json=CLASSIFY)
    assert "classifier.pt is missing" in refused.json()["detail"]
    assert runtime.pid is None
    services.store.put(path, b"twice")
    assert (await client.post(f"/v2/models/{model}/infer", json=INFER)).status_code == 200


async def test_archive_that_is_none_is_damaged(
    services: Services, client: httpx.AsyncClient, publish: Publish, tmp_path: Path
) -> None:
    """Its bytes are those published, and the runtime cannot read them."""
    use(services, 20, str(FAKE), str(tmp_path / "starts"))
    refused = await client.post(f"/v1/models/{publish(b'broken')}/classify", json=CLASSIFY)
    assert refused.json()["code"] == "model_damaged"
    assert "'classifier' cannot be read; torch says: no archive" in refused.json()["detail"]


@pytest.mark.parametrize("overrides", [{"loaded_models_limit": 1}])
async def test_version_that_is_dropped_leaves_the_child_as_well(
    services: Services, client: httpx.AsyncClient, publish: Publish, tmp_path: Path
) -> None:
    runtime = use(services, 20, str(FAKE), str(tmp_path / "starts"))
    model = publish(b"twice")
    for _ in range(3):
        assert (await client.post(f"/v2/models/{model}/infer", json=INFER)).status_code == 200
    child = runtime._child
    assert child
    assert len(child.loaded) == 1
    assert (await client.post("/v1/models/tiny/classify", json=CLASSIFY)).status_code == 200
    deadline = time.monotonic() + 10
    while child.loaded:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert (await client.post(f"/v2/models/{model}/infer", json=INFER)).status_code == 200
    assert runtime._child is child

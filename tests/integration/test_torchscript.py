"""TorchScript through the real stack: trained, exported, served from the child, equal to ONNX and to torch."""

from __future__ import annotations

import hashlib
import io
import os
import re
import signal
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
import numpy as np
import pytest
import torch

from app.client import ClientError, Job
from integration.test_up import processes_of
from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.contract.jobs import JobState
from waiting import wait_for
from workers.training import prepare

if TYPE_CHECKING:
    from integration.conftest import StackClient

CATALOG = Catalog(("models",))
FAMILIES = [
    name
    for name in CATALOG.names()
    if "images" in CATALOG.spec(name).dataset_kinds
    and "logits" in [output.name for output in next(iter(CATALOG.spec(name).parts.values())).outputs]
]
FORMATS: dict[str, list[str]] = {
    "onnx": ["onnx"],
    "torchscript": ["torchscript"],
    "both": ["torchscript", "onnx"],
}
INPUTS = 100
LARGEST_DIFFERENCE = 1e-4


@pytest.fixture(scope="module")
def trained(stack: StackClient) -> Callable[[str], str]:
    """Train a family on digits three times with one seed: for ONNX, for TorchScript, for both; once per family."""
    done: set[str] = set()

    def train(family: str) -> str:
        if family not in done:
            jobs = [submit(stack, family, model_of(family, name), formats) for name, formats in FORMATS.items()]
            for job in jobs:
                assert wait_for(stack, job.id).state is JobState.SUCCEEDED, stack.logs(job.id)
            done.add(family)
        return family

    return train


@pytest.fixture
def family(trained: Callable[[str], str]) -> str:
    """One trained family, where any does."""
    return trained(FAMILIES[-1])


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES[:-1]] + FAMILIES[-1:])
def every_family(request: pytest.FixtureRequest, trained: Callable[[str], str]) -> str:
    """Each family that learns from images, trained."""
    return trained(request.param)


@pytest.fixture
def http(stack: StackClient) -> Iterator[httpx.Client]:
    """The stack, for what the client has no method for."""
    with httpx.Client(base_url=stack.base_url, trust_env=False, timeout=60) as client:
        yield client


def model_of(family: str, name: str) -> str:
    return f"{family}-{name}"


def submit(stack: StackClient, family: str, model: str, formats: list[str]) -> Job:
    training = {"epochs": 1, "seed": 3}
    body = {"family": family, "dataset": "digits", "model": model, "training": training}
    return stack.submit({**body, "export": {"formats": formats}})


def images() -> np.ndarray:
    """Random images in the scale of the dataset."""
    return np.random.default_rng(5).uniform(0, 16, (INPUTS, 8, 8)).astype(np.float32)


def outputs(http: httpx.Client, model: str, values: np.ndarray) -> Mapping[str, np.ndarray]:
    """Return what the first part of a model makes of ``values``, by the Open Inference Protocol."""
    tensor = {"name": "images", "datatype": "FP32", "shape": list(values.shape), "data": values.reshape(-1).tolist()}
    answer = http.post(f"/v2/models/{model}/infer", json={"inputs": [tensor]})
    assert answer.status_code == 200, answer.text
    return {item["name"]: np.array(item["data"]).reshape(item["shape"]) for item in answer.json()["outputs"]}


def torch_outputs(stack: StackClient, family: str, values: np.ndarray) -> Mapping[str, np.ndarray]:
    """Return what torch itself makes of ``values``: the trained module, from the last checkpoint of its job."""
    card = stack.version(model_of(family, "torchscript"), 1).sent()
    store = ArtifactStore((stack.home / "store").as_uri())
    datasets = Datasets(store, CATALOG)
    record = datasets.record("digits")
    spec = CATALOG.spec(family)
    made = CATALOG.family(family)(spec.config.parse(card["config"]), record.meta)
    run = prepare(made, spec.training.parse(card["training"]), datasets.content(record).splits, torch.device("cpu"))
    folder = f"default/jobs/{card['job']}/checkpoints"
    (name,) = store.names(folder)
    run.learner.restore(torch.load(io.BytesIO(store.get(f"{folder}/{name}")))["learner"])
    part, export = next(iter(made.export(run.module).items()))
    assert part == next(iter(card["parts"]))
    module = (export.reference or export.module).eval()
    with torch.no_grad():
        found = module(torch.from_numpy(values))
    return {
        item.name: value.numpy()
        for item, value in zip(export.signature.outputs, found if isinstance(found, tuple) else (found,), strict=True)
    }


def processes(stack: StackClient, pattern: str) -> list[int]:
    """Return the processes of this stack whose command matches."""
    return [pid for pid, command in processes_of(stack.home).items() if re.search(pattern, command)]


def gateway_pid(stack: StackClient) -> int:
    return next(pid for pid in processes(stack, r"app.cli.main gateway") if pid not in processes(stack, "guard"))


def child_pids(stack: StackClient) -> list[int]:
    return processes(stack, r"torchscript_child")


def test_served_onnx_served_torchscript_and_torch_agree(
    stack: StackClient, http: httpx.Client, every_family: str
) -> None:
    """On the logits of 100 inputs, whichever format the version is served from."""
    values = images()
    wanted = torch_outputs(stack, every_family, values)["logits"]
    assert np.ptp(wanted, axis=0).min() > 100 * LARGEST_DIFFERENCE  # the inputs are far from alike
    found = {name: outputs(http, model_of(every_family, name), values)["logits"] for name in FORMATS}
    gaps = {name: float(np.abs(logits - wanted).max()) for name, logits in found.items()}
    gaps["onnx against torchscript"] = float(np.abs(found["onnx"] - found["torchscript"]).max())
    print(every_family, {name: f"{gap:.1e}" for name, gap in gaps.items()})  # noqa: T201 - the figure is the result
    assert max(gaps.values()) <= LARGEST_DIFFERENCE


def test_verb_answers_the_same_from_either_format(stack: StackClient, every_family: str) -> None:
    """What users read, labels and probabilities; the metrics of the card come from the served format as well."""
    request = {"inputs": images().tolist(), "top": 3}
    answers = [stack.predict(model_of(every_family, name), "classify", request)["predictions"] for name in FORMATS]
    for answer in answers[1:]:
        for one, other in zip(answers[0], answer, strict=True):
            assert one["label"] == other["label"]
            assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)
    metrics = [stack.version(model_of(every_family, name), 1).metrics["test"] for name in FORMATS]
    assert metrics[0] == pytest.approx(metrics[1], abs=5e-3)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc, which tells what a process has loaded")
def test_gateway_has_no_torch_and_one_child_that_has(stack: StackClient, http: httpx.Client, family: str) -> None:
    for name in FORMATS:
        outputs(http, model_of(family, name), images()[:1])
    (child,) = child_pids(stack)
    assert "libtorch" in Path(f"/proc/{child}/maps").read_text(encoding="utf-8")
    assert "torch" not in Path(f"/proc/{gateway_pid(stack)}/maps").read_text(encoding="utf-8")


def test_formats_stand_in_card_metadata_and_artifact(stack: StackClient, http: httpx.Client, every_family: str) -> None:
    model = model_of(every_family, "both")
    parts = stack.version(model, 1).sent()["parts"]
    assert {part["format"] for part in parts.values()} == {"torchscript"}
    assert {file["format"] for part in parts.values() for file in part["also"]} == {"onnx"}
    platforms = {name: http.get(f"/v2/models/{model_of(every_family, name)}").json()["platform"] for name in FORMATS}
    served = {"onnx": "onnxruntime_onnx", "torchscript": "pytorch_torchscript", "both": "pytorch_torchscript"}
    assert platforms == served
    digests: dict[str, str] = {}
    sent = http.get(f"/v1/models/{model}/versions/1/artifact").content
    with tarfile.open(fileobj=io.BytesIO(sent)) as archive:
        for name in archive.getnames():
            digests[name] = hashlib.sha256(cast("Any", archive.extractfile(name)).read()).hexdigest()
    for name, part in parts.items():
        assert digests[f"{name}.pt"] == part["sha256"]
        (also,) = part["also"]
        assert digests[f"{name}.onnx"] == also["sha256"]
        assert also["parity"].keys() == {output["name"] for output in part["signature"]["outputs"]}


def test_child_that_is_killed_costs_no_more_than_one_answer(
    stack: StackClient, http: httpx.Client, family: str
) -> None:
    """The system may still be taking it down when the next request comes; the one after finds a new one."""
    model, values = model_of(family, "torchscript"), images()[:3]
    before = outputs(http, model, values)["logits"]
    (old,) = child_pids(stack)
    os.kill(old, signal.SIGKILL)
    first = http.post(f"/v1/models/{model}/classify", json={"inputs": values.tolist()})
    assert first.status_code == 200 or first.json()["code"] == "runtime_unavailable"
    assert np.array_equal(outputs(http, model, values)["logits"], before)
    (new,) = child_pids(stack)
    assert new != old


def test_child_killed_under_load_answers_or_says_why(stack: StackClient, http: httpx.Client, family: str) -> None:
    """Each of many requests, while the child dies twice: the right numbers, or 503 with a sentence; never a 500."""
    model, values = model_of(family, "torchscript"), images()[:2]
    wanted = outputs(http, model, values)["logits"]
    tensor = {"name": "images", "datatype": "FP32", "shape": [2, 8, 8], "data": values.reshape(-1).tolist()}

    def ask(_: int) -> int:
        answer = http.post(f"/v2/models/{model}/infer", json={"inputs": [tensor]})
        if answer.status_code == 200:
            found = np.array(answer.json()["outputs"][0]["data"]).reshape(wanted.shape)
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)  # computed with those that waited, too
        else:
            assert (answer.status_code, list(answer.json())) == (503, ["error"])
            assert "The process that runs TorchScript" in answer.json()["error"]
        return answer.status_code

    with ThreadPoolExecutor(8) as threads:
        asked = threads.map(ask, range(400))
        for _ in range(2):
            time.sleep(0.2)
            for pid in child_pids(stack):
                os.kill(pid, signal.SIGKILL)
        statuses = list(asked)
    assert statuses.count(200) > 300
    assert ask(0) == 200


@pytest.mark.parametrize("damage", ["changed", "cut off", "missing"])
def test_damaged_part_is_named_and_not_loaded(stack: StackClient, http: httpx.Client, family: str, damage: str) -> None:
    """Its bytes never reach the child; the same version is served again once they are whole."""
    model = f"{family}-damaged-{damage[:3]}"
    job = submit(stack, family, model, ["torchscript"])
    assert wait_for(stack, job.id).state is JobState.SUCCEEDED
    parts = stack.version(model, 1).sent()["parts"]
    part, file = next(iter(parts)), stack.home / "store" / next(iter(parts.values()))["path"]
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(whole[: len(whole) // 2] if damage == "cut off" else whole[:-9] + b"X" + whole[-8:])
    with pytest.raises(ClientError) as refused:
        stack.predict(model, "classify", {"inputs": images()[:1].tolist()})
    assert (refused.value.status, refused.value.code) == (503, "model_damaged")
    assert f"'{part}'" in refused.value.detail or file.name in refused.value.detail
    assert http.get("/readyz").status_code == 200
    file.write_bytes(whole)
    assert stack.predict(model, "classify", {"inputs": images()[:1].tolist()})["version"] == 1


def test_deleted_version_takes_all_its_files_along(stack: StackClient, family: str) -> None:
    model = model_of(family, "both")
    job = submit(stack, family, model, ["onnx", "torchscript"])
    version = wait_for(stack, job.id).version
    assert version
    parts = stack.version(model, version).sent()["parts"]
    files = [stack.home / "store" / item["path"] for part in parts.values() for item in (part, *part["also"])]
    assert {file.suffix for file in files} == {".onnx", ".pt"}
    assert all(file.exists() for file in files)
    stack.delete_version(model, version)
    assert not any(file.exists() for file in files)

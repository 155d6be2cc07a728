"""What a job may ask of the worker's devices, and what it is told when there is no such thing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from models.contract.errors import ValidationFailed
from models.contract.training import GradientTraining, TrainingOptions
from workers.devices import device_of, make_repeatable


@pytest.fixture
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch see as many GPUs as the test says."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)


@pytest.mark.parametrize(
    ("gpus", "options", "rank", "device"),
    [
        (0, {}, 0, "cpu"),
        (0, {"devices": 2}, 1, "cpu"),
        (0, {"device": "cpu", "precision": "bf16-mixed"}, 0, "cpu"),
        (1, {}, 0, "cuda"),
        (1, {"device": "cpu", "devices": 3}, 2, "cpu"),
        (2, {"devices": 2}, 1, "cuda:1"),
        (1, {"precision": "16-mixed", "compile": True}, 0, "cuda"),
    ],
    indirect=["gpus"],
)
@pytest.mark.usefixtures("gpus")
def test_each_process_gets_its_device(options: dict[str, object], rank: int, device: str) -> None:
    assert device_of(GradientTraining.parse(options), rank) == torch.device(device)


@pytest.fixture
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what a test makes torch do."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    torch.use_deterministic_algorithms(mode=False)
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize(("device", "asked"), [("cuda:1", True), ("cpu", False)])
def test_a_gpu_is_asked_for_the_same_sums_each_time(device: str, asked: bool) -> None:  # noqa: FBT001 - a parameter
    make_repeatable(torch.device(device))
    assert torch.are_deterministic_algorithms_enabled() == asked
    assert torch.is_deterministic_algorithms_warn_only_enabled() == asked, "what has no such kernel is still computed"
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == asked


@pytest.mark.parametrize(
    ("gpus", "options", "pointer", "remedy"),
    [
        (0, {"device": "cuda"}, "/training/device", "use 'auto' or 'cpu'"),
        (1, {"device": "cuda", "devices": 2}, "/training/devices", "sees 1 GPU; use at most 1, or the device 'cpu'"),
        (2, {"devices": 3}, "/training/devices", "sees 2 GPUs; use at most 2"),
        (0, {"precision": "16-mixed"}, "/training/precision", "use 'bf16-mixed' or '32'"),
        (1, {"device": "cpu", "precision": "16-mixed"}, "/training/precision", "use 'bf16-mixed' or '32'"),
        (0, {"compile": True}, "/training/compile", "leave it out on the CPU"),
    ],
    indirect=["gpus"],
)
@pytest.mark.usefixtures("gpus")
def test_what_is_not_there_is_named_with_a_remedy(options: dict[str, object], pointer: str, remedy: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        device_of(GradientTraining.parse(options))
    assert refused.value.errors[0].pointer == pointer
    assert remedy in refused.value.detail


def test_a_family_with_a_learner_of_its_own_takes_one_device() -> None:
    with pytest.raises(ValidationFailed) as refused:
        TrainingOptions.parse({"devices": 2}, "/training")
    assert refused.value.errors[0].pointer == "/training/devices"
    assert GradientTraining(devices=4, batch_size=8).plan(100).steps_per_epoch == 4


def test_a_plain_job_does_not_load_what_several_devices_need() -> None:
    """Its import takes longer than a plain job may take to its first step."""
    program = "import sys, workers.trainer, workers.job; print('lightning_fabric' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"

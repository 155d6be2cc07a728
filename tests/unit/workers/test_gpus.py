"""Which queues a worker takes from by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.settings import WorkerSettings

CARD = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-0)"


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of an nvidia-smi that is the only program there is; a test writes it."""
    for name in ("LECTERN_QUEUES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "nvidia-smi"


def install(driver: Path, script: str) -> None:
    driver.write_text(f"#!/bin/sh\n{script}\n")
    driver.chmod(0o755)


def test_without_a_driver_only_the_jobs_of_the_cpu_are_taken(driver: Path) -> None:
    assert not driver.exists()
    assert WorkerSettings().taken_queues == ("train.cpu",)


def test_where_the_driver_lists_a_gpu_its_jobs_are_taken_as_well(driver: Path) -> None:
    install(driver, f"echo '{CARD}'")
    assert WorkerSettings().taken_queues == ("train.cpu", "train.gpu")


@pytest.mark.parametrize("script", ["echo 'No devices were found'", "exit 9", f"echo '{CARD}'; exit 1"])
def test_a_driver_without_a_gpu_is_none(driver: Path, script: str) -> None:
    install(driver, script)
    assert WorkerSettings().taken_queues == ("train.cpu",)


@pytest.mark.parametrize("hidden", ["", "-1", " "])
def test_a_gpu_that_the_environment_hides_is_none(driver: Path, hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(driver, f"echo '{CARD}'")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert WorkerSettings().taken_queues == ("train.cpu",)


def test_what_is_said_goes_before_what_is_seen(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(driver, f"echo '{CARD}'")
    monkeypatch.setenv("LECTERN_QUEUES", "train.gpu")
    assert WorkerSettings().taken_queues == ("train.gpu",)


def test_who_only_reads_the_settings_does_not_ask_the_driver(driver: Path) -> None:
    """A trainer, the reaper, the health check of a container."""
    asked = driver.with_name("asked")
    install(driver, f"echo yes >> {asked}; echo '{CARD}'")
    settings = WorkerSettings()
    assert not asked.exists()
    assert settings.taken_queues == settings.taken_queues == ("train.cpu", "train.gpu")
    assert asked.read_text() == "yes\n"

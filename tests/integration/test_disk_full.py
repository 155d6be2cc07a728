"""A disk that fills up while a version is being published: the job says so, and the version does not exist."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.address import free_address
from app.cli.log_files import LogFiles
from app.cli.stack import Stack, StackOptions
from app.client import Client, ClientError
from models.contract.jobs import JobState
from waiting import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or sys.platform != "linux", reason="needs root on Linux, to mount a small disk"
    ),
]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return an empty file system of 96 kB: enough for the checkpoint of a small net, not for its parts as well."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["/bin/umount", str(folder)], check=True)


def test_a_version_does_not_exist_when_the_disk_fills_up_while_publishing(small_disk: Path, tmp_path: Path) -> None:
    store = {"LECTERN_STORE_URL": small_disk.as_uri()}
    options = StackOptions(tmp_path / "home", free_address("127.0.0.1", 0), environment=store)
    body = {"family": "mlp", "dataset": "digits", "model": "full", "config": {"hidden_sizes": [64]}}
    with LogFiles(tmp_path / "logs") as logs, Stack(options, logs.emit) as stack, Client(stack.base_url) as client:
        job = wait_for(client, client.submit({**body, "training": {"epochs": 1}}).id)
        assert job.state is JobState.FAILED
        assert job.error is not None
        assert job.error.code == "store_full"
        assert "free some space" in str(job.error.detail)
        with pytest.raises(ClientError) as missing:
            client.model("full")
        assert missing.value.status == 404
        subprocess.run(["/bin/mount", "-o", "remount,size=10m", str(small_disk)], check=True)
        again = wait_for(client, client.submit({**body, "training": {"epochs": 1}}).id)
        assert (again.state, again.version) == (JobState.SUCCEEDED, 1)

"""The process that runs TorchScript lives no longer than its gateway, however that ends and whatever it computes."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from app.serving.runtimes.runtime import Refused, Source, Unreadable
from app.serving.runtimes.torchscript import TorchScriptRuntime
from integration.test_up import Up, answers, processes_of, wait_until
from models.contract.errors import DeadlineExceeded
from models.contract.tensors import PartSignature, TensorSignature

GATEWAY = r"app.cli.main gateway"
CHILD = r"torchscript_child"
VALUES = TensorSignature(name="values", shape=("batch", 1))
SIGNATURE = PartSignature(inputs=(VALUES,), outputs=(VALUES.model_copy(update={"name": "changed"}),))

HOLDER = """
import sys
import numpy as np
from pathlib import Path
from app.serving.runtimes.runtime import Source
from app.serving.runtimes.torchscript import TorchScriptRuntime
from models.contract.tensors import PartSignature
signature = PartSignature.model_validate_json(sys.argv[2])
runtime = TorchScriptRuntime(600.0)
part = runtime.load(Source(signature, Path(sys.argv[1]).read_bytes))
print(runtime.pid, flush=True)
part.run({"values": np.ones((1, 1), dtype=np.float32)})
"""


class _Endless(nn.Module):
    """Never answers."""

    def forward(self, values: Tensor) -> Tensor:
        while bool((values < 2).all()):
            values = values.cos()
        return values


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive that computes for ever."""
    path = tmp_path_factory.mktemp("archives") / "endless.pt"
    with pytest.warns(DeprecationWarning, match=r"torch\.jit"):
        torch.jit.save(torch.jit.script(_Endless()), path)
    return path


class _Doubling(nn.Module):
    """Doubles floats and takes nothing else."""

    def forward(self, values: Tensor) -> Tensor:
        if values.dtype != torch.float32:
            message = "only floats"
            raise RuntimeError(message)
        return values * 2


def _doubling() -> bytes:
    buffer = io.BytesIO()
    with pytest.warns(DeprecationWarning, match=r"torch\.jit"):
        torch.jit.save(torch.jit.script(_Doubling()), buffer)
    return buffer.getvalue()


def state(pid: int) -> str:
    """Return the state of a process as ps tells it: R while it computes, Z or nothing once it ended."""
    listing = subprocess.run(["/bin/ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listing.stdout.strip()


def test_child_in_the_middle_of_an_endless_run_ends_with_a_killed_gateway(endless: Path) -> None:
    """It cannot be asked any more: it notices by itself."""
    command = [sys.executable, "-P", "-c", HOLDER, str(endless), SIGNATURE.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        child = next(int(line) for line in holder.stdout if line.strip().isdigit())
        wait_until(lambda: state(child).startswith("R"), lambda: state(child), 30)
        holder.kill()
    wait_until(lambda: state(child)[:1] in ("", "Z"), lambda: state(child), 5)


def test_endless_run_is_stopped_at_its_limit(endless: Path) -> None:
    runtime = TorchScriptRuntime(1.0)
    part = runtime.load(Source(SIGNATURE, endless.read_bytes))
    child = runtime.pid
    assert child
    with pytest.raises(DeadlineExceeded, match="longer than 1 s"):
        part.run({"values": np.ones((1, 1), dtype=np.float32)})
    assert state(child) == ""
    runtime.close()


def test_bytes_that_are_no_archive_are_said_and_harmless() -> None:
    runtime = TorchScriptRuntime(20.0)
    for data in (b"", b"PK\x03\x04 but no archive", bytes(10_000)):
        with pytest.raises(Unreadable, match="torch says: "):
            runtime.load(Source(SIGNATURE, lambda data=data: data))
    first = runtime.pid
    with pytest.raises(Unreadable, match="takes 1 inputs; its signature says 2"):
        runtime.load(Source(SIGNATURE.model_copy(update={"inputs": (VALUES, VALUES)}), _doubling))
    part = runtime.load(Source(SIGNATURE, _doubling))
    assert part.run({"values": np.full((2, 1), 3, np.float32)})["changed"].tolist() == [[6.0], [6.0]]
    with pytest.raises(Refused, match="only floats"):
        part.run({"values": np.zeros((1, 1), np.int64)})
    assert runtime.pid == first
    runtime.close()


@pytest.mark.slow
def test_child_goes_with_the_gateway_and_comes_back_with_the_next(tmp_path: Path) -> None:
    def found(pattern: str) -> list[int]:
        named = processes_of(tmp_path).items()
        return [pid for pid, command in named if re.search(pattern, command) and "guard" not in command]

    with Up(tmp_path) as up, up.client() as client:
        job = client.submit(
            {
                "family": "mlp",
                "dataset": "digits",
                "model": "scripted",
                "training": {"epochs": 1},
                "export": {"formats": ["torchscript"]},
            }
        )
        assert [event.data["state"] for event in client.events(job.id) if event.final] == ["succeeded"]
        assert found(CHILD) == []
        image = {"inputs": [[[0] * 8] * 8]}
        first = client.predict("scripted", "classify", image)
        ((gateway,), (child,)) = found(GATEWAY), found(CHILD)
        os.kill(gateway, signal.SIGKILL)
        wait_until(lambda: child not in found(CHILD), lambda: processes_of(tmp_path), 5)
        up.wait_for(r"^lectern \| gateway ended with status 137")
        wait_until(lambda: answers(client), up.described, 30)
        assert client.predict("scripted", "classify", image) == first
        assert len(found(CHILD)) == 1
        assert up.stop(signal.SIGTERM) == 0, up.described()
        assert processes_of(tmp_path) == {}

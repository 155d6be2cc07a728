"""Whether this machine has a GPU for training, found out without torch, which the Celery process never loads."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Literal

Queue = Literal["train.cpu", "train.gpu"]

ANSWER_SECONDS = 10.0
HIDDEN = frozenset({"", "-1", "NoDevFiles"})
"""Values of CUDA_VISIBLE_DEVICES that hide every GPU."""


def queues_of_this_machine() -> tuple[Queue, ...]:
    """Return the queues that a worker here takes from: ``train.gpu`` only where the driver lists a GPU."""
    return ("train.cpu", "train.gpu") if has_gpu() else ("train.cpu",)


def has_gpu() -> bool:
    """Return whether NVIDIA's driver lists a GPU that the environment does not hide."""
    query = shutil.which("nvidia-smi")
    if query is None or os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in HIDDEN:
        return False
    try:
        ended = subprocess.run(
            (query, "--list-gpus"), capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return ended.stdout.startswith("GPU ")

"""Whether there is a GPU, and whether torch sees it. torch is asked in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence

from app.cli.checks.finding import Finding, ok, problem, warning

DRIVER_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
TORCH_QUERY = """
import json, torch
print(json.dumps([torch.__version__, torch.cuda.is_available() and torch.cuda.device_count()]))
"""
ANSWER_SECONDS = 60.0

Ask = Callable[[Sequence[str]], str | None]
"""Runs a command and returns its output, None if it fails or does not exist."""


def gpu(ask: Ask | None = None) -> Finding:
    """Return which GPUs training can use."""
    ask = ask or _ask
    cards = (ask(DRIVER_QUERY) or "").strip().splitlines()
    seen = ", ".join(cards)
    answer = ask((sys.executable, "-P", "-c", TORCH_QUERY))
    if answer is None:
        if importlib.util.find_spec("torch"):
            return problem("gpu", "torch is installed and cannot be imported", "install it anew: make setup")
        return ok("gpu", "not needed: torch is not installed, so this machine serves and does not train")
    version, usable = json.loads(answer)
    if usable:
        return ok("gpu", f"torch {version} uses {usable} GPU{'s' if usable > 1 else ''}{f': {seen}' if seen else ''}")
    if cards:
        remedy = (
            "install a build of torch for CUDA that the driver is new enough for, or train with training.device=cpu"
        )
        return warning("gpu", f"torch {version} does not see {seen}", remedy)
    return ok("gpu", f"none; torch {version} trains on the CPU")


def _ask(command: Sequence[str]) -> str | None:
    if not shutil.which(command[0]):
        return None
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return ended.stdout

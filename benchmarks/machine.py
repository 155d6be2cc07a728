"""Which machine and versions a figure comes from."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version


def describe(*packages: str) -> str:
    """Return processor, usable cores, Python and the versions of ``packages`` in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{_processor()}, {cores} cores; Python {platform.python_version()}, {versions}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123 - not a path of ours
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()

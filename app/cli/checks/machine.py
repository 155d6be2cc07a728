"""Whether this machine gives what Lectern takes: disk, memory, cores, open files."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from app.cli.checks.finding import Finding, ok, problem, warning

GIB = 2**30
DISK_NEEDED_BYTES, DISK_WANTED_BYTES = GIB // 2, 5 * GIB
MEMORY_WANTED_BYTES = GIB
"""A trainer holds some 400 MB before its first batch, a gateway 150."""

FILES_WANTED = 1024
"""A connection is an open file: uploads, event streams and predictions of a few hundred clients."""

CGROUPS = Path("/sys/fs/cgroup")


def home(folder: Path) -> Finding:
    """Return whether the folder in which `lectern up` keeps everything can be written."""
    nearest = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        remedy = "choose another folder with --home or LECTERN_HOME, or make this one yours"
        return problem("home", f"{nearest} cannot be written: {error.strerror}", remedy)
    return ok("home", f"{folder} can be written" if folder.exists() else f"{folder} can be made")


def disk(folder: Path, free_bytes: int | None = None) -> Finding:
    """Return whether there is room for datasets, checkpoints and models."""
    free = shutil.disk_usage(_nearest(folder)).free if free_bytes is None else free_bytes
    detail = f"{free / GIB:.1f} GiB free at {folder}"
    remedy = "delete datasets and versions that are no longer needed, or choose another --home"
    if free < DISK_NEEDED_BYTES:
        return problem("disk", detail, remedy)
    return warning("disk", detail, remedy) if free < DISK_WANTED_BYTES else ok("disk", detail)


def memory(available_bytes: int | None = None) -> Finding:
    """Return whether a trainer and a gateway fit into what is left."""
    available = _available_bytes() if available_bytes is None else available_bytes
    detail = f"{available / GIB:.1f} GiB available"
    if available < MEMORY_WANTED_BYTES:
        return warning("memory", detail, "end other programs, or train with a smaller training.batch_size")
    return ok("memory", detail)


def cores(cpus: int | None = None, quota: float | None = None) -> Finding:
    """Return whether the control group grants the cores that are seen."""
    seen = cpus or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    granted = _cpu_quota() if quota is None else quota
    if granted is None or granted >= seen:
        return ok("cores", f"{seen} core{'s' if seen > 1 else ''}")
    threads = max(1, int(granted))
    return warning(
        "cores",
        f"{granted:g} of the {seen} cores seen are granted by the control group",
        f"set LECTERN_INFERENCE_THREADS={threads} and LECTERN_TRAINER_THREADS={threads}",
    )


def open_files(limit: int | None = None) -> Finding:
    """Return whether a gateway may hold the connections of some hundred clients."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if limit is None else limit
    if 0 <= soft < FILES_WANTED:
        return warning(
            "open files", f"at most {soft} at a time", f"raise it where Lectern is started: ulimit -n {4096}"
        )
    return ok("open files", f"at most {soft} at a time" if soft >= 0 else "no limit")


def _nearest(folder: Path) -> Path:
    """Return ``folder``, or the nearest folder above it that exists."""
    absolute = folder.absolute()
    return next(path for path in (absolute, *absolute.parents) if path.is_dir())


def _available_bytes() -> int:
    """Return what can be had now without swapping, and no more than the control group leaves."""
    meminfo = _text(Path("/proc/meminfo")).splitlines()
    known = [int(line.split()[1]) * 1024 for line in meminfo if line.startswith("MemAvailable:")]
    machine = known[0] if known else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    pairs = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
    left = [int(limit) - int(used) for limit, used in map(_both, pairs) if limit.isdigit() and used.isdigit()]
    return min([machine, *left])


def _cpu_quota() -> float | None:
    """Return how many cores the control group grants, None without a limit."""
    second = _text(CGROUPS / "cpu.max").split()
    first = list(_both(("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")))
    for quota, period in (words for words in (second, first) if len(words) == 2):  # noqa: PLR2004 - quota and period
        if quota.isdigit() and period.isdigit():
            return int(quota) / int(period)
    return None


def _both(names: Iterable[str]) -> tuple[str, str]:
    first, second = (_text(CGROUPS / name).strip() for name in names)
    return first, second


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

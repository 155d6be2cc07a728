"""Trainings of layers that are no jobs: two one-thread processes at a time, results kept by code and case."""

from __future__ import annotations

import hashlib
import inspect
import json
import multiprocessing
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import cast

import torch

KEPT = Path(".lectern/reproduce/local").absolute()
PARALLEL = 2

Figures = dict[str, float]
Case = tuple[str, int]
"""A variant and a seed."""


def trained(
    train: Callable[[str, int], Figures], cases: Iterable[Case], code: Sequence[Path] = ()
) -> dict[Case, Figures]:
    """Return what ``train(variant, seed)`` gives for each case, with ``seconds`` of its training.

    Args:
        train: trains a variant from a seed.
        cases: what to train.
        code: files that train beside layers, optimisers and worlds; when they change, it is trained again.
    """
    found = {case: _path(train, case, code) for case in cases}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PARALLEL, context) as pool:
        started = {case: pool.submit(_timed, train, case) for case, path in found.items() if not path.exists()}
        for case, future in started.items():
            found[case].parent.mkdir(parents=True, exist_ok=True)
            found[case].write_text(json.dumps(future.result()), encoding="utf-8")
            print(f"  trained {case[0]}, seed {case[1]}", flush=True)
    return {case: cast("Figures", json.loads(path.read_text(encoding="utf-8"))) for case, path in found.items()}


def _timed(train: Callable[[str, int], Figures], case: Case) -> Figures:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    started = time.process_time()
    figures = train(*case)
    return {**figures, "seconds": time.process_time() - started}


def _path(train: Callable[[str, int], Figures], case: Case, code: Sequence[Path]) -> Path:
    """Return where a result is kept: under a name that changes with the case and with the code that trains."""
    digest = hashlib.sha256(repr(case).encode())
    trains = [Path(inspect.getfile(train)), Path("models/optimization.py"), *code]
    for path in (*trains, *sorted(Path("models/nn").glob("*.py")), *sorted(Path("models/data/worlds").glob("*.py"))):
        digest.update(path.read_bytes())
    return KEPT / f"{train.__module__.rpartition('.')[2]}-{case[0]}-{case[1]}-{digest.hexdigest()[:12]}.json"

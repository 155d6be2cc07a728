"""Where a job trains: the device it gets, whether the machine has what it asks for, and who computes its gradients."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch

from models.contract.errors import ValidationFailed
from models.contract.training import GradientTraining, TrainingOptions
from models.learners import GradientLearner
from workers.training import Run

if TYPE_CHECKING:
    from workers.parallel.together import Together


def device_of(options: TrainingOptions, rank: int = 0) -> torch.device:
    """Return the device of process ``rank`` of a training.

    Raises:
        ValidationFailed: this worker does not see what the options ask for.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if options.device == "cuda" and not gpus:
        raise ValidationFailed.at("/training/device", "this worker sees no GPU; use 'auto' or 'cpu'")
    on_gpus = gpus > 0 and options.device != "cpu"
    if on_gpus and options.devices > gpus:
        detail = f"this worker sees {gpus} GPU{'s' if gpus > 1 else ''}; use at most {gpus}, or the device 'cpu'"
        raise ValidationFailed.at("/training/devices", detail)
    if isinstance(options, GradientTraining) and not on_gpus:
        if options.precision == "16-mixed":
            raise ValidationFailed.at("/training/precision", "needs a GPU; use 'bf16-mixed' or '32' on the CPU")
        if options.compile:
            raise ValidationFailed.at("/training/compile", "needs a GPU; leave it out on the CPU")
    if not on_gpus:
        return torch.device("cpu")
    return torch.device("cuda", rank) if options.devices > 1 else torch.device("cuda")


def make_repeatable(device: torch.device) -> None:
    """Let a GPU add in the same order each time, as the CPU does, so that a training taken up again ends the same.

    To be called before anything is computed there. Where torch has no such kernel it warns, in the job's log.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # A help to find errors, which takes its time.
        cast("Any", torch.utils.deterministic).fill_uninitialized_memory = False
        torch.use_deterministic_algorithms(mode=True, warn_only=True)


def equipped(run: Run, rank: int = 0) -> tuple[Run, Together | None]:
    """Return the run with the gradients that its options ask for, and what it takes its steps together with.

    With several devices their processes are one process group already.

    Raises:
        ValidationFailed: the family's learner computes its gradients itself.
    """
    options = run.options
    if not isinstance(options, GradientTraining):
        return run, None
    wanted = {"devices": options.devices > 1, "precision": options.precision != "32", "compile": options.compile}
    asked = [name for name, value in wanted.items() if value]
    if not asked:
        return run, None
    if not isinstance(run.learner, GradientLearner):
        detail = "the learner of this family computes its gradients itself, on one device in 32 bits; leave it out"
        raise ValidationFailed.at(f"/training/{asked[0]}", detail)
    from workers.parallel.gradients import FabricGradients  # noqa: PLC0415 - a plain job does without this import's second

    gradients = FabricGradients(run, options, rank)
    run.learner.compute_with(gradients)
    if options.devices == 1:
        return run, None
    from workers.parallel.together import Together  # noqa: PLC0415 - as above

    together = Together(run, run.learner, gradients, rank, options.devices)
    return replace(run, team=together), together

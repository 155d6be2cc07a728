"""What exported parts score, held against the model that they came from, and against one another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from models.contract.errors import ParityFailed
from models.contract.task import Arrays, ServedModel, Split, Task, evaluate
from models.family import Family
from workers.exporting.formats import RunPart

METRIC_GAP = 0.01
"""Largest difference of a score between trained model and exported parts, relative above 1."""

QUANTIZATION_LOSS = 0.01
"""By how much quantised parts may be worse than exact ones in the headline metric, relative above 1."""

Metrics = dict[str, dict[str, float]]
"""Scores by split."""


def score(task: Task, served: ServedModel, splits: Mapping[str, Split], parts: Mapping[str, RunPart]) -> Metrics:
    """Return the metrics of validation and test, as far as there are such splits, through the codec."""

    def run(part: str, arrays: Arrays) -> Arrays:
        return parts[part](arrays)

    return {name: evaluate(task, served, splits[name], run) for name in ("validation", "test") if name in splits}


def check_trained(family: Family[Any, Any], module: nn.Module, splits: Mapping[str, Split], metrics: Metrics) -> None:
    """Return if the trained model itself scores the same.

    Raises:
        ParityFailed: it does not; names metric, split and both figures.
    """
    for split, scores in metrics.items():
        own = family.evaluate(module, family.examples(splits[split], torch.device("cpu")))
        for name in own.keys() & scores.keys():
            gap = abs(own[name] - scores[name]) / max(1.0, abs(own[name]))
            if not gap <= METRIC_GAP:
                message = (
                    f"'{name}' on {split} is {scores[name]:.4f} from the exported parts and {own[name]:.4f} "
                    "from the trained model. The version was not published."
                )
                raise ParityFailed(message)


def check_quantized(task: Task, headline: str, exact: Metrics, quantized: Metrics) -> str:
    """Return a sentence with what both score in the headline metric, if the quantised parts are good enough.

    Args:
        task: knows which way the metric is better.
        headline: the metric.
        exact: scores of the parts that equal the trained model; validation is asked before test.
        quantized: of those that are to be served.

    Raises:
        ParityFailed: they lose more than ``QUANTIZATION_LOSS``, or there is no split to tell by.
    """
    split = next((name for name in ("validation", "test") if headline in exact.get(name, {})), None)
    if split is None:
        message = f"No split has '{headline}' to tell what quantised parts lose; train without export.quantize."
        raise ParityFailed(message)
    equal, own = exact[split][headline], quantized[split][headline]
    worse = own - equal if headline in task.lower_is_better else equal - own
    figures = f"'{headline}' on {split} is {own:.4f} in eight bits and {equal:.4f} without"
    if not worse <= QUANTIZATION_LOSS * max(1.0, abs(equal)):
        message = (
            f"{figures}, which is worse by more than {QUANTIZATION_LOSS:.0%}. The version was not published; train "
            "without export.quantize."
        )
        raise ParityFailed(message)
    return figures

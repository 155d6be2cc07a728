"""Quantised parts are published if the headline metric hardly suffers, whichever way it is better."""

from __future__ import annotations

import math

import pytest

from models.classification.task import TASK as CLASSIFICATION
from models.contract.errors import ParityFailed
from models.contract.task import Task
from models.generation.task import TASK as GENERATION
from models.language.task import TASK as LANGUAGE
from models.translation.task import TASK as TRANSLATION
from workers.scoring import check_quantized


@pytest.mark.parametrize(
    ("task", "headline", "exact", "bounds"),
    [
        pytest.param(CLASSIFICATION, "accuracy", 0.95, (0.941, 0.939), id="a hundredth below one"),
        pytest.param(TRANSLATION, "bleu", 40.0, (39.61, 39.59), id="one per cent above"),
        pytest.param(LANGUAGE, "perplexity", 200.0, (201.9, 202.1), id="less is better"),
        pytest.param(GENERATION, "elbo", -100.0, (-100.9, -101.1), id="negative"),
        pytest.param(GENERATION, "energy_distance", 0.1, (0.109, 0.111), id="of the family, less is better"),
    ],
)
def test_one_per_cent_may_be_lost(task: Task, headline: str, exact: float, bounds: tuple[float, float]) -> None:
    """On either side of the limit; what is better is never refused."""
    good, bad = bounds
    for own in (good, exact, exact + 5 * (exact - bad)):
        said = check_quantized(task, headline, {"validation": {headline: exact}}, {"validation": {headline: own}})
        assert f"{own:.4f} in eight bits and {exact:.4f} without" in said
    with pytest.raises(ParityFailed) as refused:
        check_quantized(task, headline, {"validation": {headline: exact}}, {"validation": {headline: bad}})
    for words in (headline, "validation", f"{bad:.4f}", f"{exact:.4f}", "not published", "without export.quantize"):
        assert words in refused.value.detail


def test_what_is_not_a_number_is_refused() -> None:
    with pytest.raises(ParityFailed, match="nan in eight bits"):
        check_quantized(CLASSIFICATION, "accuracy", {"test": {"accuracy": 0.9}}, {"test": {"accuracy": math.nan}})


def test_validation_decides_and_test_where_there_is_none() -> None:
    """The test split is there to be told of, not to be chosen by."""
    exact = {"validation": {"accuracy": 0.9}, "test": {"accuracy": 0.9}}
    own = {"validation": {"accuracy": 0.9}, "test": {"accuracy": 0.5}}
    assert "on validation" in check_quantized(CLASSIFICATION, "accuracy", exact, own)
    with pytest.raises(ParityFailed, match="on test"):
        check_quantized(CLASSIFICATION, "accuracy", {"test": exact["test"]}, {"test": own["test"]})


def test_without_a_split_nothing_can_be_told() -> None:
    with pytest.raises(ParityFailed, match=r"train without export\.quantize"):
        check_quantized(CLASSIFICATION, "accuracy", {}, {})

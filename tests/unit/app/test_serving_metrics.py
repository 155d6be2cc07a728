"""What is told of versions in memory."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from app.serving_metrics import ServingMetrics
from models.contract.errors import ModelDamaged


def test_a_version_that_is_loaded_again_has_the_metrics_it_had() -> None:
    """Or every load would leave some behind."""
    metrics = ServingMetrics(CollectorRegistry())
    assert metrics.of("default", "tiny", 1) is metrics.of("default", "tiny", 1)
    assert metrics.of("default", "tiny", 1) is not metrics.of("default", "tiny", 2)


def test_projects_whose_models_have_one_name_are_told_apart() -> None:
    registry = CollectorRegistry()
    metrics = ServingMetrics(registry)
    for project, waiting in (("here", 1), ("there", 2)):
        metrics.of(project, "tiny", 1).rejected("overloaded")
        metrics.now([("here", "tiny", 1, 1), ("there", "tiny", 1, 2)])
        labels = {"project": project, "model": "tiny", "version": "1"}
        assert registry.get_sample_value("lectern_pending_runs", labels) == waiting
        assert registry.get_sample_value("lectern_rejected_runs_total", {**labels, "reason": "overloaded"}) == 1


def test_what_becomes_of_a_load_is_told() -> None:
    registry = CollectorRegistry()
    metrics = ServingMetrics(registry)
    for outcome, error in (("model_damaged", ModelDamaged("cut off")), ("internal_error", OSError())):
        with pytest.raises(type(error)), metrics.loading("here", "tiny"):
            raise error
        labels = {"project": "here", "model": "tiny", "outcome": outcome}
        assert registry.get_sample_value("lectern_model_load_seconds_count", labels) == 1

"""Scores of predicted tags, the same for the trainer's curves and the model card."""

from __future__ import annotations

from collections.abc import Sequence

from models.metrics.accuracy import accuracy
from models.metrics.spans import span_scores


def scores(predicted: Sequence[Sequence[str]], truth: Sequence[Sequence[str]], *, spans: bool) -> dict[str, float]:
    """Return ``accuracy`` of tokens in IOB2, and ``f1``, with ``precision`` and ``recall`` where there are spans.

    Without spans every token is right or wrong by itself: then F1, micro-averaged over tags, is the accuracy.
    """
    share = accuracy([tag for tags in predicted for tag in tags], [tag for tags in truth for tag in tags])
    if not spans:
        return {"accuracy": share, "f1": share}
    found = span_scores(predicted, truth)
    return {"accuracy": share, "f1": found.f1, "precision": found.precision, "recall": found.recall}

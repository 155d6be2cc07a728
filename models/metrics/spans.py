"""Precision, recall and F1 of labelled spans as ``conlleval`` counts them: right are both ends and the label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models.data.tag_schemes import spans_of


@dataclass(frozen=True)
class SpanScores:
    """Micro-averages over all spans of all sentences, as shares; 0 where there is nothing to divide by."""

    precision: float
    recall: float
    f1: float


def span_scores(predicted: Iterable[Sequence[str]], truth: Iterable[Sequence[str]]) -> SpanScores:
    """Return the scores of tags in IOB1, IOB2 or BIOES; spans of illegal sequences are read as ``conlleval`` does.

    Raises:
        ValueError: a sentence has other than its number of tags.
    """
    found = wanted = right = 0
    for ours, theirs in zip(predicted, truth, strict=True):
        if len(ours) != len(theirs):
            message = f"{len(ours)} tags were predicted for {len(theirs)} tokens"
            raise ValueError(message)
        mine, gold = set(spans_of(ours)), set(spans_of(theirs))
        found, wanted, right = found + len(mine), wanted + len(gold), right + len(mine & gold)
    precision = right / found if found else 0.0
    recall = right / wanted if wanted else 0.0
    return SpanScores(precision, recall, 2 * right / (found + wanted) if right else 0.0)

"""What one process counted, in the form in which it travels: few bytes, taken in little time, many times an hour.

``take`` reads a registry, ``registry_of`` makes one of what was merged. The parent only adds numbers (``ledger.py``).
"""

# ruff: noqa: SLF001 - where the library keeps its numbers is not part of its interface: a test compares them with it

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString  # pyright: ignore[reportUnknownVariableType]

Series = Mapping[str, Any]
"""``name``, ``help`` and ``kind`` of the metric; ``sample``, how its numbers are named; ``labels``, the names of those;
``bounds`` of a histogram as Prometheus writes them, else None; ``rows``: of each combination of labels the values, and
the numbers. Of a histogram these are how many fell between two bounds, and the sum; else there is one."""

CREATED = "_created"
"""Ends the name of the sample that says since when is counted: of several processes it says nothing."""


def take(registry: CollectorRegistry) -> list[Series]:
    """Return what the metrics of ``registry`` say now.

    Counters and histograms, nearly all there is, are read where the library keeps them: 737 numbers take 1.4 ms,
    and 11 by its ``collect``, during which no request is answered.
    """
    series: list[Series] = []
    for collector in list(registry._collector_to_names):  # pyright: ignore[reportPrivateUsage]
        if isinstance(collector, Counter | Histogram):
            series.append(_kept(collector))
        else:
            series.extend(entry for metric in collector.collect() for entry in _collected(metric))
    return series


def registry_of(series: Iterable[Series]) -> CollectorRegistry:
    """Return a registry that tells ``series``."""
    registry = CollectorRegistry()
    registry.register(_Told(list(series)))
    return registry


class _Told(Collector):
    def __init__(self, series: Sequence[Series]) -> None:
        self._series = series

    def collect(self) -> Iterator[Metric]:
        metrics: dict[str, Metric] = {}
        for entry in self._series:
            metric = metrics.setdefault(entry["name"], Metric(entry["name"], entry["help"], entry["kind"]))
            metric.samples.extend(_samples(entry))
        return iter(metrics.values())


def _kept(metric: Counter | Histogram) -> Series:
    inner = cast("Any", metric)
    children = inner._metrics.copy().items() if inner._labelnames else [((), inner)]
    entry = {"name": inner._name, "help": inner._documentation, "kind": inner._type, "labels": inner._labelnames}
    if isinstance(metric, Histogram):
        rows = [(values, [*(each.get() for each in child._buckets), child._sum.get()]) for values, child in children]
        bounds = [floatToGoString(bound) for bound in inner._upper_bounds]
        return {**entry, "sample": inner._name, "bounds": bounds, "rows": rows}
    rows = [(values, [child._value.get()]) for values, child in children]
    return {**entry, "sample": f"{inner._name}_total", "bounds": None, "rows": rows}


def _collected(metric: Metric) -> Iterator[Series]:
    """Yield the samples of a metric as they are, each name with its labels a series."""
    entry = {"name": metric.name, "help": metric.documentation, "kind": metric.type, "bounds": None}
    found: dict[tuple[str, ...], list[tuple[list[str], list[float]]]] = {}
    for sample in metric.samples:
        # JSON knows no infinity, and nothing can be added to what is no number.
        if not sample.name.endswith(CREATED) and math.isfinite(sample.value):
            row = (list(sample.labels.values()), [sample.value])
            found.setdefault((sample.name, *sample.labels), []).append(row)
    for (name, *labels), rows in found.items():
        yield {**entry, "sample": name, "labels": labels, "rows": rows}


def _samples(entry: Series) -> Iterator[Sample]:
    name: str = entry["sample"]
    for values, numbers in entry["rows"]:
        labels: dict[str, str] = dict(zip(entry["labels"], values, strict=True))
        if entry["bounds"] is None:
            yield Sample(name, labels, numbers[0])
            continue
        *counts, total = numbers
        cumulated = list(accumulate(counts))
        for bound, number in zip(entry["bounds"], cumulated, strict=True):
            yield Sample(f"{name}_bucket", {**labels, "le": bound}, number)
        yield Sample(f"{name}_count", labels, cumulated[-1])
        yield Sample(f"{name}_sum", labels, total)

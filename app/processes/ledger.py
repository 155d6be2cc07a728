"""What all processes counted, the dead included: the last snapshot of each that lives, and the totals of the others.

Whatever was told once comes from here and stays here, so no counter ever goes back. Lives in the parent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TOTALS = frozenset({"counter", "histogram", "summary"})
"""Kinds of metrics that only grow, and so outlive who counted. Of the others only the living are told."""

APART = "process_"
"""Begins the names of gauges that mean nothing when added up, as the time of a start: told by process."""

Values = tuple[str, ...]
Identity = tuple[str, Values]


@dataclass(frozen=True)
class Table:
    """The numbers of one series by the values of its labels; ``entry`` is the series without its rows."""

    entry: Mapping[str, Any]
    rows: dict[Values, Sequence[float]]

    def added(self, other: Table) -> Table:
        """Return the sum; if the bounds changed between two versions of the program, in those of ``other``."""
        rows = {values: _moved(row, self.entry["bounds"], other.entry["bounds"]) for values, row in self.rows.items()}
        for values, row in other.rows.items():
            known = rows.get(values)
            rows[values] = row if known is None else [a + b for a, b in zip(known, row, strict=True)]
        return Table(other.entry, rows)


Tables = dict[Identity, Table]


class Ledger:
    """Adds up snapshots."""

    def __init__(self) -> None:
        """Know of nothing yet."""
        self._living: dict[int, Tables] = {}
        self._dead: Tables = {}

    def record(self, process: int, snapshot: Sequence[Mapping[str, Any]]) -> None:
        """Take ``snapshot`` in place of the last one of ``process``."""
        self._living[process] = _tables(snapshot)

    def bury(self, process: int) -> None:
        """Keep what ``process`` counted, and forget it; its number may be another's from now on."""
        totals = self._living.pop(process, {})
        _add(self._dead, {key: table for key, table in totals.items() if table.entry["kind"] in TOTALS})

    def merged(self) -> list[dict[str, Any]]:
        """Return one snapshot of all."""
        tables: Tables = {}
        _add(tables, self._dead)
        for process, own in sorted(self._living.items()):
            _add(tables, {key: _apart(table, process) for key, table in own.items()})
        return [{**table.entry, "rows": list(table.rows.items())} for table in _by_metric(tables)]


def _tables(snapshot: Sequence[Mapping[str, Any]]) -> Tables:
    tables: Tables = {}
    for series in snapshot:
        entry = {name: value for name, value in series.items() if name != "rows"}
        rows = {tuple(values): numbers for values, numbers in series["rows"]}
        tables[entry["sample"], tuple(entry["labels"])] = Table(entry, rows)
    return tables


def _add(to: Tables, others: Tables) -> None:
    for key, table in others.items():
        known = to.get(key)
        to[key] = table if known is None else known.added(table)


def _apart(table: Table, process: int) -> Table:
    entry = table.entry
    if entry["kind"] in TOTALS or not entry["name"].startswith(APART):
        return table
    rows = {(*values, str(process)): numbers for values, numbers in table.rows.items()}
    return Table({**entry, "labels": [*entry["labels"], "process"]}, rows)


def _by_metric(tables: Tables) -> Iterator[Table]:
    """Yield the tables so that those of one metric stand together, as Prometheus demands."""
    names = dict.fromkeys(table.entry["name"] for table in tables.values())
    for name in names:
        yield from (table for table in tables.values() if table.entry["name"] == name)


def _moved(row: Sequence[float], bounds: Sequence[str] | None, new: Sequence[str] | None) -> Sequence[float]:
    """Return the row of a histogram in other bounds: what fell below one that is no more counts at the next."""
    if bounds is None or new is None or bounds == new:
        return row
    counts = [0.0] * len(new)
    for bound, count in zip(bounds, row, strict=False):
        counts[next(place for place, other in enumerate(new) if float(other) >= float(bound))] += count
    return [*counts, row[-1]]

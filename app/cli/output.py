"""What the commands print: tables or JSON on stdout, one readable sentence on stderr when something failed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from models.contract.errors import FieldError

PIPE_WIDTH = 240
"""Tables that nobody looks at directly are not folded."""


class CommandFailed(Exception):
    """The command could not do what it was asked; ends with exit status 1 and the sentence on stderr."""

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        """Keep the sentence and the fields that it speaks of."""
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)


def say(text: str = "") -> None:
    """Print a line on stdout."""
    print(text, flush=True)  # noqa: T201 - printing is what a command line is for


def note(text: str) -> None:
    """Print a line on stderr, beside the result."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - as above


def complain(failure: CommandFailed) -> None:
    """Print why a command failed: its sentence, and a line per field unless the sentence says it all."""
    note(f"lectern: {failure.detail}")
    for error in failure.errors:
        if error.detail not in failure.detail:
            note(f"  {error.pointer or '/'}: {error.detail}")


def show_json(value: object) -> None:
    """Print ``value`` as JSON and nothing else."""
    say(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Print a table, or the sentence ``empty`` if there are no rows."""
    from rich.console import Console  # noqa: PLC0415 - `lectern --help` draws no table
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == columns[0])
    for row in rows:
        table.add_row(*(_plain(value) for value in row))
    if table.row_count:
        width = None if sys.stdout.isatty() else PIPE_WIDTH
        Console(markup=False, highlight=False, width=width).print(table)
    else:
        say(empty)


def show_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print one ``name  value`` line per fact that there is."""
    known = [(name, value) for name, value in facts if value not in (None, "", {})]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        say(f"{name:<{width}}  {_plain(value)}")


def moment(time: str | None) -> str:
    """Return an RFC 3339 time to the second, as people read it."""
    return (time or "")[:19].replace("T", " ")


def metrics_line(metrics: Mapping[str, float]) -> str:
    """Return metrics as ``accuracy 0.9722, error 0.0278``."""
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items() if name != "epoch")


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)

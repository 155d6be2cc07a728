"""Tables of the tests: csv parts written to a folder and read as an upload is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.contract.errors import InvalidDataset
from models.data.kind import Content, UploadedFile
from models.data.kinds.table import KIND

FLOWERS = "petal,colour,class\n1.5,red,rose\n2.5,blue,iris\n,red,iris\n4,,rose\n"


class TableReader:
    """Reads csv parts, text or bytes, with their facts."""

    def __init__(self, folder: Path) -> None:
        """Keep where the files are written."""
        self._folder = folder

    def __call__(self, train: str | bytes, options: dict[str, Any] | None = None, **others: str | bytes) -> Content:
        files = {"train": train, **others}
        for part, text in files.items():
            (self._folder / part).write_bytes(text.encode() if isinstance(text, str) else text)
        uploaded = {part: UploadedFile(f"{part}.csv", self._folder / part) for part in files}
        content = KIND.read(uploaded, KIND.options.parse(options or {}, "/options"))
        return Content(content.splits, {**content.meta, **KIND.facts(content)})

    def outcome(self, train: str | bytes, options: dict[str, Any] | None = None) -> Content | InvalidDataset:
        """Return what was read, or why it was refused; any other exception is a fault."""
        try:
            return self(train, options)
        except InvalidDataset as error:
            return error


def columns_of(content: Content) -> dict[str, Any]:
    """Return the facts of the columns by name."""
    columns: Any = content.meta["columns"]
    return {column["name"]: column for column in columns}


def numbered(rows: int, column: Callable[[int], str], label: Callable[[int], str] = lambda row: "pq"[row % 2]) -> str:
    """Return a table of ``rows`` rows: their number, what ``column`` says of it, and its label."""
    return "a,b,class\n" + "".join(f"{row},{column(row)},{label(row)}\n" for row in range(rows))

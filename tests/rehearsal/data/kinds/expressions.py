"""Logical expressions with their values: a text file per split, lines of a JSON tree, a tab and 0 or 1.

Arrays of a split: ``expressions`` (examples,) StringDType, ``values`` (examples,) int64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import JsonValue

from models.contract.errors import InvalidDataset, ValidationFailed
from models.contract.task import Split
from models.data.kind import Content, DatasetKind, SplitOptions, UploadedFile
from rehearsal.data.trees import flatten, parse


class Expressions(DatasetKind):
    """Logical expressions."""

    name = "expressions"
    title = "Logical expressions, one per line"
    options: ClassVar[type[SplitOptions]] = SplitOptions
    stratify = "values"

    def read(self, files: Mapping[str, UploadedFile], options: SplitOptions) -> Content:
        """Return a split per file."""
        del options
        if "train" not in files or set(files) - {"train", "validation", "test"}:
            raise InvalidDataset.at("/train", "send 'train' and, if you like, 'validation' and 'test'")
        return Content({part: _read(part, file) for part, file in files.items()}, {"classes": ["0", "1"]})

    def facts(self, content: Content) -> dict[str, JsonValue]:
        """Return the share of true expressions."""
        return {"true_share": float(content.splits["train"]["values"].mean())}

    def preview(self, content: Content, split: str, count: int) -> list[dict[str, JsonValue]]:
        """Return trees as text, and values."""
        arrays = content.splits[split]
        pairs = zip(arrays["expressions"][:count].tolist(), arrays["values"][:count].tolist(), strict=True)
        return [{"expression": expression, "value": value} for expression, value in pairs]


KIND = Expressions()


def _read(part: str, file: UploadedFile) -> Split:
    try:
        lines = file.path.read_text(encoding="utf-8").splitlines()
        rows = [line.partition("\t") for line in lines]
        flatten([parse(tree, f"/{part}/{index}") for index, (tree, _, _) in enumerate(rows)], f"/{part}")
        values = [{"0": 0, "1": 1}[value] for _, _, value in rows]
    except (ValidationFailed, UnicodeDecodeError, KeyError) as error:
        raise InvalidDataset.at(f"/{part}", f"needs lines of a tree, a tab and 0 or 1 ({error})") from error
    if not rows:
        raise InvalidDataset.at(f"/{part}", "holds no expressions")
    expressions = np.array([tree for tree, _, _ in rows], dtype=np.dtypes.StringDType())
    return {"expressions": expressions, "values": np.array(values, dtype=np.int64)}

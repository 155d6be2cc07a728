"""Word vectors: a word and its numbers a line, divided by spaces or tabs, as word2vec, GloVe and fastText write them.

One part, ``train``, plain or gzipped. A first line of two whole numbers (count and size) is left out. Arrays: ``words``
(words,) StringDType and ``vectors`` (words, dimensions) float32. Never split; models name such a dataset in an option.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import numpy as np
from pydantic import Field, JsonValue

from models.contract.errors import InvalidDataset
from models.data.columns import SPACES
from models.data.kind import Content, DatasetKind, SplitOptions, UploadedFile
from models.data.problems import Problems
from models.data.text_lines import read_lines, shown

HEADER_FIELDS = 2
MOST_DIMENSIONS = 4_096


class VectorsOptions(SplitOptions):
    """Options of the kind ``vectors``."""

    validation_fraction: float = Field(default=0.0, ge=0, le=0, description="Word vectors are not split: 0.")
    test_fraction: float = Field(default=0.0, ge=0, le=0, description="Word vectors are not split: 0.")


class Vectors(DatasetKind):
    """Word vectors."""

    name = "vectors"
    title = "Word vectors (a word and its numbers a line)"
    options: ClassVar[type[SplitOptions]] = VectorsOptions

    def read(self, files: Mapping[str, UploadedFile], options: SplitOptions) -> Content:
        """Return words and vectors; of a word that comes again the first counts."""
        del options
        if set(files) != {"train"}:
            part = next((name for name in files if name != "train"), "train")
            raise InvalidDataset.at(f"/{part}", "send the word vectors as one part, 'train'")
        problems = Problems()
        words, rows, again = _read(files["train"], problems)
        problems.check()
        notes: list[JsonValue] = [f"{again} words came again; the first vector of each counts."] if again else []
        arrays = {
            "words": np.array(words, dtype=np.dtypes.StringDType()),
            "vectors": np.stack(rows),
        }
        return Content({"train": arrays}, {"dimensions": int(arrays["vectors"].shape[1]), "notes": notes})

    def facts(self, content: Content) -> dict[str, JsonValue]:
        """Return the number of words and the mean length of their vectors."""
        vectors = content.splits["train"]["vectors"]
        return {"words": len(vectors), "mean_norm": round(float(np.linalg.norm(vectors, axis=1).mean()), 6)}

    def preview(self, content: Content, split: str, count: int) -> list[dict[str, JsonValue]]:
        """Return words with their vectors."""
        arrays = content.splits[split]
        pairs = zip(arrays["words"][:count].tolist(), arrays["vectors"][:count].tolist(), strict=True)
        return [{"word": cast("str", word), "vector": vector} for word, vector in pairs]


KIND = Vectors()


def _read(file: UploadedFile, problems: Problems) -> tuple[list[str], list[np.ndarray], int]:
    words: dict[str, None] = {}
    rows: list[np.ndarray] = []
    size = again = 0
    for number, line in enumerate(read_lines("train", file, problems), start=1):
        word, *numbers = SPACES.split(line.strip())
        if not word or (number == 1 and len(numbers) + 1 == HEADER_FIELDS and word.isdigit() and numbers[0].isdigit()):
            continue
        size = size or min(len(numbers), MOST_DIMENSIONS)
        vector = _vector(numbers, size)
        if vector is None:
            detail = f"needs a word and {size or 'its'} finite numbers, as many as the lines before"
            problems.add(
                "train", f"{shown(file)} line {number}: {detail}; it has {len(numbers)} fields behind the word"
            )
        elif word in words:
            again += 1
        else:
            words[word] = None
            rows.append(vector)
    if not rows and problems.count == 0:
        problems.add("train", f"{shown(file)}: holds no vector; write a word and its numbers a line")
    return list(words), rows, again


def _vector(numbers: list[str], size: int) -> np.ndarray | None:
    """Return the numbers if they are ``size`` finite ones, else None."""
    if not numbers or len(numbers) != size:
        return None
    try:
        vector = np.array([float(item) for item in numbers])
    except ValueError:
        return None
    return vector.astype(np.float32) if bool((np.abs(vector) <= np.finfo(np.float32).max).all()) else None

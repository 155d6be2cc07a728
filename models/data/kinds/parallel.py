"""Sentence pairs for translation: two files, line by line, or one file of tab-separated pairs.

Parts: ``train_source`` with ``train_target``, or ``train`` with a pair a line; ``validation…`` and ``test…`` alike,
plain or gzipped. Arrays of a split: ``sources`` and ``targets`` (pairs,) text, normalized. Facts: the names of both
languages, ``lowercase``, how long sentences are, and which pairs were left out, cut or there more than once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, cast

import numpy as np
from pydantic import Field, JsonValue, StringConstraints, model_validator

from models.contract.errors import InvalidDataset
from models.contract.task import Array, Split
from models.data.kind import Content, DatasetKind, SplitOptions, UploadedFile
from models.data.problems import Problems
from models.data.texts.pairs import Pairs, PairsRead, read_pairs
from models.data.texts.segmentation import words_of

SPLITS = ("train", "validation", "test")
RULES = (
    "Accents are composed (Unicode NFC), white space is one space between words and none at the ends.",
    "Pairs that are empty on both sides are left out, in every split.",
    "Lengths are words: letters and digits with apostrophes between them; each other mark is one.",
)

Language = Annotated[str, StringConstraints(min_length=1, max_length=50, strip_whitespace=True)]


class ParallelOptions(SplitOptions):
    """Options of the kind ``parallel``."""

    source: Language = Field(default="source", description="Name of the language that is translated, such as en.")
    target: Language = Field(default="target", description="Name of the language it is translated into, such as de.")
    lowercase: bool = Field(default=False, description="Whether letters are made small, here and in requests.")
    longest: int = Field(
        default=100, ge=1, le=1_000, description="Most words of either side of a training pair; see too_long."
    )
    too_long: Literal["drop", "cut"] = Field(
        default="drop", description="Whether longer training pairs are left out, or cut behind so many words."
    )

    @model_validator(mode="after")
    def _two_languages(self) -> ParallelOptions:
        if self.source == self.target:
            message = f"source and target are both '{self.source}'; give two names"
            raise ValueError(message)
        return self


class Parallel(DatasetKind):
    """Sentences with their translations."""

    name = "parallel"
    title = "Sentence pairs (two files of lines, or tsv)"
    options: ClassVar[type[SplitOptions]] = ParallelOptions

    def read(self, files: Mapping[str, UploadedFile], options: SplitOptions) -> Content:
        """Return the pairs of each split; see the module docstring for the names of parts."""
        assert isinstance(options, ParallelOptions)
        _check_parts(files)
        problems = Problems()
        named = (options.source, options.target)
        found: dict[str, PairsRead] = {}
        for split in SPLITS:
            if split in files or f"{split}_source" in files:
                found[split] = read_pairs(split, files, named, problems, lowercase=options.lowercase)
        problems.check()
        changes: dict[str, JsonValue] = {f"empty_{split}": read.empty for split, read in found.items() if read.empty}
        splits = {split: read.pairs for split, read in found.items()}
        splits["train"], too_long = _shortened(splits["train"], options)
        if not len(splits["train"]):
            detail = f"no pair is at most {options.longest} words long; raise the option 'longest', or cut: too_long"
            raise InvalidDataset.at("/train", detail)
        if too_long:
            changes["dropped" if options.too_long == "drop" else "cut"] = too_long
        return Content(
            {name: _split(pairs) for name, pairs in splits.items()},
            {
                "languages": {"source": options.source, "target": options.target},
                "lowercase": options.lowercase,
                "changes": changes,
                "rules": [*RULES, _length_rule(options)],
            },
        )

    def facts(self, content: Content) -> dict[str, JsonValue]:
        """Return lengths of both sides per split, and how many pairs are there more than once."""
        sides: dict[str, dict[str, list[str]]] = {
            name: {side: _texts(split[f"{side}s"]) for side in ("source", "target")}
            for name, split in content.splits.items()
        }
        duplicated: dict[str, JsonValue] = {}
        seen = set(zip(*sides["train"].values(), strict=True))
        for name, texts in sides.items():
            pairs = list(zip(*texts.values(), strict=True))
            duplicated[name] = len(pairs) - len(set(pairs))
            if name != "train":
                duplicated[f"{name}_also_in_train"] = sum(pair in seen for pair in pairs)
        words: dict[str, JsonValue] = {
            name: {side: _lengths(texts) for side, texts in own.items()} for name, own in sides.items()
        }
        return {"words_per_sentence": words, "duplicated": duplicated}

    def preview(self, content: Content, split: str, count: int) -> list[dict[str, JsonValue]]:
        """Return the first pairs; a source is what ``translate`` takes."""
        arrays = content.splits[split]
        pairs = zip(_texts(arrays["sources"][:count]), _texts(arrays["targets"][:count]), strict=True)
        return [{"source": source, "target": target} for source, target in pairs]


KIND = Parallel()


def _check_parts(files: Mapping[str, UploadedFile]) -> None:
    known = {split + side for split in SPLITS for side in ("", "_source", "_target")}
    for part in files:
        if part not in known:
            listed = "train_source and train_target (and validation_…, test_…), or train, validation, test"
            raise InvalidDataset.at(f"/{part}", f"is not a part of sentence pairs; use {listed}")
    for split in SPLITS:
        sides = [side for side in ("source", "target") if f"{split}_{side}" in files]
        if sides and split in files:
            raise InvalidDataset.at(f"/{split}", f"comes beside '{split}_{sides[0]}'; send either two files or one")
        if len(sides) == 1:
            missing = "target" if sides == ["source"] else "source"
            raise InvalidDataset.at(f"/{split}_{missing}", f"is missing beside '{split}_{sides[0]}'; send both")
    if "train" not in files and "train_source" not in files:
        detail = "is missing; send two files as 'train_source' and 'train_target', or one of tab-separated pairs"
        raise InvalidDataset.at("/train", detail)


def _length_rule(options: ParallelOptions) -> str:
    done = "left out" if options.too_long == "drop" else f"cut behind {options.longest}"
    return f"Training pairs with more than {options.longest} words on either side are {done}; others are kept whole."


def _shortened(pairs: Pairs, options: ParallelOptions) -> tuple[Pairs, int]:
    """Return the training pairs that are not too long, or all of them cut, and how many were too long."""
    kept, count = Pairs([], []), 0
    for source, target in zip(pairs.sources, pairs.targets, strict=True):
        words = [words_of(text) for text in (source, target)]
        if max(map(len, words)) <= options.longest:
            kept.add(source, target)
            continue
        count += 1
        if options.too_long == "cut":
            kept.add(*("".join(own[: options.longest]).strip() for own in words))
    return kept, count


def _split(pairs: Pairs) -> Split:
    dtype = np.dtypes.StringDType()
    return {"sources": np.array(pairs.sources, dtype), "targets": np.array(pairs.targets, dtype)}


def _texts(array: Array) -> list[str]:
    return cast("list[str]", array.tolist())


def _lengths(texts: list[str]) -> dict[str, JsonValue]:
    lengths = [len(words_of(text)) for text in texts]
    return {"mean": round(sum(lengths) / len(lengths), 2), "longest": max(lengths)}

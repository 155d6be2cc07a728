"""Labelled texts: csv, tsv or jsonl files with a text and a label each.

Parts: ``train``, optional ``validation`` and ``test``, plain or gzipped. Arrays of a split: ``texts`` (examples,) text
and ``labels`` (examples,) int64 indices into ``meta["classes"]``. Facts: ``lowercase``, the class balance, and how long
the texts are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, cast

import numpy as np
from pydantic import Field, JsonValue, StringConstraints, model_validator

from models.contract.task import Split
from models.data.kind import Content, DatasetKind, SplitOptions, UploadedFile
from models.data.problems import Problems, check_parts
from models.data.texts.labelled import Columns, LabelledTexts, read_labelled
from models.data.texts.tokens import WORD, normalized

PARTS = ("train", "validation", "test")
MOST_CLASSES = 10_000

RULES = (
    "Accents are composed (Unicode NFC).",
    "Words are letters and digits with apostrophes between them; each other mark is a token, white space is none.",
)

Column = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class LabelledTextOptions(SplitOptions):
    """Options of the kind ``labelled_text``."""

    text: Column = Field(default="text", description="Column, or key of jsonl, with the text.")
    label: Column = Field(default="label", description="Column, or key of jsonl, with the label.")
    lowercase: bool = Field(default=False, description="Whether letters are made small, here and in requests.")

    @model_validator(mode="after")
    def _two_columns(self) -> LabelledTextOptions:
        if self.text == self.label:
            message = f"text and label are both '{self.text}'; name two columns"
            raise ValueError(message)
        return self


class LabelledText(DatasetKind):
    """Texts with a label each."""

    name = "labelled_text"
    title = "Texts with a label (csv, tsv, jsonl)"
    options: ClassVar[type[SplitOptions]] = LabelledTextOptions
    stratify = "labels"

    def read(self, files: Mapping[str, UploadedFile], options: SplitOptions) -> Content:
        """Return texts and labels of each split; the training part decides the classes."""
        assert isinstance(options, LabelledTextOptions)
        foreign = f"is not a part of labelled text; use {', '.join(PARTS)}"
        check_parts(files, PARTS, foreign, "is missing; send a csv, tsv or jsonl file as 'train'")
        problems = Problems()
        columns = Columns(options.text, options.label)
        found = {part: read_labelled(part, files[part], columns, problems) for part in PARTS if part in files}
        problems.check()
        classes = sorted(set(found["train"].labels))
        _check_classes(classes, found, problems)
        splits = {part: _split(read, classes, lowercase=options.lowercase) for part, read in found.items()}
        meta: dict[str, JsonValue] = {
            "classes": list(classes),
            "lowercase": options.lowercase,
            "rules": [f"Column '{options.text}' is the text, '{options.label}' the label.", *RULES],
        }
        return Content(splits, meta)

    def facts(self, content: Content) -> dict[str, JsonValue]:
        """Return class balance and lengths per split."""
        classes = cast("list[str]", content.meta["classes"])
        texts = {name: cast("list[str]", split["texts"].tolist()) for name, split in content.splits.items()}
        balance: dict[str, JsonValue] = {
            name: dict(zip(classes, np.bincount(split["labels"], minlength=len(classes)).tolist(), strict=True))
            for name, split in content.splits.items()
        }
        return {"class_balance": balance, "words_per_text": {name: _lengths(of) for name, of in texts.items()}}

    def preview(self, content: Content, split: str, count: int) -> list[dict[str, JsonValue]]:
        """Return texts and labels; a text is what ``classify`` takes."""
        classes = cast("list[str]", content.meta["classes"])
        arrays = content.splits[split]
        pairs = zip(arrays["texts"][:count].tolist(), arrays["labels"][:count].tolist(), strict=True)
        return [{"text": text, "label": classes[label]} for text, label in pairs]


KIND = LabelledText()


def _check_classes(classes: list[str], found: Mapping[str, LabelledTexts], problems: Problems) -> None:
    if len(classes) == 1:
        problems.add("train", f"every label is '{classes[0][:50]}'; a classifier needs two or more")
    if len(classes) > MOST_CLASSES:
        problems.add("train", f"{len(classes)} different labels; at most {MOST_CLASSES} are learnt. Is it the label?")
    known = set(classes)
    for part, read in found.items():
        for label, line in zip(read.labels, read.lines, strict=True):
            if label not in known:
                detail = f"{read.place} line {line}: the label '{label[:50]}' does not occur in 'train'"
                problems.add(part, f"{detail}; add examples of it there, or leave the row out")
    problems.check()


def _split(read: LabelledTexts, classes: list[str], *, lowercase: bool) -> Split:
    index = {label: position for position, label in enumerate(classes)}
    texts = [normalized(text, lowercase=lowercase) for text in read.texts]
    labels = np.array([index[label] for label in read.labels], np.int64)
    return {"texts": np.array(texts, np.dtypes.StringDType()), "labels": labels}


def _lengths(texts: list[str]) -> dict[str, JsonValue]:
    lengths = [len(WORD.findall(text)) for text in texts]
    return {"mean": round(sum(lengths) / len(lengths), 2), "longest": max(lengths)}

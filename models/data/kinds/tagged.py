"""Tagged sentences: a token and its tag a line, in columns, an empty line between sentences; CoNLL-U as well.

Parts: ``train``, optional ``validation`` and ``test``, plain or gzipped. Columns are divided by tabs, or by spaces
where the first line of a file has no tab. Arrays of a split: ``tokens``, ``tags`` and ``column_{n}`` for each further
column asked for, (sentences,) StringDType, the tokens of a sentence or what belongs to them divided by line feeds. Tags
of spans are kept in IOB2 whatever they were written in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, cast

import numpy as np
from pydantic import Field, JsonValue

from models.contract.errors import InvalidDataset
from models.contract.task import Split
from models.data.columns import Sentence, read_columns
from models.data.kind import Content, DatasetKind, SplitOptions, UploadedFile
from models.data.problems import Problems, check_parts
from models.data.tag_schemes import LETTERS, OUTSIDE, WrittenScheme, converted, illegal_at, parts_of, scheme_of
from models.data.text_lines import shown

PARTS = ("train", "validation", "test")
SEPARATOR = "\n"
MOST_TAGS = 1_000
MOST_TOLD = 5
"""Tags, or places, that a note names."""

Column = Annotated[int, Field(ge=-1_000, le=1_000)]


class TaggedOptions(SplitOptions):
    """Options of the kind ``tagged``."""

    token: Column | None = Field(default=None, description="Column of the token, from 0; 0, in CoNLL-U 1, unless said.")
    tag: Column | None = Field(
        default=None, description="Column of the tag; the last, in CoNLL-U 3 (the universal tag), unless said."
    )
    features: tuple[Column, ...] = Field(
        default=(), max_length=16, description="Further columns that models may learn from, such as a part of speech."
    )
    scheme: Literal["auto", "bio", "iob1", "bioes", "none"] = Field(
        default="auto", description="How spans are written; none: each token has a label of its own. auto finds out."
    )
    illegal: Literal["repair", "refuse"] = Field(
        default="repair", description="What happens to tags that break the rules of the scheme."
    )


class Tagged(DatasetKind):
    """Tagged sentences."""

    name = "tagged"
    title = "Tagged sentences (columns, CoNLL-U)"
    options: ClassVar[type[SplitOptions]] = TaggedOptions

    def read(self, files: Mapping[str, UploadedFile], options: SplitOptions) -> Content:
        """Return the splits found in ``files``, their tags checked and in IOB2."""
        assert isinstance(options, TaggedOptions)
        foreign = f"is not a part of tagged sentences; use {', '.join(PARTS)}"
        check_parts(files, PARTS, foreign, "is missing; send a file of columns as 'train'")
        problems, notes = Problems(), list[str]()
        found: dict[str, list[Sentence]] = {}
        for part in PARTS:
            if part in files:
                found[part] = read_columns(part, files[part], options, problems, notes)
        problems.check()
        scheme = scheme_of(item.tags for item in found["train"]) if options.scheme == "auto" else options.scheme
        for part, sentences in found.items():
            _check_tags(part, files[part], sentences, scheme, options, problems, notes)
        problems.check()
        splits = {part: _split(sentences, scheme, len(options.features)) for part, sentences in found.items()}
        return Content(splits, _meta(splits, scheme, options, notes))

    def facts(self, content: Content) -> dict[str, JsonValue]:
        """Return tokens, longest sentence and tags per split, and tags that train never has."""
        tags = {name: Counter(_flat(split["tags"])) for name, split in content.splits.items()}
        known = tags["train"]
        unseen: dict[str, JsonValue] = {
            name: dict(sorted((tag, count) for tag, count in counts.items() if tag not in known))
            for name, counts in tags.items()
            if set(counts) - set(known)
        }
        lengths = {
            name: [text.count(SEPARATOR) + 1 for text in split["tokens"].tolist()]
            for name, split in content.splits.items()
        }
        return {
            "tags": cast("list[JsonValue]", sorted(known)),
            "tag_counts": {name: cast("JsonValue", dict(sorted(counts.items()))) for name, counts in tags.items()},
            "tags_unseen_in_train": unseen,
            "tokens": {name: sum(counts) for name, counts in lengths.items()},
            "longest_sentence": {name: max(counts) for name, counts in lengths.items()},
        }

    def preview(self, content: Content, split: str, count: int) -> list[dict[str, JsonValue]]:
        """Return tokens and tags, and further columns as ``tag`` takes them."""
        arrays = content.splits[split]
        columns = [name for name in arrays if name not in ("tokens", "tags")]
        shown_: list[dict[str, JsonValue]] = []
        for index in range(min(count, len(arrays["tokens"]))):
            rows = {name: cast("JsonValue", str(arrays[name][index]).split(SEPARATOR)) for name in arrays}
            example = {"tokens": rows["tokens"], "tags": rows["tags"]}
            if columns:
                example["features"] = [rows[name] for name in sorted(columns)]
            shown_.append(example)
        return shown_


KIND = Tagged()


def column_name(position: int) -> str:
    """Return the array of the further column at ``position`` of the option ``features``."""
    return f"column_{position}"


def _flat(sentences: np.ndarray) -> list[str]:
    return [tag for text in sentences.tolist() for tag in str(text).split(SEPARATOR)]


def _split(sentences: list[Sentence], scheme: WrittenScheme, features: int) -> Split:
    """Return the arrays; tags of spans in IOB2."""

    def joined(texts: list[list[str]]) -> np.ndarray:
        return np.array([SEPARATOR.join(items) for items in texts], dtype=np.dtypes.StringDType())

    kept = "none" if scheme == "none" else "bio"
    arrays = {
        "tokens": joined([item.tokens for item in sentences]),
        "tags": joined([converted(item.tags, kept) for item in sentences]),
    }
    for position in range(features):
        arrays[column_name(position)] = joined([item.features[position] for item in sentences])
    return arrays


def _check_tags(
    part: str,
    file: UploadedFile,
    sentences: list[Sentence],
    scheme: WrittenScheme,
    options: TaggedOptions,
    problems: Problems,
    notes: list[str],
) -> None:
    """Refuse tags that cannot be of the scheme; refuse or count, as asked, those in an order that it does not have."""
    illegal: list[int] = []
    for sentence in sentences:
        if scheme != "none":
            letters = (*LETTERS[scheme], OUTSIDE)
            for tag, line in zip(sentence.tags, sentence.lines, strict=True):
                letter, label = parts_of(tag)
                if letter not in letters or bool(label) == (letter == OUTSIDE):
                    wanted = f"O or one of {', '.join(LETTERS[scheme])} with a hyphen and a label"
                    problems.add(
                        part, f"{shown(file)} line {line}: the tag '{tag[:40]}' is not {wanted}, as {scheme} has"
                    )
        broken = illegal_at(sentence.tags, scheme)
        if broken is not None:
            line = sentence.lines[min(broken, len(sentence.lines) - 1)]
            illegal.append(line)
            if options.illegal == "refuse":
                at = min(broken, len(sentence.tags) - 1)
                problems.add(part, f"{shown(file)} line {line}: '{sentence.tags[at]}' may not stand here in {scheme}")
    if illegal and options.illegal == "repair":
        first = ", ".join(str(line) for line in illegal[:MOST_TOLD])
        notes.append(
            f"{part}: {len(illegal)} of {len(sentences)} sentences have tags that {scheme} does not allow (first at "
            f"line {first}); they were read as conlleval reads them: a span begins wherever the one before has ended."
        )


def _meta(
    splits: Mapping[str, Split], scheme: WrittenScheme, options: TaggedOptions, notes: list[str]
) -> dict[str, JsonValue]:
    distinct = len(set(_flat(splits["train"]["tags"])))
    if distinct > MOST_TAGS:
        detail = f"has {distinct} different tags; at most {MOST_TAGS} are learnt. Does 'tag' name the right column?"
        raise InvalidDataset.at("/train", detail)
    asked = "" if options.scheme == "auto" else ", as asked"
    rule = (
        f"Each token has a label of its own{asked}."
        if scheme == "none"
        else f"Tags are spans written in {scheme}{asked}; they are kept and answered in bio (IOB2)."
    )
    return {
        "scheme": "none" if scheme == "none" else "bio",
        "written_scheme": scheme,
        "features": list(options.features),
        "rules": [rule],
        "notes": list[JsonValue](notes),
    }

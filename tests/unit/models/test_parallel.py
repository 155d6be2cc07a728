"""Sentence pairs: two files or one, what is reported of them, and what is wrong with them, with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from models.contract.errors import InvalidDataset
from models.data.kind import Content, UploadedFile
from models.data.kinds.parallel import KIND


def _read(folder: Path, parts: dict[str, bytes | str], **options: object) -> Content:
    files: dict[str, UploadedFile] = {}
    for part, data in parts.items():
        path = folder / part
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        files[part] = UploadedFile(f"{part}.txt", path)
    return KIND.read(files, KIND.options.parse(options))


def _refused(folder: Path, parts: dict[str, bytes | str], **options: object) -> list[tuple[str, str]]:
    with pytest.raises(InvalidDataset) as refused:
        _read(folder, parts, **options)
    return [(item.pointer, item.detail) for item in refused.value.errors]


def _pairs(content: Content, split: str = "train") -> list[tuple[str, str]]:
    arrays = content.splits[split]
    return list(zip(arrays["sources"].tolist(), arrays["targets"].tolist(), strict=True))


def test_two_files_and_one_give_the_same_pairs(tmp_path: Path) -> None:
    """Line by line, plain or gzipped, or separated by tabs with or without a header."""
    wanted = [("a man", "ein Mann"), ("two  men".replace("  ", " "), "zwei Männer")]
    two = _read(
        tmp_path, {"train_source": gzip.compress(b"a man\ntwo  men\n"), "train_target": "ein Mann\nzwei Männer\n"}
    )
    plain = _read(tmp_path, {"train": "a man\tein Mann\ntwo men\tzwei Männer\n"})
    named = {"source": "en", "target": "de"}
    header = _read(tmp_path, {"train": "id\tde\ten\n1\tein Mann\ta man\n2\tzwei Männer\ttwo men\n"}, **named)
    assert _pairs(two) == _pairs(plain) == _pairs(header) == wanted


def test_facts_tell_lengths_duplicates_and_what_was_left_out(tmp_path: Path) -> None:
    """Empty pairs, pairs that are too long, pairs there twice and pairs of the test that are trained on."""
    train = "a b c\tx\na\ty\n\n\t\na\ty\nb\tz\n"
    content = _read(tmp_path, {"train": train, "test": "a\ty\nq q q q\tr\n"}, longest=2)
    assert content.meta["changes"] == {"empty_train": 2, "dropped": 1}
    assert _pairs(content) == [("a", "y"), ("a", "y"), ("b", "z")]
    facts = KIND.facts(content)
    assert facts["duplicated"] == {"train": 1, "test": 0, "test_also_in_train": 1}
    assert facts["words_per_sentence"] == {
        "train": {"source": {"mean": 1.0, "longest": 1}, "target": {"mean": 1.0, "longest": 1}},
        "test": {"source": {"mean": 2.5, "longest": 4}, "target": {"mean": 1.0, "longest": 1}},
    }


def test_long_training_pairs_can_be_cut_and_those_of_the_test_never_are(tmp_path: Path) -> None:
    """As the option says."""
    content = _read(tmp_path, {"train": "a b, c\tx y z!\n", "test": "a b c\tx\n"}, longest=3, too_long="cut")
    assert _pairs(content) == [("a b,", "x y z")]
    assert _pairs(content, "test") == [("a b c", "x")]
    assert content.meta["changes"] == {"cut": 1}


def test_letters_are_made_small_and_accents_composed(tmp_path: Path) -> None:
    """Here as in requests."""
    content = _read(tmp_path, {"train": "A\tMa\u0308nner\n"}, lowercase=True)
    assert _pairs(content) == [("a", "männer")]


@pytest.mark.parametrize(
    ("parts", "pointer", "detail"),
    [
        pytest.param(
            {"train_source": "a\nb\nc\n", "train_target": "x\n"},
            "/train_target",
            "'train_source' has 3 lines and 'train_target' has 1; ",
            id="files of different length",
        ),
        pytest.param(
            {"train_source": "a\n\nc\n", "train_target": "x\ny\nz\n"},
            "/train_source",
            "line 2: the source is empty and the other side is not",
            id="empty on one side",
        ),
        pytest.param(
            {"train_source": b"a\nb\xff\n", "train_target": "x\ny\n"},
            "/train_source",
            "train_source.txt line 2: the text is not UTF-8: byte 0xff at position 2",
            id="invalid UTF-8",
        ),
        pytest.param({"train": "a\tb\nc\n"}, "/train", "train.txt line 2: 1 tab-separated columns", id="no tab"),
        pytest.param({"train_source": "a\n"}, "/train_target", "is missing beside 'train_source'", id="half a pair"),
        pytest.param({"train": "a\tb\n", "trial": ""}, "/trial", "is not a part of sentence pairs", id="foreign"),
        pytest.param({"test": "a\tb\n"}, "/train", "is missing; send two files", id="no train"),
        pytest.param({"train": "\n\n"}, "/train", "holds no sentence", id="nothing"),
        pytest.param({"train": f"{'a ' * 200}\tb\n"}, "/train", "no pair is at most 100 words", id="all too long"),
        pytest.param(
            {"train": f"{'a' * 30_000}\tb\n"},
            "/train",
            "train.txt line 1: the source is longer than 20000 characters",
            id="endless",
        ),
        pytest.param(
            {"train_source": f"a\n{'a' * 30_000}\n", "train_target": "x\ny\n"},
            "/train_source",
            "line 2: the source is longer than 20000 characters",
            id="endless source",
        ),
        pytest.param(
            {"train_source": "a\nb\n", "train_target": f"x\n{'y' * 30_000}\n"},
            "/train_target",
            "line 2: the target is longer than 20000 characters",
            id="endless target",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, parts: dict[str, bytes | str], pointer: str, detail: str
) -> None:
    found = _refused(tmp_path, parts)
    assert found[0][0] == pointer
    assert found[0][1].startswith(detail)

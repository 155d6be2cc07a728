"""MNIST, and what comes in the same files, from ``LECTERN_DATA``: as uploads and as arrays."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from models.contract.task import Array
from models.data.images.idx import read_idx

PARTS = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}


def files(corpus: str = "mnist") -> dict[str, Path]:
    """Return the four idx files by upload part; ends the program with a sentence when they are not there."""
    folder = Path(os.environ.get("LECTERN_DATA", "data")) / corpus
    found = {part: folder / name for part, name in PARTS.items()}
    missing = [path for path in found.values() if not path.exists()]
    if missing:
        sys.exit(
            f"{missing[0]} is missing: set LECTERN_DATA to a folder that holds {corpus}/ with the four idx .gz files."
        )
    return found


def arrays() -> dict[str, Array]:
    """Return images (count, 28, 28) and labels (count,) uint8 by part."""
    return {part: read_idx(part, path, 3 if part.endswith("images") else 1) for part, path in files().items()}

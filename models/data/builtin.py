"""Datasets that come with Lectern: handwritten digits, and generated worlds, which are drawn when they are asked for.

``digits``: 1,797 handwritten digits of 8 × 8 pixels with values 0 to 16, 10 classes. Source: E. Alpaydin and
C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository (1998),
https://doi.org/10.24432/C50P49, the test set of it, CC BY 4.0.

``sprites`` and ``ellipses``: images with the factors behind them (``worlds/sprites.py``).
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from models.data.kind import UploadedFile

NAMES = ("digits", "ellipses", "sprites")

KINDS = {"digits": "images", "ellipses": "factors", "sprites": "factors"}

OPTIONS: dict[str, dict[str, object]] = {
    "digits": {"value_range": [0, 16]},
    "ellipses": {"world": "ellipses"},
    "sprites": {"world": "sprites"},
}


def upload(name: str) -> dict[str, UploadedFile]:
    """Return the files of a built-in dataset as if they had been uploaded; a generated one has none."""
    if "world" in OPTIONS[name]:
        return {}
    path = files("models.data") / f"{name}.npz"
    return {"train": UploadedFile(filename=f"{name}.npz", path=Path(str(path)))}

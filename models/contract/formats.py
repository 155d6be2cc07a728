"""The formats that parts are exported to, and the names of their files."""

from __future__ import annotations

from typing import Literal

Format = Literal["onnx", "torchscript"]

SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".pt"}

"""The answer to a request: JSON, or JSON with the bytes of tensors behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import orjson

from app.serving.oip.arrays import DATATYPES, sent_as
from app.serving.oip.requests import Asked, Wanted
from models.contract.manifest import Manifest
from models.contract.task import Array, Arrays


def write(manifest: Manifest, asked: Asked, found: Arrays) -> tuple[bytes, int | None]:
    """Return the body, and how many of its bytes are the JSON if tensors follow it."""
    tail: list[bytes] = []
    outputs: list[dict[str, object]] = []
    for wanted in asked.outputs:
        values = found[wanted.tensor.name]
        if wanted.classes:
            outputs.append(_classes(wanted, values, cast("Sequence[str]", manifest.meta.get("classes") or ()), tail))
            continue
        output: dict[str, object] = {
            "name": wanted.tensor.name,
            "datatype": DATATYPES[wanted.tensor.dtype],
            "shape": values.shape,
        }
        if wanted.binary:
            data = np.asarray(values, sent_as(wanted.tensor.dtype)).tobytes()
            output["parameters"] = {"binary_data_size": len(data)}
            tail.append(data)
        else:
            output["data"] = np.ascontiguousarray(values).reshape(-1)
        outputs.append(output)
    answer: dict[str, object] = {
        "model_name": manifest.model,
        "model_version": str(manifest.version),
        "outputs": outputs,
    }
    if asked.id is not None:
        answer["id"] = asked.id
    text = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join((text, *tail)), len(text)) if tail else (text, None)


def _classes(wanted: Wanted, values: Array, labels: Sequence[str], tail: list[bytes]) -> dict[str, object]:
    """Return the largest values of each row as ``score:index:label`` (Triton's extension)."""
    rows = values.reshape(values.shape[0], -1)
    count = min(wanted.classes, rows.shape[1])
    order = np.argsort(-rows, axis=1, kind="stable")[:, :count]
    texts = [
        f"{row[index]:f}:{index}" + (f":{labels[index]}" if index < len(labels) else "")
        for row, ranked in zip(rows, order, strict=True)
        for index in ranked
    ]
    output: dict[str, object] = {"name": wanted.tensor.name, "datatype": "BYTES", "shape": [len(rows), count]}
    if wanted.binary:
        encoded = [text.encode() for text in texts]
        data = b"".join(len(text).to_bytes(4, "little") + text for text in encoded)
        output["parameters"] = {"binary_data_size": len(data)}
        tail.append(data)
    else:
        output["data"] = texts
    return output

"""The forms in which the picture is sent, what is wrong in bad requests of each, and whether an answer is right."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import orjson
from numpy.typing import ArrayLike

from benchmarks.serving.answers import Answer
from benchmarks.serving.model import BenchModel

TOLERANCE = 1e-4
HEADER_LENGTH = "Inference-Header-Content-Length"
OUTPUTS = ({"name": "probabilities"},)


@dataclass(frozen=True)
class Form(ABC):
    """One way to send the picture to ``path`` and to read the answer."""

    model: BenchModel
    path: str
    headers: Mapping[str, str]
    """Sent with every request, such as a key."""

    media_type: ClassVar[str] = "application/json"

    @abstractmethod
    def good(self) -> bytes:
        """Return the request."""

    @abstractmethod
    def bad(self) -> Sequence[bytes]:
        """Return eight requests, each wrong in another way."""

    @abstractmethod
    def probabilities(self, answer: Answer) -> ArrayLike:
        """Return what a successful answer says, in the order of the classes."""

    def right(self, answer: Answer) -> bool:
        """Return whether ``answer`` is a success and says what the graph does."""
        if answer.status != 200:
            return False
        expected = self.model.outputs["probabilities"].reshape(-1)
        try:
            found = np.asarray(self.probabilities(answer), dtype=np.float64).reshape(-1)
        except (LookupError, ValueError, TypeError):
            return False
        return found.shape == expected.shape and bool(np.allclose(found, expected, atol=TOLERANCE))

    def request(self, body: bytes, **more: str) -> bytes:
        """Return ``body`` as a request; ``more`` are headers with _ for -."""
        headers = {"Host": "localhost", "Content-Type": self.media_type, **self.headers}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        headers["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self.path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def compact(value: object) -> bytes:
    """Return JSON as short as it gets; arrays of float32 with as few digits as they need."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


class OipJson(Form):
    """The Open Inference Protocol with values as JSON."""

    def good(self) -> bytes:
        """Return the request."""
        return self._asking()

    def bad(self) -> Sequence[bytes]:
        """Return wrong shapes, types, names, values, and what is no request at all."""
        flat = self.model.images.reshape(-1)
        nested = [[row.tolist() for row in self.model.images[0]]]
        nested[0][3] = nested[0][3][:-1]
        return (
            self._asking(shape=[1, 28, 27], data=flat[: 28 * 27]),
            self._asking(shape=[2, 28, 28]),
            self._asking(datatype="INT64"),
            self._asking(name="pictures"),
            self._asking(data=["0.5"] * flat.size),
            self._asking(data=nested),
            self.request(b'{"inputs": [{"name": "images", '),
            self.request(b"{}"),
        )

    def probabilities(self, answer: Answer) -> ArrayLike:
        """Return the data of the only output."""
        (output,) = json.loads(answer.body)["outputs"]
        return output["data"]

    def _asking(self, **other: object) -> bytes:
        data = self.model.images.reshape(-1)
        tensor = {"name": "images", "shape": [1, 28, 28], "datatype": "FP32", "data": data}
        return self.request(compact({"inputs": [tensor | other], "outputs": OUTPUTS}))


class OipBinary(Form):
    """The same with the values as bytes behind the JSON: the extension for binary tensors, in both directions."""

    media_type = "application/octet-stream"

    def good(self) -> bytes:
        """Return the request."""
        return self._asking()

    def bad(self) -> Sequence[bytes]:
        """Return wrong shapes, types, names and lengths, and what is no request at all."""
        data = self.model.images.tobytes()
        return (
            self._asking(shape=[1, 28, 27]),
            self._asking(shape=[2, 28, 28]),
            self._asking(datatype="INT64"),
            self._asking(name="pictures"),
            self._asking(parameters={"binary_data_size": len(data) - 4}),
            self._asking(data=data[:-1]),
            self.request(data, **{HEADER_LENGTH: str(len(data) + 1)}),
            self.request(data, **{HEADER_LENGTH: "some"}),
        )

    def probabilities(self, answer: Answer) -> ArrayLike:
        """Return the bytes behind the JSON, which must announce them."""
        length = re.search(rb"inference-header-content-length: *(\d+)", answer.head)
        header = int(length[1]) if length else len(answer.body)
        (output,) = json.loads(answer.body[:header])["outputs"]
        size = output["parameters"]["binary_data_size"]
        return np.frombuffer(answer.body[header : header + size], "<f4")

    def _asking(self, data: bytes | None = None, **other: object) -> bytes:
        data = self.model.images.astype("<f4").tobytes() if data is None else data
        tensor: dict[str, Any] = {"name": "images", "shape": [1, 28, 28], "datatype": "FP32"}
        tensor["parameters"] = {"binary_data_size": self.model.images.nbytes}
        header = compact(
            {
                "inputs": [tensor | other],
                "outputs": OUTPUTS,
                "parameters": {"binary_data_output": True},
            }
        )
        return self.request(header + data, **{HEADER_LENGTH: str(len(header))})


class BarePng(Form):
    """The picture as a file, without any JSON around it."""

    media_type = "image/png"

    def good(self) -> bytes:
        """Return the request."""
        return self.request(self.model.png())

    def bad(self) -> Sequence[bytes]:
        """Return damaged and wrong pictures, and what is none."""
        png = self.model.png()
        low = BenchModel(b"", self.model.pixels[:-1]).png()
        narrow = BenchModel(b"", np.ascontiguousarray(self.model.pixels[:, :-1])).png()
        bodies = (png[: len(png) // 2], png[:20], low, narrow, b"", b"no picture", png[:200] + png[210:], bytes(1000))
        return [self.request(body) for body in bodies]

    def probabilities(self, answer: Answer) -> ArrayLike:
        """Return the probabilities of the labels that are named; of the others, what they should be."""
        (prediction,) = json.loads(answer.body)["predictions"]
        expected = self.model.outputs["probabilities"].reshape(-1)
        named = {int(item["label"]): item["probability"] for item in prediction["top"]}
        return [named.get(index, value) for index, value in enumerate(expected)]


class Inputs(Form):
    """``{"inputs": …}`` with nested values, as LitServe's and BentoML's examples have it."""

    def good(self) -> bytes:
        """Return the request."""
        return self._asking(self.model.images)

    def bad(self) -> Sequence[bytes]:
        """Return wrong shapes and values, and what is no request at all."""
        images = self.model.images
        ragged: list[Any] = images.tolist()
        ragged[0][3] = ragged[0][3][:-1]
        wrong: Sequence[object] = (
            images[:, :, :-1].copy(),
            images[0],
            [[["a"] * 28] * 28],
            None,
            {"images": 1},
            ragged,
        )
        return (
            *map(self._asking, wrong),
            self.request(b'{"inputs": [[['),
            self.request(b"{}"),
        )

    def probabilities(self, answer: Answer) -> ArrayLike:
        """Return the list, with or without a name."""
        said: Any = json.loads(answer.body)
        return cast("ArrayLike", said["probabilities"] if isinstance(said, dict) else said)

    def _asking(self, inputs: object) -> bytes:
        return self.request(compact({"inputs": inputs}))


class Constant(OipJson):
    """The JSON request, to which a bare server answers something else."""

    def right(self, answer: Answer) -> bool:
        """Return whether it is a success."""
        return answer.status == 200

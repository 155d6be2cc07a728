"""The codec of classification: what it reads, how it ranks, and that nothing a client sends breaks it."""

from __future__ import annotations

import base64
import dataclasses
import io
import struct
import time
import tracemalloc
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from models.classification.task import TASK, ClassifyRequest, classify
from models.contract.errors import LecternError, ValidationFailed
from models.contract.task import Arrays, ServedModel, answer
from models.contract.tensors import PartSignature, TensorSignature

CLASSES = ["ant", "bee", "cat", "dog"]


def _model(channels: int | None = None, value_range: tuple[float, float] = (0, 255)) -> ServedModel:
    shape = (2, 3) if channels is None else (2, 3, channels)
    facts = {"height": 2, "width": 3, "channels": channels, "classes": CLASSES, "value_range": list(value_range)}
    signature = PartSignature(
        inputs=(TensorSignature(name="images", shape=("batch", *shape)),),
        outputs=(TensorSignature(name="probabilities", shape=("batch", 4), quantity="probabilities"),),
    )
    meta = {**facts, "pixel_mean": 0.0, "pixel_standard_deviation": 1.0}
    return ServedModel("m", "f", {}, meta, {}, {"classifier": signature})


class _Recorder:
    """A runtime that keeps what it was given and answers with fixed probabilities."""

    def __init__(self, *rows: Sequence[float]) -> None:
        self.rows = np.array(rows or [[0.1, 0.2, 0.3, 0.4]], dtype=np.float32)
        self.images = np.empty(0)

    def __call__(self, part: str, arrays: Arrays) -> Arrays:
        assert part == "classifier"
        self.images = arrays["images"]
        return {"probabilities": np.resize(self.rows, (len(self.images), 4))}


def _ask(*inputs: object, model: ServedModel | None = None, run: _Recorder | None = None, top: int = 5) -> Any:  # noqa: ANN401 - predictions are read by key
    request = ClassifyRequest(inputs=inputs, top=top)
    return answer(classify(model or _model(), request), run or _Recorder())


def _png(size: tuple[int, int] = (3, 2), mode: str = "L", kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(size[0] * size[1], dtype=np.uint8).reshape(size[1], size[0])).convert(mode).save(
        buffer, kind
    )
    return buffer.getvalue()


def _encoded(data: bytes) -> dict[str, str]:
    return {"image": base64.b64encode(data).decode()}


NUMBERS = [[0, 1, 2], [3, 4, 5]]


def test_labels_are_ranked_by_probability() -> None:
    """The likeliest first, equal ones in the order of the classes, at most ``top`` of them."""
    run = _Recorder([0.2, 0.5, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25])
    first, second = _ask(NUMBERS, NUMBERS, run=run, top=3)
    assert [item["label"] for item in first["top"]] == ["bee", "ant", "cat"]
    assert (first["label"], first["index"], first["probability"]) == ("bee", 1, 0.5)
    assert [item["label"] for item in second["top"]] == ["ant", "bee", "cat"]


def test_many_equal_labels_keep_the_order_of_the_classes() -> None:
    """Beyond some sixteen numbers numpy's default sort is no longer stable."""
    names = [f"class {index:03}" for index in range(300)]
    model = dataclasses.replace(_model(), meta={**_model().meta, "classes": names})
    probabilities = np.tile(np.array([0.0, 0.25, 0.5], dtype=np.float32), (1, 100))
    request = ClassifyRequest(inputs=(NUMBERS,), top=300)
    (prediction,) = answer(classify(model, request), lambda _part, _arrays: {"probabilities": probabilities})
    assert [item["label"] for item in cast("Any", prediction)["top"]] == names[2::3] + names[1::3] + names[0::3]


def test_top_beyond_the_classes_returns_all() -> None:
    (prediction,) = _ask(NUMBERS, top=100)
    probabilities = [item["probability"] for item in prediction["top"]]
    assert len(probabilities) == 4
    assert probabilities == sorted(probabilities, reverse=True)


def test_predictions_follow_the_inputs() -> None:
    run = _Recorder()
    assert len(_ask(NUMBERS, np.array(NUMBERS) * 2, run=run)) == 2
    assert run.images.dtype == np.float32
    assert run.images.tolist() == [NUMBERS, [[0, 2, 4], [6, 8, 10]]]


@pytest.mark.parametrize(
    "value",
    [NUMBERS, [0, 1, 2, 3, 4, 5], [[[0], [1], [2]], [[3], [4], [5]]], [[0.0, 1.0, 2.0], [3, 4, 5]], _encoded(_png())],
    ids=["nested", "flat", "one channel", "mixed", "png"],
)
def test_forms_of_one_image_are_the_same(value: object) -> None:
    run = _Recorder()
    _ask(value, run=run)
    assert run.images.tolist() == [NUMBERS]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param([[0, 1], [2, 3]], r"has shape \[2, 2\]; the model takes \[2, 3\]", id="too small"),
        pytest.param([[0, 1], [2, 3], [4, 5]], r"has shape \[3, 2\]", id="turned"),
        pytest.param([0, 1, 2, 3, 4], r"has shape \[5\]", id="five numbers"),
        pytest.param([], r"has shape \[0\]", id="empty"),
        pytest.param([[0, 1, 2], [3, 4]], "is ragged", id="ragged"),
        pytest.param([[0, 1, float("nan")], [3, 4, 5]], "NaN or infinite", id="NaN"),
        pytest.param([[0, 1, float("inf")], [3, 4, 5]], "NaN or infinite", id="infinite"),
        pytest.param([[0, 1, 1e300], [3, 4, 5]], "NaN or infinite", id="beyond float32"),
        pytest.param([[0, 1, 10**400], [3, 4, 5]], "not a number", id="beyond float64"),
        pytest.param([["0", "1", "2"], ["3", "4", "5"]], "not a number", id="text"),
        pytest.param([[True, False, True]] * 2, "not a number", id="truths"),
        pytest.param([[None, 1, 2], [3, 4, 5]], "not a number", id="null"),
        pytest.param("image", "must be nested numbers", id="string"),
        pytest.param(None, "must be nested numbers", id="nothing"),
        pytest.param({"picture": ""}, "must be nested numbers", id="other key"),
        pytest.param({"image": 3}, "must be nested numbers", id="image is a number"),
        pytest.param({"image": "", "more": 1}, "must be nested numbers", id="two keys"),
        pytest.param({"image": "no base64!"}, "/inputs/1/image: is not valid base64", id="not base64"),
        pytest.param({"image": "é"}, "is not valid base64", id="not ascii"),
        pytest.param(_encoded(b"junk"), "is not a PNG or JPEG", id="base64 of junk"),
        pytest.param(_encoded(b""), "is not a PNG or JPEG", id="no bytes"),
        pytest.param(_encoded(_png(kind="GIF")), "is not a PNG or JPEG", id="gif"),
        pytest.param(_encoded(_png((2, 3))), r"is 2 × 3 pixels; it must be 3 × 2", id="png turned"),
        pytest.param(_encoded(_png()[:-26]), "damaged or cut off", id="png cut off"),
    ],
)
def test_wrong_input_is_refused_by_its_position(value: object, reason: str) -> None:
    """The second of three is wrong: the pointer says so, and no run is asked for."""
    codec = classify(_model(), ClassifyRequest(inputs=(NUMBERS, value, NUMBERS)))
    with pytest.raises(ValidationFailed, match=reason) as refused:
        next(codec)
    assert refused.value.errors[0].pointer.startswith("/inputs/1")


def _header_only(width: int, height: int) -> bytes:
    """Return a PNG of a signature, a header and the beginning of its data."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 1000) + b"IDAT" + zlib.compress(bytes(8))[:4]


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (20_000, 20_000), (3, 2_000_000_000), (1, 1)])
def test_picture_of_another_size_is_refused_by_its_header(width: int, height: int) -> None:
    """2.5 billion pixels would be 2.5 GB: the header alone is read, in no time."""
    started = time.process_time()
    with pytest.raises(ValidationFailed, match="pixels"):
        _ask(_header_only(width, height))
    assert time.process_time() - started < 0.5


def test_header_without_pixels_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="damaged or cut off"):
        _ask(_header_only(3, 2))


def test_picture_cut_off_anywhere_is_refused_or_whole() -> None:
    """Every prefix of a PNG and a JPEG: never another exception, and no picture from half the data."""
    for whole in (_png(), _png(kind="JPEG")):
        run = _Recorder()
        _ask(whole, run=run)
        wanted = run.images.tolist()
        for cut in range(len(whole)):
            try:
                _ask(whole[:cut], run=run)
            except LecternError:
                continue
            assert run.images.tolist() == wanted


@pytest.mark.parametrize(
    ("mode", "channels", "shape"),
    [("L", None, (2, 3)), ("RGB", None, (2, 3)), ("L", 1, (2, 3, 1)), ("L", 3, (2, 3, 3))],
)
def test_pictures_are_brought_to_the_channels_of_the_model(mode: str, channels: int | None, shape: Any) -> None:  # noqa: ANN401 - a shape
    run = _Recorder()
    _ask(_png(mode=mode), model=_model(channels), run=run)
    assert run.images.shape == (1, *shape)
    assert run.images[0].reshape(2, 3, -1)[:, :, 0].tolist() == NUMBERS


def test_pictures_are_mapped_to_the_value_range() -> None:
    """White is the largest value of the dataset, black the smallest; numbers are taken as they are."""
    picture = io.BytesIO()
    Image.fromarray(np.array([[0, 255, 0], [51, 0, 0]], dtype=np.uint8)).save(picture, "PNG")
    run = _Recorder()
    _ask(picture.getvalue(), model=_model(value_range=(-1, 1)), run=run)
    np.testing.assert_allclose(run.images, [[[-1, 1, -1], [-0.6, -1, -1]]], rtol=1e-6)
    _ask(NUMBERS, model=_model(value_range=(-1, 1)), run=run)
    assert run.images.tolist() == [NUMBERS]


def test_picture_of_sixteen_bits_keeps_its_scale() -> None:
    picture = io.BytesIO()
    Image.fromarray(np.array([[0, 65_535, 0], [32_896, 0, 0]], dtype=np.uint16)).save(picture, "PNG")
    run = _Recorder()
    _ask(picture.getvalue(), run=run)
    np.testing.assert_allclose(run.images, [[[0, 255, 0], [128, 0, 0]]], rtol=1e-6)


@pytest.mark.parametrize("body", [{"inputs": []}, {"inputs": [NUMBERS], "top": 0}, {"inputs": [NUMBERS], "tpo": 1}, {}])
def test_wrong_requests_are_refused(body: Mapping[str, object]) -> None:
    with pytest.raises(ValidationFailed):
        ClassifyRequest.parse(body)


def test_evaluation_counts_what_is_right() -> None:
    """Three of five are of the class that is always answered; more images than one request holds are asked in turn."""
    split = {"images": np.zeros((505, 2, 3), np.uint8), "labels": np.array([3, 3, 0, 3, 1] * 101)}
    evaluation = TASK.evaluation(_model(), split)
    query, asked = next(evaluation), 0
    with pytest.raises(StopIteration) as stop:  # noqa: PT012 - the generator ends by raising
        while True:
            request = cast("ClassifyRequest", query.request)
            asked += len(request.inputs)
            query = evaluation.send(_ask(*request.inputs, top=request.top))
    assert asked == 505
    assert stop.value.value == pytest.approx({"accuracy": 0.6, "error": 0.4})


def test_one_long_text_among_numbers_costs_nothing() -> None:
    """Numpy would make every value as wide as the text: 100 kB of it times 6,000 values."""
    tracemalloc.start()
    try:
        with pytest.raises(ValidationFailed, match="not a number"):
            _ask([["a" * 100_000, *range(6_000)], [1, 2, 3]])
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()

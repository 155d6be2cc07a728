"""The explanations of ``classify``: occlusion with a known answer, insides by name, and what cannot be given."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.classification.explanation import MOST_INPUTS
from models.classification.task import TASK, ClassifyRequest
from models.contract.errors import ValidationFailed
from models.contract.task import Arrays, ServedModel, answer
from models.contract.tensors import PartSignature, TensorSignature

MEAN = 7.0
VERB = TASK.verbs["classify"]
CLASSIFIER = PartSignature(
    inputs=(TensorSignature(name="images", shape=("batch", 6, 8)),),
    outputs=(TensorSignature(name="probabilities", shape=("batch", 2), quantity="probabilities"),),
)
INSIDES = PartSignature(
    inputs=CLASSIFIER.inputs,
    outputs=(
        TensorSignature(name="first", shape=("batch", 3, 6, 8)),
        TensorSignature(name="first_kernels", shape=("batch", 3, 1, 2, 2)),
    ),
)
KERNELS = np.arange(12, dtype=np.float32).reshape(3, 1, 2, 2)
IMAGE = np.zeros((6, 8), np.float32)
IMAGE[2, 5] = 200


def _model(*, insides: bool = True) -> ServedModel:
    meta = {"height": 6, "width": 8, "channels": None, "classes": ["dark", "bright"], "value_range": [0, 255]}
    meta |= {"pixel_mean": MEAN, "pixel_standard_deviation": 1.0}
    signatures = {"classifier": CLASSIFIER} | ({"insides": INSIDES} if insides else {})
    return ServedModel("m", "spotter", {}, meta, {}, signatures)


def _run(part: str, arrays: Arrays) -> Arrays:
    """Call an image bright for the one pixel at (2, 5) only."""
    images = arrays["images"]
    assert images.dtype == np.float32
    if part == "insides":
        maps = images[:, None] * np.array([1, 2, 3], np.float32)[:, None, None]
        return {"first": maps, "first_kernels": np.repeat(KERNELS[None], len(images), axis=0)}
    bright = np.where(images[:, 2, 5] > 100, 0.9, 0.2).astype(np.float32)
    return {"probabilities": np.stack([1 - bright, bright], axis=1)}


def _ask(explain: dict[str, Any], count: int = 1, *, insides: bool = True) -> Any:  # noqa: ANN401 - read by key
    request = ClassifyRequest.parse({"inputs": [IMAGE.tolist()] * count, "explain": explain})
    return answer(VERB.codec(_model(insides=insides), request), _run)


def test_occlusion_points_at_the_one_pixel_that_matters() -> None:
    """With patches of one pixel the map is the loss at that pixel, 0.9 − 0.2, and nothing anywhere else."""
    (prediction,) = _ask({"occlusion": {"size": 1, "stride": 1}})
    expected = np.zeros((6, 8))
    expected[2, 5] = 0.7
    assert prediction["label"] == "bright"
    assert np.allclose(prediction["explanation"]["occlusion"], expected, atol=1e-6)


@pytest.mark.parametrize(("size", "stride"), [(2, 1), (3, 2), (4, 3)])
def test_occlusion_averages_over_the_patches_that_cover_a_pixel(size: int, stride: int) -> None:
    """Counted by hand: of the patches over a pixel, the share that covers (2, 5) too, times the loss."""
    (prediction,) = _ask({"occlusion": {"size": size, "stride": stride}})
    rows, columns = [sorted({*range(0, side - size, stride), side - size}) for side in (6, 8)]
    patches = [(row, column) for row in rows for column in columns]

    def over(row: int, column: int) -> set[tuple[int, int]]:
        return {(top, left) for top, left in patches if 0 <= row - top < size and 0 <= column - left < size}

    expected = [[0.7 * len(over(y, x) & over(2, 5)) / len(over(y, x)) for x in range(8)] for y in range(6)]
    assert np.allclose(prediction["explanation"]["occlusion"], expected, atol=1e-6)


def test_insides_are_returned_by_layer() -> None:
    first, second = _ask({"feature_maps": ["first"], "kernels": True}, count=2)
    for prediction in (first, second):
        explanation = prediction["explanation"]
        assert explanation.keys() == {"feature_maps", "kernels"}
        assert np.array_equal(explanation["feature_maps"]["first"][2], 3 * IMAGE)
        assert np.array_equal(explanation["kernels"]["first"], KERNELS)


def test_all_layers_are_returned_when_asked_for() -> None:
    (prediction,) = _ask({"feature_maps": True})
    assert set(prediction["explanation"]["feature_maps"]) == {"first"}


def test_nothing_asked_is_nothing_explained() -> None:
    assert _ask({})[0]["explanation"] == {}


@pytest.mark.parametrize(
    ("explain", "insides", "reason"),
    [
        ({"feature_maps": ["second"]}, True, "/explain/feature_maps/0: there is no layer 'second'; use: first"),
        ({"feature_maps": ["first"]}, False, "'spotter' has none; it can be asked for 'occlusion'"),
        ({"kernels": True}, False, "/explain/kernels: the family 'spotter' has none"),
        ({"occlusion": {"size": 6}}, True, "/explain/occlusion/size: 6 covers a whole side"),
        ({"occlusion": {"size": 2, "stride": 3}}, True, "/explain/occlusion/stride: 3 leaves pixels uncovered"),
        ({"occlusion": {"size": 0}}, True, "greater than or equal to 1"),
        ({"saliency": True}, True, "does not exist"),
        ({"feature_maps": False}, True, "feature_maps"),
    ],
)
def test_what_cannot_be_explained_is_said(explain: dict[str, Any], *, insides: bool, reason: str) -> None:
    with pytest.raises(ValidationFailed, match=reason):
        _ask(explain, insides=insides)


def test_too_many_inputs_are_refused() -> None:
    with pytest.raises(ValidationFailed, match=f"at most {MOST_INPUTS} inputs"):
        _ask({"occlusion": True}, count=MOST_INPUTS + 1)


def test_picture_shows_every_input() -> None:
    """One row each: the sheet of two inputs is twice as high as that of one, and holds the colours of both signs."""
    assert VERB.picture
    heights: list[int] = []
    for count in (1, 2):
        request: Any = VERB.picture.complete(_model(), ClassifyRequest(inputs=(IMAGE,) * count))
        predictions = answer(VERB.codec(_model(), request), _run)
        with Image.open(io.BytesIO(VERB.picture.draw(_model(), request, predictions))) as picture:
            assert picture.format == "PNG"
            heights.append(picture.height)
            pixels = np.asarray(picture.convert("RGB"))
        assert (pixels == [178, 24, 43]).all(axis=2).any()
    assert heights[1] - 12 == 2 * (heights[0] - 12)

"""What the blocks of the convolutional network make of images of a size, and which of them are refused, and how."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.classification.cnn.block import ConvolutionBlock, stages
from models.classification.cnn.spec import CnnConfig, CnnTraining, check
from models.contract.errors import ValidationFailed
from models.nn.convolution import Placement, cross_correlate

FACTS: dict[str, Any] = {
    "height": 28,
    "width": 28,
    "channels": None,
    "classes": [str(index) for index in range(10)],
    "value_range": [0, 255],
    "pixel_mean": 100.0,
    "pixel_standard_deviation": 50.0,
}


def _images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(2)) * 255


# --- sizes (Goodfellow §9.5) -----------------------------------------------------------------------------------------

GEOMETRIES = list(itertools.product(range(1, 12), (1, 2, 3, 4, 5), (1, 2, 3), (1, 2)))


@pytest.mark.parametrize("padding", ["valid", "same", "full"])
def test_padding_gives_the_sizes_of_its_name_and_the_layer_agrees(padding: str) -> None:
    """Valid n − k + 1, same n, full n + k − 1, then every s-th place; both axes, each with numbers of its own."""
    for (n, k, s, d), (m, c) in zip(GEOMETRIES, itertools.cycle([(5, 2), (9, 3), (4, 4)]), strict=False):
        reach = (k - 1) * d + 1
        places = {"valid": n - reach + 1, "same": n, "full": n + reach - 1}[padding]
        options = {"channels": 1, "kernel": [k, c], "stride": [s, 1], "dilation": [d, 1], "padding": padding}
        blocks = (ConvolutionBlock.parse(options),)
        if places < 1:
            with pytest.raises(ValidationFailed, match="/config/blocks/0/kernel"):
                stages(blocks, 1, (n, m))
            continue
        (stage,) = stages(blocks, 1, (n, m))
        assert stage.maps == (-(-places // s), {"valid": m - c + 1, "same": m, "full": m + c - 1}[padding])
        placement = Placement(stage.pads, stage.block.stride, stage.block.dilation)
        assert cross_correlate(torch.zeros(1, 1, n, m), torch.zeros(1, 1, k, c), placement).shape[2:] == stage.maps


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "wanted"),
    [(5, 3, 1, (1, 1)), (5, 4, 1, (1, 2)), (5, 3, 2, (1, 1)), (6, 3, 2, (0, 1)), (7, 2, 3, (0, 1)), (8, 1, 4, (0, 0))],
)
def test_same_puts_the_odd_zero_below_and_to_the_right(
    side: int, kernel: int, stride: int, wanted: tuple[int, int]
) -> None:
    """As many zeros as the last place needs, and no more; of an odd number the greater part comes last."""
    block = ConvolutionBlock.parse({"kernel": kernel, "stride": stride})
    (stage,) = stages((block,), 1, (side, side))
    assert stage.pads == (wanted, wanted)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_same_equals_what_torch_calls_so(kernel: int) -> None:
    """At stride 1, where torch has it, even kernels included."""
    (stage,) = stages((ConvolutionBlock.parse({"kernel": kernel}),), 1, (7, 9))
    images, kernels = _images(1, 1, 7, 9), _images(2, 1, kernel, kernel)
    wanted = functional.conv2d(images, kernels, padding="same")
    torch.testing.assert_close(cross_correlate(images, kernels, Placement(stage.pads)), wanted)


@pytest.mark.parametrize(("padding", "holds"), [("full", True), ("same", False)])
def test_full_visits_every_pixel_with_every_tap(padding: str, *, holds: bool) -> None:
    """With a kernel of ones the maps sum to the pixels times the taps; at the border of ``same`` some are missing."""
    (stage,) = stages((ConvolutionBlock.parse({"kernel": [3, 2], "padding": padding}),), 1, (5, 6))
    images = _images(1, 1, 5, 6)
    maps = cross_correlate(images, torch.ones(1, 1, 3, 2), Placement(stage.pads))
    assert torch.allclose(maps.sum(), 6 * images.sum()) is holds


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "pointer", "words"),
    [
        ({"blocks": [{"kernel": 5, "padding": "valid"}] * 7}, "/config/blocks/6/kernel", "conv7 sees only 4 × 4"),
        ({"blocks": [{"pooling": {}}] * 6}, "/config/blocks/4/pooling", "maps of conv5 have only 1 × 1"),
        ({"blocks": [{"groups": 2}]}, "/config/blocks/0/groups", "the 1 channels that conv1 sees"),
        ({"blocks": [{"channels": 512}, {"channels": 9, "groups": 3}]}, "/config/blocks/1/groups", "the 512 channels"),
        ({"hidden_sizes": [16_000, 16_000]}, "/config/hidden_sizes/1", "more than 50,000,000"),
        (
            {"blocks": [{"padding": "full", "kernel": 64, "dilation": 64}]},
            "/config/hidden_sizes/0",
            "weights",
        ),
        (
            {"blocks": [{"padding": "full", "kernel": 64, "dilation": 20, "pooling": {"size": 64}}]},
            "/config/blocks/0/channels",
            "feature maps of conv1",
        ),
        ({"augmentation": {"shift": 28}}, "/config/augmentation/shift", "out of sight"),
    ],
)
def test_what_cannot_work_on_these_images_is_refused(config: dict[str, Any], pointer: str, words: str) -> None:
    """Before the job exists, naming the block and the remedy; the same network on larger images is no matter."""
    with pytest.raises(ValidationFailed, match=words) as refused:
        check(CnnConfig.parse(config), CnnTraining(), FACTS)
    assert [item.pointer for item in refused.value.errors] == [pointer]


def test_a_batch_that_no_memory_holds_is_refused_with_the_largest_that_is_not() -> None:
    config = CnnConfig.parse({"blocks": [{"channels": 1024, "pooling": {"size": 7}}]})
    with pytest.raises(ValidationFailed, match="use at most 1337") as refused:
        check(config, CnnTraining(batch_size=1338), FACTS)
    assert refused.value.errors[0].pointer == "/training/batch_size"
    check(config, CnnTraining(batch_size=1337), FACTS)


@pytest.mark.parametrize(
    ("block", "pointer"),
    [
        ({"kernel": [3]}, "/kernel"),
        ({"kernel": "3"}, "/kernel"),
        ({"stride": 0}, "/stride/0"),
        ({"channels": 6, "groups": 4}, ""),
        ({"pooling": {"kind": "max", "p": 3}}, "/pooling"),
        ({"pooling": {"kind": "lp", "sigma": 3}}, "/pooling"),
        ({"pooling": {"kind": "lp", "p": 0.5}}, "/pooling/p"),
        ({"kernels": 3}, "/kernels"),
    ],
)
def test_wrong_blocks_are_named(block: dict[str, Any], pointer: str) -> None:
    """The pointer leads into the list, and an option that its kind does not use is an error, too."""
    with pytest.raises(ValidationFailed) as refused:
        CnnConfig.parse({"blocks": [{}, block]}, "/config")
    assert refused.value.errors[0].pointer == f"/config/blocks/1{pointer}"


def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="at least one block"):
        CnnConfig.parse({"blocks": []})

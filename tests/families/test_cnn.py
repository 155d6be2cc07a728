"""The convolutional network against its papers: LeNet-5 by count, feature maps by loops, noise that resumes."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import signal
from torch import Tensor, nn
from torch.nn import functional

from models.classification.cnn.family import CnnFamily
from models.classification.cnn.network import Cnn
from models.classification.cnn.spec import CnnConfig, CnnTraining
from models.contract.formats import Format
from models.contract.training import Plan
from models.data.images.idx import read_idx
from models.nn.convolution import BatchNorm
from workers.exporting.formats import EXPORTERS, write
from workers.exporting.gate import check_parity, traced_sizes
from workers.training import prepare, train

ROOT = Path(__file__).resolve().parents[2]

EVERYTHING: dict[str, Any] = {
    "filter": "sharpen_low",
    "blocks": [
        {"channels": 6, "kernel": [3, 2], "padding": "full", "operation": "convolution", "pooling": {"kind": "lp"}},
        {"channels": 8, "groups": 2, "batch_norm": True, "pooling": {"kind": "weighted_average", "size": 3}},
        {"channels": 4, "kernel": 4, "stride": [1, 2], "batch_norm": True, "activation": "tanh"},
        {"channels": 6, "kernel": [1, 3], "dilation": [1, 2], "pooling": {"kind": "average", "size": [2, 1]}},
    ],
    "hidden_sizes": [12],
    "dropout": 0.3,
    "augmentation": {"shift": 1, "horizontal_flip": True, "rotation": 10},
}
"""Each option of the family at least once, and sides that differ."""


def _facts(height: int, width: int, channels: int | None = None, classes: int = 10) -> dict[str, Any]:
    names = [str(index) for index in range(classes)]
    size = {"height": height, "width": width, "channels": channels}
    return {**size, "classes": names, "value_range": [0, 255], "pixel_mean": 100.0, "pixel_standard_deviation": 50.0}


def _family(config: Mapping[str, object], *size: int) -> CnnFamily:
    return CnnFamily(CnnConfig.parse(config), _facts(*size))


def _build(family: CnnFamily, seed: int = 1) -> Cnn:
    module = family.build(torch.Generator().manual_seed(seed))
    assert isinstance(module, Cnn)
    return module


def _images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(2)) * 255


def _parameters(module: nn.Module) -> list[int]:
    return [parameter.numel() for parameter in module.parameters()]


def _documented() -> list[dict[str, Any]]:
    """Return the configurations of docs/families.md: LeNet-5 and the small modern network."""
    section = (ROOT / "docs/families.md").read_text(encoding="utf-8").split("\n## cnn\n")[1].split("\n## ")[0]
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", section, re.DOTALL)]


# --- LeNet-5 (LeCun et al. 1998, §II.B) ------------------------------------------------------------------------------


def test_lenet_has_its_sizes_and_61706_parameters() -> None:
    """C1 156, C3 with all connections 2,416, C5 48,120, F6 10,164, output 850; maps of 28, 10 and 5 pixels."""
    lenet, _ = _documented()
    small = _build(_family(lenet, 28, 28))
    assert _parameters(small) == [150, 6, 2400, 16, 48_000, 120, 10_080, 84, 840, 10]
    assert sum(_parameters(small)) == 61_706
    assert [tuple(maps.shape[1:]) for _, maps, _ in small.insides(_images(1, 28, 28))] == [(6, 28, 28), (16, 10, 10)]


def test_lenet_on_28_pixels_is_that_on_32_with_a_border_of_zeros() -> None:
    """The paper puts the digits on 32 × 32 pixels and uses no zeros; ``same`` puts them around 28 × 28."""
    lenet, _ = _documented()
    paper = {**lenet, "blocks": [{**lenet["blocks"][0], "padding": "valid"}, lenet["blocks"][1]]}
    narrow = _build(_family({**lenet, "normalization": "none"}, 28, 28)).eval()
    wide = _build(_family({**paper, "normalization": "none"}, 32, 32)).eval()
    wide.load_state_dict(narrow.state_dict())
    images = _images(3, 28, 28) / 255
    torch.testing.assert_close(wide(functional.pad(images, (2, 2, 2, 2))), narrow(images))


def test_documented_networks_have_the_sizes_that_are_claimed() -> None:
    """The default and the small modern network, too."""
    _, modern = _documented()
    assert sum(_parameters(_build(_family(modern, 28, 28)))) == 218_586
    assert sum(_parameters(_build(_family({}, 28, 28)))) == 206_922
    _build(_family({}, 8, 8))


# --- feature maps ----------------------------------------------------------------------------------------------------


def test_feature_maps_equal_scipy() -> None:
    """Colour images, channels last as they come: normalised, correlated, summed over channels, then the ReLU."""
    module = _build(_family({"blocks": [{"channels": 5, "kernel": [3, 2], "padding": "valid"}]}, 7, 9, 3)).eval()
    images = _images(2, 7, 9, 3)
    ((name, maps, kernels),) = module.insides(images)
    bias = dict(module.named_parameters())["blocks.conv1.convolution.bias"].detach().numpy()
    for image, map_ in itertools.product(range(2), range(5)):
        planes = (images[image].numpy() - 100) / 50
        sums = sum(
            signal.correlate2d(planes[:, :, channel], kernels[map_, channel].detach().numpy(), mode="valid")
            for channel in range(3)
        )
        np.testing.assert_allclose(maps[image, map_].detach(), np.maximum(sums + bias[map_], 0), atol=1e-5)
    assert name == "conv1"


def test_insides_are_those_of_the_answer() -> None:
    """Pooling the last maps and going through the layers behind gives the logits; the filter comes first."""
    module = _build(_family(EVERYTHING, 12, 10, 3)).eval()
    images = _images(4, 12, 10, 3)
    found = list(module.insides(images))
    assert [name for name, _, _ in found] == ["filter", "conv1", "conv2", "conv3", "conv4"]
    torch.testing.assert_close(module.layers(functional.avg_pool2d(found[-1][1], (2, 1)).flatten(1)), module(images))


def test_grey_images_are_those_of_one_channel() -> None:
    """(height, width) and (height, width, 1) are the same images."""
    grey, single = _build(_family({}, 12, 10)), _build(_family({}, 12, 10, 1))
    images = _images(3, 12, 10)
    assert torch.equal(grey(images), single(images.unsqueeze(3)))


def test_flipped_kernels_are_another_network_with_the_same_reach() -> None:
    """``convolution`` with kernels K answers as ``cross_correlation`` with K turned by 180°, and not as with K."""
    block = {"channels": 4, "kernel": 3}
    flipped = _build(_family({"blocks": [{**block, "operation": "convolution"}]}, 8, 8)).eval()
    plain = _build(_family({"blocks": [block]}, 8, 8)).eval()
    images = _images(2, 8, 8)
    assert not torch.allclose(flipped(images), plain(images))
    kernels = dict(plain.named_parameters())["blocks.conv1.convolution.weight"]
    with torch.no_grad():
        kernels.copy_(kernels.rot90(2, (2, 3)))
    torch.testing.assert_close(flipped(images), plain(images))


# --- exports ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", EXPORTERS)
@pytest.mark.parametrize(
    ("config", "size"), [(EVERYTHING, (12, 10, 3)), ({}, (28, 28)), ({"filter": "average"}, (8, 9, 1))]
)
def test_every_option_is_exported(format_: Format, config: dict[str, Any], size: tuple[int, ...]) -> None:
    """Both parts equal the module after some steps, with the sizes that their signatures state."""
    family = _family(config, *size)
    module, learner = _started(family, 3)
    for _ in range(3):
        learner.step(_batch(*size))
    exports, generator = family.export(module), torch.Generator().manual_seed(5)
    assert exports.keys() == {"classifier", "insides"}
    for part, export in exports.items():
        graph = write(part, export, format_, family.example(part, traced_sizes(export.signature), generator))
        run = EXPORTERS[format_].open(graph, export.signature)
        differences, probe = check_parity(part, export, format_, run, family, generator)
        assert differences.keys() == {output.name for output in export.signature.outputs}
        for inputs, outputs in probe:
            for tensor in export.signature.outputs:
                assert outputs[tensor.name].shape == (len(inputs["images"]), *tensor.shape[1:])


# --- training --------------------------------------------------------------------------------------------------------


def _started(family: CnnFamily, steps: int, **options: object) -> tuple[nn.Module, Any]:
    generator = torch.Generator().manual_seed(4)
    module = family.build(generator)
    training = CnnTraining.parse({"schedule": "constant", **options})
    return module, family.learner(module, training, Plan.of(24, steps, 24), generator)


def _batch(*size: int) -> dict[str, Tensor]:
    labels = torch.arange(24) % 10
    return {"images": _images(24, *size) / 2 + 10 * labels.reshape(24, *(1 for _ in size)), "labels": labels}


@pytest.mark.parametrize("noise_restored", [True, False])
def test_augmentation_dropout_and_running_statistics_resume_bit_identically(*, noise_restored: bool) -> None:
    """All of it is in the learner's state; the control restarts the noise and ends elsewhere."""
    family, checkpoint = _family(EVERYTHING, 12, 10, 3), io.BytesIO()
    module, learner = _started(family, 8)
    for step in range(8):
        if step == 3:
            torch.save(learner.state(), checkpoint)
        learner.step(_batch(12, 10, 3))
    checkpoint.seek(0)
    state = torch.load(checkpoint, weights_only=True)
    assert any(name.endswith("running_mean") for name in state["module"])
    if not noise_restored:
        state["generator"] = torch.Generator().manual_seed(99).get_state()
    resumed_module, resumed = _started(family, 8)
    resumed.restore(state)
    for _ in range(5):
        resumed.step(_batch(12, 10, 3))
    ends = module.state_dict(), resumed_module.state_dict()
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0]) is noise_restored


def test_every_parameter_moves_and_the_filter_does_not() -> None:
    """None is left out by the graph, groups and batch normalisation included."""
    module, learner = _started(_family(EVERYTHING, 12, 10, 3), 3)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for _ in range(3):
        learner.step(_batch(12, 10, 3))
    moved = {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name for name, _ in module.named_parameters()} <= moved
    assert "filter.kernels" not in moved


def test_batch_norm_learns_a_batch_by_heart_and_answers_so_in_evaluation() -> None:
    """With the running statistics, augmentation and dropout on the way; before it, answers are those of chance."""
    family, batch = _family(_documented()[1], 12, 12), _batch(12, 12)
    module, learner = _started(family, 200)
    examples = family.examples({name: tensor.numpy() for name, tensor in batch.items()}, torch.device("cpu"))
    before = family.evaluate(module, examples)["loss"]
    for _ in range(200):
        learner.step(batch)
    assert before > 2
    assert family.evaluate(module, examples)["loss"] < 0.1


def test_evaluation_uses_running_statistics_and_changes_nothing() -> None:
    """A row alone is answered as in its batch, which batch statistics would not do; training moves them."""
    family = _family(_documented()[1], 12, 12)
    module, learner = _started(family, 2)
    learner.step(_batch(12, 12))
    (first, *_) = (layer for layer in module.modules() if isinstance(layer, BatchNorm))
    assert first.running_mean is not None
    assert bool((first.running_mean != 0).any())
    images, before = _images(5, 12, 12), first.running_mean.clone()
    module.eval()
    torch.testing.assert_close(module(images)[2:3], module(images[2:3]), rtol=1e-4, atol=1e-5)
    assert torch.equal(first.running_mean, before)


def test_a_last_batch_of_one_does_not_stop_a_training_with_batch_norm() -> None:
    """25 examples in batches of 24, and maps of a single pixel at the end."""
    blocks = [{"channels": 4, "batch_norm": True, "padding": "valid", "kernel": 3} for _ in range(2)]
    module, learner = _started(_family({"blocks": blocks}, 5, 5), 1)
    metrics = learner.step({"images": _images(1, 5, 5), "labels": torch.tensor([3])})
    assert np.isfinite(float(metrics["loss"]))
    assert all(bool(parameter.isfinite().all()) for parameter in module.parameters())


# --- MNIST -----------------------------------------------------------------------------------------------------------


class _Silent:
    """An observer that hears nothing."""

    def progress(self, progress: object) -> None: ...

    def epoch(self, epoch: int, metrics: object) -> None: ...

    def checkpoint(self, state: object, step: int) -> None: ...


def _mnist(*, shuffled: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return 20,000 training and all test images; ``shuffled`` moves the pixels of all to the same other places."""
    if "LECTERN_DATA" not in os.environ:
        pytest.skip("LECTERN_DATA names no folder of real corpora")
    folder = Path(os.environ["LECTERN_DATA"]) / "mnist"
    order = np.random.default_rng(1).permutation(784) if shuffled else np.arange(784)
    splits: list[dict[str, Any]] = []
    for part, count in (("train", 20_000), ("t10k", 10_000)):
        images = read_idx("images", folder / f"{part}-images-idx3-ubyte.gz", 3)[:count]
        labels = read_idx("labels", folder / f"{part}-labels-idx1-ubyte.gz", 1)[:count]
        moved = images.reshape(count, 784)[:, order].reshape(count, 28, 28)
        splits.append({"images": moved, "labels": labels.astype(np.int64)})
    return splits[0], splits[1]


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize(("shuffled", "holds"), [(False, True), (True, False)])
def test_mnist_is_learnt_because_neighbours_belong_together(*, shuffled: bool, holds: bool) -> None:
    """98.2 % from a third of the images in three epochs; the control has its pixels shuffled and stays below."""
    training, test = _mnist(shuffled=shuffled)
    facts = _facts(28, 28) | {"pixel_mean": 33.3, "pixel_standard_deviation": 78.6}
    family = CnnFamily(CnnConfig(), facts)
    run = prepare(family, CnnTraining(epochs=3), {"train": training}, torch.device("cpu"))
    train(run, _Silent())
    accuracy = family.evaluate(run.module, family.examples(test, torch.device("cpu")))["accuracy"]
    assert (accuracy >= 0.982) is holds, accuracy

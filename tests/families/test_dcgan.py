"""The convolutional networks: any size of image, the paper's guidelines, and layers that are each other's transpose."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.catalog import Catalog
from models.contract.errors import ValidationFailed
from models.data.images.facts import ImageFacts
from models.generation.adversarial.limits import dense_weights, generator_weights, trunk_weights
from models.nn.transposed import Doubling, Halving

CATALOG = Catalog()
META = {
    "height": 8,
    "width": 6,
    "channels": None,
    "classes": ["a", "b"],
    "value_range": [0, 255],
    "pixel_mean": 100.0,
    "pixel_standard_deviation": 50.0,
}


def test_doubling_is_the_transpose_of_halving() -> None:
    """With the same kernels ⟨halve(x), y⟩ = ⟨x, double(y)⟩ for any maps."""
    random = torch.Generator().manual_seed(0)
    halve = Halving(3, 5, 1.0, random, bias=False)
    double = Doubling(5, 3, 1.0, random, bias=False)
    with torch.no_grad():
        double.weight.copy_(halve.weight)
        large, small = torch.randn(2, 3, 10, 6, generator=random), torch.randn(2, 5, 5, 3, generator=random)
        one, other = (halve(large) * small).sum(), (large * double(small)).sum()
    assert float(one) == pytest.approx(float(other), rel=1e-4)
    assert abs(float(one)) > 1


@pytest.mark.parametrize("family", ["dcgan", "infogan"])
@pytest.mark.parametrize(
    ("shape", "channels"), [((8, 6, None), 2), ((28, 28, None), 2), ((9, 13, 3), 3), ((64, 64, 3), 4)]
)
def test_images_of_any_size_are_drawn_and_judged(
    family: str, shape: tuple[int, int, int | None], channels: int
) -> None:
    """What doubling makes too much is cut off; grey and colour alike."""
    meta = {**META, "height": shape[0], "width": shape[1], "channels": shape[2]}
    sizes = [4] * channels
    config = CATALOG.spec(family).config.parse({"generator_channels": sizes, "discriminator_channels": sizes})
    made: Any = CATALOG.family(family)(config, meta)
    module = made.build(torch.Generator().manual_seed(0))
    images = module.generator(module.prior.draw(3, torch.Generator().manual_seed(1))).detach()
    assert images.shape == (3, *(side for side in shape if side is not None))
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1
    assert module.discriminator(images)[0].shape == (3,)


@pytest.mark.parametrize("family", ["dcgan", "infogan"])
def test_images_too_small_to_be_halved_are_refused_before_training(family: str) -> None:
    spec = CATALOG.spec(family)
    assert spec.check is not None
    config = spec.config.parse({"discriminator_channels": [8, 8, 8, 8]})
    with pytest.raises(ValidationFailed, match="use at most 2 numbers") as refused:
        spec.check(config, spec.training(), META)
    assert [item.pointer for item in refused.value.errors] == ["/config/discriminator_channels"]
    spec.check(spec.config(), spec.training(), META)


def test_layers_begin_as_the_convolutional_paper_says() -> None:
    """Weights from N(0, 0.02²), no normalisation where the image enters or leaves (Radford et al. 2016, §3 and §4)."""
    made: Any = CATALOG.family("dcgan")(CATALOG.spec("dcgan").config(), {**META, "height": 28, "width": 28})
    module = made.build(torch.Generator().manual_seed(0))
    drawn = [parameter for parameter in module.parameters() if parameter.ndim > 1 and parameter.numel() > 1000]
    assert drawn
    for parameter in drawn:
        assert float(parameter.detach().std()) == pytest.approx(0.02, rel=0.05)
    names = [type(layer).__name__ for layer in module.discriminator.trunk.layers]
    assert names == ["Halving", "LeakyReLU", "Halving", "BatchNorm", "LeakyReLU", "Flatten"]
    assert type(module.generator.layers[-1]).__name__ == "Doubling"


@pytest.mark.parametrize("family", ["dcgan", "infogan"])
def test_doublings_far_beyond_the_image_are_refused(family: str) -> None:
    """Maps that would be cut off again cost memory for nothing."""
    spec = CATALOG.spec(family)
    assert spec.check is not None
    with pytest.raises(ValidationFailed, match=r"makes 32 pixels a side of one.*use at most 4 numbers"):
        spec.check(spec.config.parse({"generator_channels": [8] * 5}), spec.training(), META)
    spec.check(spec.config.parse({"generator_channels": [8] * 4}), spec.training(), META)


@pytest.mark.parametrize("family", ["gan", "dcgan", "infogan"])
@pytest.mark.parametrize("side", ["generator", "discriminator"])
def test_networks_that_no_memory_holds_are_refused(family: str, side: str) -> None:
    spec = CATALOG.spec(family)
    assert spec.check is not None
    option = f"{side}_sizes" if family == "gan" else f"{side}_channels"
    large = [16_384, 16_384] if family == "gan" else [4_096, 4_096]
    with pytest.raises(ValidationFailed, match=r"more than 50,000,000; use smaller numbers") as refused:
        spec.check(spec.config.parse({option: large}), spec.training(), META)
    assert [item.pointer for item in refused.value.errors] == [f"/config/{option}"]


@pytest.mark.parametrize("family", ["gan", "dcgan", "infogan"])
def test_weights_are_counted_as_they_are_built(family: str) -> None:
    """The limit counts what build makes: within the few numbers of biases, norms and last layers."""
    spec = CATALOG.spec(family)
    made: Any = CATALOG.family(family)(spec.config(), {**META, "height": 28, "width": 28})
    module = made.build(torch.Generator().manual_seed(0))
    facts = ImageFacts.of({**META, "height": 28, "width": 28})
    config: Any = spec.config()
    if family == "gan":
        counted = dense_weights([config.noise, *config.generator_sizes, 784])
        judged = dense_weights([784, *config.discriminator_sizes, 1])
    else:
        hidden = (config.generator_units,) if family == "infogan" else ()
        shared = (config.discriminator_units, config.posterior_units) if family == "infogan" else (1,)
        counted = generator_weights(made.prior().size, hidden, config.generator_channels, facts)
        judged = trunk_weights(config.discriminator_channels, shared, facts)
    assert sum(item.numel() for item in module.generator.parameters() if item.ndim > 1) == counted
    built = sum(item.numel() for item in module.discriminator.parameters() if item.ndim > 1)
    assert judged <= built <= judged * 1.01

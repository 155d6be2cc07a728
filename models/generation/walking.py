"""Verbs about latents: ``sample`` draws them, ``interpolate`` and ``traverse`` walk through them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import cast

import numpy as np

from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays, Call, Codec, ServedModel
from models.data.images.facts import ImageFacts
from models.generation.codes import Code, Codes
from models.generation.encoding import ENCODER, encoded
from models.generation.images import check_count, generated, images_of
from models.generation.requests import MOST_IMAGES, InterpolateRequest, SampleRequest, TraverseRequest

PRIOR_RANGE = 3.0
"""Of a normal dimension: three standard deviations either way."""

TELLING_DIMENSIONS = 10
INERT_ACTIVITY = 0.01
"""Variance of a dimension's mean over images below which no image moves it (Burda et al. 2016, §5.2)."""

PARALLEL = 1e-6
DIVERGENCES = "divergence_per_dimension"
ACTIVITIES = "activity_per_dimension"


def sample(model: ServedModel, request: SampleRequest) -> Codec:
    """Yield a run of the generator; return an image per latent drawn."""
    check_count(model, request.count, "/count")
    codes = Codes.of(model)
    latents = codes.draw(request.seed, request.count, request.codes, "/codes")
    images = yield from generated(codes, latents)
    named = [(place, name) for place, name in enumerate(codes.labels) if isinstance(name, str)]
    if not named:
        return [{"image": image} for image in images]
    return [
        {"image": image, "codes": {name: _number(codes.code_at(place), latent[place]) for place, name in named}}
        for image, latent in zip(images, latents, strict=True)
    ]


def interpolate(model: ServedModel, request: InterpolateRequest) -> Codec:
    """Yield runs of the encoder where an end is an image, then one of the generator; return the images on the way."""
    check_count(model, request.steps, "/steps")
    codes = Codes.of(model)
    start = yield from _point(model, request.start, "/start")
    end = yield from _point(model, request.end, "/end")
    fractions = np.linspace(0, 1, request.steps)
    latents = between(codes, start, end, fractions, spherical=request.method == "spherical")
    images = yield from generated(codes, latents)
    return [{"image": image} for image in images]


def traverse(model: ServedModel, request: TraverseRequest) -> Codec:
    """Yield a run of the generator over all values of all dimensions; return the images by dimension."""
    codes = Codes.of(model)
    places = _places(model, codes, request.dimensions)
    values = [_values(codes.code_at(place), request) for place in places]
    total = sum(map(len, values))
    if total > MOST_IMAGES:
        raise ValidationFailed.at("/steps", f"times the dimensions is {total} images; at most {MOST_IMAGES} are drawn")
    check_count(model, total, "/steps")
    base = yield from _base(model, codes, request)
    latents = np.repeat(base[None], total, axis=0)
    ends = np.cumsum([len(row) for row in values]).tolist()
    for place, row, end in zip(places, values, ends, strict=True):
        latents[end - len(row) : end, place] = row
    images = yield from generated(codes, latents)
    told = _told(model)
    return [
        {
            "dimension": codes.labels[place],
            "values": [_number(codes.code_at(place), value) for value in row],
            "images": images[end - len(row) : end],
            **(told[place] if told else {}),
        }
        for place, row, end in zip(places, values, ends, strict=True)
    ]


def between(codes: Codes, start: Array, end: Array, fractions: Array, *, spherical: bool) -> Array:
    """Return the latents (steps, width) at ``fractions`` (steps,) of the way; categories change in the middle.

    Spherical: sin((1 − t) ω) / sin ω · start + sin(t ω) / sin ω · end with ω the angle between both, per normally
    distributed code (White 2016, "Sampling Generative Networks", §2.1). Linear where both are parallel, and
    for other numbers.
    """
    away = fractions[:, None].astype(np.float64)
    latents = (1 - away) * start + away * end
    begin = 0
    for code in codes.codes:
        own = slice(begin, begin + code.width)
        begin += code.width
        if code.distribution == "categorical":
            latents[:, own] = np.where(away < 0.5, start[own], end[own])
        elif code.distribution == "normal" and spherical:
            latents[:, own] = _arc(start[own].astype(np.float64), end[own].astype(np.float64), away)
    return latents.astype(np.float32)


def _arc(start: Array, end: Array, away: Array) -> Array:
    lengths = np.linalg.norm(start) * np.linalg.norm(end)
    angle = np.arccos(np.clip(start @ end / lengths, -1, 1)) if lengths > 0 else 0.0
    if np.sin(angle) < PARALLEL:
        return (1 - away) * start + away * end
    return (np.sin((1 - away) * angle) * start + np.sin(away * angle) * end) / np.sin(angle)


def _point(model: ServedModel, value: object, pointer: str) -> Generator[Call, Arrays, Array]:
    """Return the latent (width,) that ``start`` or ``end`` names: an image, a latent, or what a seed draws."""
    codes = Codes.of(model)
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        match sorted(fields):
            case ["input"]:
                return (yield from _mean(model, fields["input"], f"{pointer}/input"))
            case ["image"]:
                return (yield from _mean(model, fields, pointer))
            case ["latent"] if isinstance(fields["latent"], list):
                return codes.latent(cast("list[object]", fields["latent"]), f"{pointer}/latent")
            case ["seed"] | ["codes", "seed"]:
                return _drawn(codes, fields, pointer)
            case _:
                pass
    elif isinstance(value, list) and _is_latent(model, cast("list[object]", value), codes):
        return codes.latent(cast("list[object]", value), pointer)
    elif isinstance(value, list | np.ndarray):
        return (yield from _mean(model, cast("object", value), pointer))
    detail = (
        'must be {"input": image}, {"latent": numbers}, {"seed": n} or {"seed": n, "codes": {…}}, or the first bare'
    )
    raise ValidationFailed.at(pointer, detail)


def _is_latent(model: ServedModel, value: Sequence[object], codes: Codes) -> bool:
    """Return whether a bare list is a latent: plain numbers, not as many as an image has, unless both are the same."""
    if any(isinstance(item, list) for item in value):
        return False
    return len(value) == codes.width or len(value) != int(np.prod(ImageFacts.of(model.meta).shape))


def _drawn(codes: Codes, fields: Mapping[str, object], pointer: str) -> Array:
    seed, given = fields["seed"], fields.get("codes", {})
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise ValidationFailed.at(f"{pointer}/seed", "must be a whole number from 0 to 9223372036854775807")
    if not isinstance(given, dict):
        raise ValidationFailed.at(f"{pointer}/codes", "must be an object: codes by name")
    return codes.draw(seed, 1, cast("dict[str, object]", given), f"{pointer}/codes")[0]


def _mean(model: ServedModel, image: object, pointer: str) -> Generator[Call, Arrays, Array]:
    if ENCODER not in model.signatures:
        detail = "is an image, and this model has no encoder to find its latent; begin at a seed or a latent"
        raise ValidationFailed.at(pointer, detail)
    mean, _ = yield from encoded(images_of(model, [image], [pointer]))
    return mean[0]


def _base(model: ServedModel, codes: Codes, request: TraverseRequest) -> Generator[Call, Arrays, Array]:
    if request.input is not None:
        return (yield from _mean(model, request.input, "/input"))
    if request.latent is not None:
        return codes.latent(request.latent, "/latent")
    return codes.draw(request.seed or 0, 1, request.codes, "/codes")[0]


def _places(model: ServedModel, codes: Codes, dimensions: Sequence[int | str] | None) -> list[int]:
    """Return the places of the latent that are to be varied."""
    if dimensions is None:
        told = _told(model)
        if told:
            order = sorted(range(codes.width), key=lambda place: -cast("float", told[place]["divergence"]))
            return order[:TELLING_DIMENSIONS]
        steered = [place for place in range(codes.width) if codes.code_at(place).steers]
        return (steered or list(range(codes.width)))[:TELLING_DIMENSIONS]
    places: list[int] = []
    for index, dimension in enumerate(dimensions):
        if dimension in codes.labels:
            places.append(codes.labels.index(dimension))
        elif isinstance(dimension, int) and 0 <= dimension < codes.width:
            places.append(dimension)
        else:
            names = [label for label in codes.labels if isinstance(label, str)]
            named = f", or by name: {', '.join(names)}" if names else ""
            detail = f"is no dimension of this model; they are counted from 0 to {codes.width - 1}{named}"
            raise ValidationFailed.at(f"/dimensions/{index}", detail)
    if len(set(places)) < len(places):
        raise ValidationFailed.at("/dimensions", "names a dimension twice; name each once")
    return places


def _values(code: Code, request: TraverseRequest) -> Array:
    """Return the values that one place takes, float32."""
    if code.distribution == "categorical":
        return np.arange(code.size, dtype=np.float32)
    own = (code.low, code.high) if code.distribution == "uniform" else (-PRIOR_RANGE, PRIOR_RANGE)
    low = own[0] if request.low is None else request.low
    high = own[1] if request.high is None else request.high
    if low >= high:
        raise ValidationFailed.at("/low", f"is {low:g}, not below high, which is {high:g}; swap them")
    return np.linspace(low, high, request.steps, dtype=np.float32)


def _told(model: ServedModel) -> list[dict[str, object]]:
    """Return what the model's card tells of each dimension, nothing of models without an encoder."""
    divergences, activities = model.assets.get(DIVERGENCES), model.assets.get(ACTIVITIES)
    if divergences is None or activities is None:
        return []
    pairs = zip(cast("list[float]", divergences), cast("list[float]", activities), strict=True)
    return [{"inert": activity <= INERT_ACTIVITY, "divergence": divergence} for divergence, activity in pairs]


def _number(code: Code, value: float) -> int | float:
    return int(value) if code.distribution == "categorical" else round(float(value), 6)

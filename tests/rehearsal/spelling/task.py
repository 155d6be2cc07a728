"""Spelling: the name of what an image shows, letter by letter. Verb ``spell``; parts ``encoder`` and ``step``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import numpy as np
from pydantic import Field

from models.contract.config import Options
from models.contract.errors import ValidationFailed
from models.contract.task import Call, Codec, Evaluation, Query, ServedModel, Split, Task, Verb
from models.metrics.accuracy import accuracy

END = 0
"""Index of the end of a word, and of what precedes its first letter; letter k of the alphabet is k + 1."""


class SpellRequest(Options):
    """What to spell."""

    inputs: tuple[tuple[tuple[float, ...], ...], ...] = Field(min_length=1, description="Images of numbers.")


class Spelled(Options):
    """The word for one image."""

    word: str


def spell(model: ServedModel, request: SpellRequest) -> Codec:
    """Yield one run of the encoder, then one of the step per letter until every word has ended."""
    shape = model.signatures["encoder"].inputs[0].shape[1:]
    if any({len(image), *map(len, image)} - set(shape) or len(image) != shape[0] for image in request.inputs):
        raise ValidationFailed.at("/inputs", f"must be images of shape {list(shape)}")
    encoded = yield Call("encoder", {"images": np.asarray(request.inputs, dtype=np.float32)})
    state, previous = encoded["state"], np.full(len(request.inputs), END, dtype=np.int64)
    letters: list[np.ndarray] = []
    for _ in range(cast("int", model.assets["longest"])):
        stepped = yield Call("step", {"state": state, "previous": previous})
        state, previous = stepped["next_state"], stepped["logits"].argmax(axis=1)
        letters.append(previous)
        if (np.stack(letters) == END).any(axis=0).all():
            break
    alphabet = " " + cast("str", model.assets["alphabet"])
    words = ("".join(alphabet[index] for index in row) for row in np.stack(letters, axis=1))
    return [{"word": word.partition(" ")[0]} for word in words]


class Spelling(Task):
    """One word per image."""

    name = "spelling"
    headline = "exact"
    verbs: ClassVar[Mapping[str, Verb]] = {"spell": Verb(SpellRequest, Spelled, spell)}

    def evaluation(self, model: ServedModel, split: Split) -> Evaluation:
        """Spell every image; return the share of words that are right in every letter."""
        classes = cast("list[str]", model.meta["classes"])
        predictions = yield Query("spell", SpellRequest(inputs=split["images"].tolist()))
        words = [cast("str", item["word"]) for item in predictions]
        return {"exact": accuracy(words, [classes[label] for label in split["labels"].tolist()])}


TASK = Spelling()

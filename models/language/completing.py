"""Verb ``complete``: the prompt is read, then one token after another is drawn and read in its turn."""

from __future__ import annotations

import secrets
from collections.abc import Generator

import numpy as np

from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays, Call, Codec, Piece, ServedModel, StreamCodec
from models.data.texts.encoding import LINE_END_INDEX, TextEncoding
from models.data.texts.tokens import LINE_END, space_before
from models.data.vocabulary import UNKNOWN
from models.language.requests import CompleteRequest
from models.language.sampling import Sampler, log_probability

PART = "reader"
STEPS_A_RUN = 1_024
"""Tokens of a prompt that one run reads: other requests get their turn between two runs."""

SEED_BITS = 48


def complete(model: ServedModel, request: CompleteRequest) -> Codec:
    """Yield runs of ``reader``, one per token after the prompt; return the completion."""
    pieces = stream(model, request)
    outputs: Arrays | None = None
    while True:
        try:
            step = next(pieces) if outputs is None else pieces.send(outputs)
        except StopIteration as stop:
            return [stop.value]
        outputs = (yield step) if isinstance(step, Call) else None


def stream(model: ServedModel, request: CompleteRequest) -> StreamCodec:
    """Do the same, and yield each piece of the text as soon as it is sure to belong to the completion.

    Raises:
        ValidationFailed: the model knows no token of the prompt.
    """
    encoding = TextEncoding.of(model.assets)
    prompt = encoding.encode(request.prompt)
    unknown = int((prompt == UNKNOWN).sum())
    if 0 < len(prompt) == unknown:
        detail = f"holds no {encoding.level} that the model has seen; begin with one from its dataset, or with nothing"
        raise ValidationFailed.at("/prompt", detail)
    seed = secrets.randbits(SEED_BITS) if request.seed is None else request.seed
    sampler = Sampler(request.temperature, request.top_k, seed)
    text = _Text(encoding, request.stop, encoding.cut(request.prompt)[-1:])
    reading, state = np.concatenate([[LINE_END_INDEX], prompt]), _start(model)
    drawn, total = 0, 0.0
    while drawn < request.tokens and not text.stopped:
        logits, state = yield from _read(reading, state)
        index = sampler.draw(logits)
        total += log_probability(logits, index)
        drawn += 1
        reading = np.array([index])
        piece = text.add(index)
        if piece:
            yield Piece({"text": piece})
    rest = text.rest()
    if rest:
        yield Piece({"text": rest})
    return {
        "text": text.text,
        "tokens": drawn,
        "ended": "stop" if text.stopped else "tokens",
        "log_probability": total,
        "seed": seed,
        "unknown": unknown,
    }


def _start(model: ServedModel) -> Array:
    """Return the state (1, state) before the first token."""
    width = model.signatures[PART].inputs[2].shape[1]
    assert isinstance(width, int)
    return np.zeros((1, width), np.float32)


def _read(tokens: Array, state: Array) -> Generator[Call, Arrays | None, tuple[Array, Array]]:
    """Return the logits (vocabulary,) behind the last of ``tokens`` (time,), and the state."""
    logits: Array = np.zeros(0)
    for begin in range(0, len(tokens), STEPS_A_RUN):
        run = tokens[None, begin : begin + STEPS_A_RUN]
        outputs = yield Call(PART, {"tokens": run, "lengths": np.array([run.shape[1]]), "state": state})
        assert outputs is not None
        logits, state = outputs["logits"][0], outputs["next_state"]
    return logits, state


class _Text:
    """The completion so far. What could turn out to be the beginning of the stop text is held back."""

    def __init__(self, encoding: TextEncoding, stop: str | None, last: list[str]) -> None:
        self._encoding = encoding
        self._stop = stop
        self._previous = last[0] if last else LINE_END
        self._told = 0
        self.text = ""
        self.stopped = False

    def add(self, index: int) -> str:
        """Add a token; return what can be told."""
        token = self._encoding.token(index)
        self.text += space_before(token, self._previous, self._encoding.level) + token
        self._previous = token
        if self._stop is None:
            return self._tell(len(self.text))
        found = self.text.find(self._stop)
        if found >= 0:
            self.text, self.stopped = self.text[:found], True
            return self._tell(found)
        return self._tell(len(self.text) - len(self._stop) + 1)

    def rest(self) -> str:
        """Return what is not told yet."""
        return self._tell(len(self.text))

    def _tell(self, end: int) -> str:
        piece = self.text[self._told : end]
        self._told = max(self._told, end)
        return piece

"""A task: what may be asked, what is answered, and how an answer is computed from exported parts.

The codec is a generator: it yields a :class:`Call` for each run of a part, receives the part's output
arrays, and returns the predictions. The gateway, the evaluator and the tests drive the same codec;
closing it abandons the request. One graph, Viterbi, beam search, Gibbs sampling and recurrent memory
are all this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
from pydantic import BaseModel

from models.contract.tensors import PartSignature

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = Mapping[str, Array]
Prediction = Mapping[str, object]
Split = Mapping[str, Array]
MadeT = TypeVar("MadeT")


@dataclass(frozen=True)
class Call:
    """One run of an exported part: ``arrays`` by input name, each with a leading batch axis."""

    part: str
    arrays: Arrays


Codec = Generator[Call, Arrays, Sequence[Prediction]]


@dataclass(frozen=True)
class Piece:
    """A part of an answer that is sure before the whole is there, as JSON."""

    content: Prediction


StreamCodec = Generator[Call | Piece, "Arrays | None", Prediction]
"""Like a codec for one prediction, with pieces of it on the way; after a piece it is sent None."""


@dataclass(frozen=True)
class ServedModel:
    """What a codec may know of the model it speaks for; a view of its manifest."""

    name: str
    family: str
    config: Mapping[str, object]
    meta: Mapping[str, object]
    assets: Mapping[str, object]
    signatures: Mapping[str, PartSignature]
    _made: dict[object, object] = field(default_factory=dict[object, object], init=False, repr=False, compare=False)

    def once(self, make: Callable[[ServedModel], MadeT]) -> MadeT:
        """Return what ``make`` makes of this model, such as a vocabulary out of its assets; made for the first request.

        Two requests at once may both make it; one of the two, which are equal, is kept.
        """
        if make not in self._made:
            self._made[make] = make(self)
        return cast("MadeT", self._made[make])


Draw = Callable[[ServedModel, Any, Sequence[Prediction]], bytes]


@dataclass(frozen=True)
class Picture:
    """How a verb answers ``Accept: image/png``.

    Attributes:
        complete: returns the request with what a picture needs asked for, where the client left it open.
        draw: returns the PNG of a request and its predictions.
        further: returns the same in other forms, by media type, such as ``image/svg+xml``.
    """

    complete: Callable[[ServedModel, Any], BaseModel]
    draw: Draw
    further: Mapping[str, Draw] = field(default_factory=dict[str, Draw])


@dataclass(frozen=True)
class Stream:
    """How a verb answers piece by piece, as server-sent events.

    Attributes:
        wanted: returns whether the request asks for it.
        codec: computes the pieces and, at the end, the prediction, which is that of the verb's own codec.
    """

    wanted: Callable[[Any], bool]
    codec: Callable[[ServedModel, Any], StreamCodec]


@dataclass(frozen=True)
class Verb:
    """One thing that can be asked.

    Attributes:
        request: schema of the request; its first field is the list that ``predictions`` follow, or their number, or
            what the one prediction is about.
        prediction: schema of one prediction, for the documentation.
        codec: computes the predictions.
        media: readers of bare bodies by media type, such as ``image/png``.
        picture: how the answer is drawn, if it can be.
        stream: how it comes piece by piece, if it can.
    """

    request: type[BaseModel]
    prediction: type[BaseModel]
    codec: Callable[[ServedModel, Any], Codec]
    media: Mapping[str, Callable[[bytes], BaseModel]] = field(default_factory=dict[str, Callable[[bytes], BaseModel]])
    picture: Picture | None = None
    stream: Stream | None = None


@dataclass(frozen=True)
class Query:
    """One request that the evaluator asks through the codec."""

    verb: str
    request: BaseModel


Evaluation = Generator[Query, Sequence[Prediction], dict[str, float]]


class Task(ABC):
    """A task, once for all its families. Torch-free."""

    name: ClassVar[str]
    verbs: ClassVar[Mapping[str, Verb]]
    headline: ClassVar[str]
    """The metric to show first, such as ``accuracy``."""
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    """Those of the metrics that can be a headline of which less is better."""

    @abstractmethod
    def evaluation(self, model: ServedModel, split: Split) -> Evaluation:
        """Yield requests made from ``split``, receive their predictions, return the metrics."""


def answer(codec: Codec, run: Callable[[str, Arrays], Arrays]) -> Sequence[Prediction]:
    """Drive ``codec`` to its end with ``run(part, arrays)`` and return the predictions."""
    try:
        call = next(codec)
        while True:
            call = codec.send(run(call.part, call.arrays))
    except StopIteration as stop:
        return stop.value


def evaluate(task: Task, model: ServedModel, split: Split, run: Callable[[str, Arrays], Arrays]) -> dict[str, float]:
    """Return the metrics of ``split``, computed through the codec with ``run(part, arrays)``."""
    evaluation = task.evaluation(model, split)
    try:
        query = next(evaluation)
        while True:
            codec = task.verbs[query.verb].codec(model, query.request)
            query = evaluation.send(answer(codec, run))
    except StopIteration as stop:
        return stop.value

"""Language modelling: how a text goes on, and how likely it is. Verbs ``complete`` and ``score``.

Parts: ``reader`` gives the logits behind the last token, ``scorer`` the log-probability of each; both take and return
the recurrent state, so that a text of any length is read a piece at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from typing import ClassVar, cast

from models.contract.task import Evaluation, Query, ServedModel, Split, Stream, Task, Verb
from models.data.texts.segments import segments
from models.data.texts.tokens import decoded
from models.language.completing import complete, stream
from models.language.requests import Completed, CompleteRequest, Scored, ScoreRequest
from models.language.scoring import score

TEXTS_A_QUERY = 32


def _bare_text(data: bytes) -> CompleteRequest:
    """Return the request of a body that is the prompt itself."""
    return CompleteRequest.parse({"prompt": decoded(data, "/prompt")})


class Language(Task):
    """A probability for every text."""

    name = "language"
    headline = "perplexity"
    lower_is_better = frozenset({"perplexity"})
    verbs: ClassVar[Mapping[str, Verb]] = {
        "complete": Verb(
            request=CompleteRequest,
            prediction=Completed,
            codec=complete,
            media={"text/plain": _bare_text},
            stream=Stream(wanted=lambda request: request.stream, codec=stream),
        ),
        "score": Verb(request=ScoreRequest, prediction=Scored, codec=score),
    }

    def evaluation(self, model: ServedModel, split: Split) -> Evaluation:
        """Score the split in segments; return ``loss`` in nats per token, ``bits``, ``perplexity``, ``unknown``.

        ``unknown`` is the share of tokens that the model does not know. Each line end counts as a token.
        """
        del model
        texts = segments(cast("list[str]", split["lines"].tolist()))
        nats = tokens = unknown = 0.0
        while chosen := tuple(islice(texts, TEXTS_A_QUERY)):
            predictions = yield Query("score", ScoreRequest(texts=chosen))
            nats -= sum(cast("float", item["log_probability"]) for item in predictions)
            tokens += sum(cast("int", item["tokens"]) for item in predictions)
            unknown += sum(cast("int", item["unknown"]) for item in predictions)
        loss = nats / tokens
        return {"loss": loss, "bits": loss / math.log(2), "perplexity": math.exp(loss), "unknown": unknown / tokens}


TASK = Language()

"""Conversation: a reply to what was said. Verbs ``reply`` and ``score``; runs of ``encoder`` and ``step``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import ClassVar, cast

from models.contract.task import Evaluation, Query, ServedModel, Split, Stream, Task, Verb
from models.conversation.exchanges import exchanges
from models.conversation.replying import most_tokens, reply, score, stream
from models.conversation.requests import Replied, ReplyRequest, Said, ScoredReply, ScoreRequest
from models.data.texts.segmentation import words_of
from models.metrics.diversity import distinct
from models.seq2seq.languages import Languages

EXCHANGES_A_QUERY = 256
REPLIES = 300
"""So many replies, of the first exchanges of a split, are looked at for their variety."""


class Conversation(Task):
    """A reply to every conversation."""

    name = "conversation"
    headline = "perplexity"
    lower_is_better = frozenset({"perplexity"})
    verbs: ClassVar[Mapping[str, Verb]] = {
        "reply": Verb(
            request=ReplyRequest,
            prediction=Replied,
            codec=reply,
            stream=Stream(wanted=lambda request: request.stream, codec=stream),
        ),
        "score": Verb(request=ScoreRequest, prediction=ScoredReply, codec=score),
    }

    def evaluation(self, model: ServedModel, split: Split) -> Evaluation:
        """Score all replies of the split, and reply to its first turns.

        Returns:
            ``loss`` in nats per token of a reply, ``perplexity`` and ``unknown``, the share of unknown tokens; of
            greedy replies ``distinct_1`` and ``distinct_2``, and ``commonest``, the share of the one given most often.
            Replies that are longer than ``score`` takes are left out; if all are, there is no loss.
        """
        context, longest = (cast("int", model.config[name]) for name in ("context_turns", "longest"))
        target = model.once(Languages.of).target
        found = exchanges(split, max(1, context), longest)
        first = list(islice(found, REPLIES))
        nats = tokens = unknown = 0.0
        rest = iter(first)
        while chosen := tuple(islice(rest, EXCHANGES_A_QUERY)) or tuple(islice(found, EXCHANGES_A_QUERY)):
            said = tuple(
                Said(turns=tuple(item.turns), reply=item.reply)
                for item in chosen
                if len(target.cut(item.reply)) <= most_tokens(target)
            )
            scored = (yield Query("score", ScoreRequest(exchanges=said))) if said else ()
            nats -= sum(cast("float", item["log_probability"]) for item in scored)
            tokens += sum(cast("int", item["tokens"]) for item in scored)
            unknown += sum(cast("int", item["unknown"]) for item in scored)
        replies: list[str] = []
        for item in first:
            answered = yield Query("reply", ReplyRequest(turns=tuple(item.turns), beam_size=1))
            replies.append(str(answered[0]["reply"]))
        words = [words_of(text) for text in replies]
        metrics = {
            "distinct_1": distinct(words, 1),
            "distinct_2": distinct(words, 2),
            "commonest": Counter(replies).most_common(1)[0][1] / len(replies),
        }
        if tokens:
            loss = nats / tokens
            metrics |= {"loss": loss, "perplexity": math.exp(loss), "unknown": unknown / tokens}
        return metrics


TASK = Conversation()

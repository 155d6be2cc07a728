"""Translation: a sentence of another language. Verbs ``translate`` and ``score``; runs of ``encoder`` and ``step``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

from models.contract.task import Evaluation, Prediction, Query, ServedModel, Split, Stream, Task, Verb
from models.data.texts.segmentation import Segmentation
from models.metrics.translations import bleu, chrf
from models.seq2seq.asking import DEFAULT_BEAM
from models.seq2seq.languages import Languages
from models.translation.heat_map import PICTURE
from models.translation.requests import (
    Pair,
    ScoredPair,
    ScoreRequest,
    Translated,
    TranslateRequest,
)
from models.translation.scoring import score
from models.translation.translating import most_tokens, stream, translate

PAIRS_A_QUERY = 256


class Translation(Task):
    """A translation for every sentence."""

    name = "translation"
    headline = "bleu"
    verbs: ClassVar[Mapping[str, Verb]] = {
        "translate": Verb(
            request=TranslateRequest,
            prediction=Translated,
            codec=translate,
            picture=PICTURE,
            stream=Stream(wanted=lambda request: request.stream, codec=stream),
        ),
        "score": Verb(request=ScoreRequest, prediction=ScoredPair, codec=score),
    }

    def evaluation(self, model: ServedModel, split: Split) -> Evaluation:
        """Score and translate the split.

        Returns:
            ``loss`` in nats per target token and ``perplexity``; ``bleu`` and ``chrf`` in per cent of what is served by
            default, ``bleu_greedy`` without a beam; all as sacreBLEU counts them, its tokenisation 13a, letters as the
            dataset has them. ``unknown`` is the share of target tokens that the model does not know.
            Pairs that are too long to be served have no translation and no score; if all are, nor has the split.
        """
        sources = cast("list[str]", split["sources"].tolist())
        targets = cast("list[str]", split["targets"].tolist())
        languages = model.once(Languages.of)
        nats = tokens = unknown = 0.0
        served: list[str] = []
        greedy: list[str] = []
        beam = min(DEFAULT_BEAM, cast("int", model.config["widest_beam"]))
        for begin in range(0, len(sources), PAIRS_A_QUERY):
            chosen = tuple(sources[begin : begin + PAIRS_A_QUERY])
            pairs = tuple(
                Pair(source=source, target=target)
                for source, target in zip(chosen, targets[begin : begin + PAIRS_A_QUERY], strict=True)
                if _served(languages.source, source) and _served(languages.target, target)
            )
            scored = (yield Query("score", ScoreRequest(pairs=pairs))) if pairs else ()
            nats -= sum(cast("float", item["log_probability"]) for item in scored)
            tokens += sum(cast("int", item["tokens"]) for item in scored)
            unknown += sum(cast("int", item["unknown"]) for item in scored)
            request = TranslateRequest(sentences=chosen, beam_size=beam, attention=False, partial=True)
            served += _texts((yield Query("translate", request)))
            greedy += _texts((yield Query("translate", request.model_copy(update={"beam_size": 1}))))
        found = {
            "bleu": bleu(served, targets),
            "bleu_greedy": bleu(greedy, targets),
            "chrf": chrf(served, targets),
        }
        if tokens:
            loss = nats / tokens
            found |= {"loss": loss, "perplexity": math.exp(loss), "unknown": unknown / tokens}
        return found


TASK = Translation()


def _served(side: Segmentation, text: str) -> bool:
    return len(side.cut(text)) <= most_tokens(side)


def _texts(predictions: Sequence[Prediction]) -> list[str]:
    return [str(item["translation"] or "") for item in predictions]

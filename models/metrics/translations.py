"""BLEU and chrF of whole corpora, as sacreBLEU counts them.

Papineni et al. (2002); Post (2018), A Call for Clarity in Reporting BLEU Scores; Popović (2015) for chrF. The library
belongs to training: servers translate and never score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

Tokenisation = Literal["13a", "none"]


def bleu(hypotheses: Sequence[str], references: Sequence[str], tokenisation: Tokenisation = "13a") -> float:
    """Return BLEU in per cent of ``hypotheses``, one reference each, letters as they are."""
    from sacrebleu.metrics.bleu import BLEU  # noqa: PLC0415 - not there where nothing is trained

    # ``force``: text that is tokenised already is what "none" is for.
    metric = cast("Any", BLEU)(tokenize=tokenisation, force=True)
    return float(metric.corpus_score(list(hypotheses), [list(references)]).score)


def bleu_signature(tokenisation: Tokenisation = "13a") -> str:
    """Return what sacreBLEU says of how :func:`bleu` counts."""
    from sacrebleu.metrics.bleu import BLEU  # noqa: PLC0415 - as above

    metric = cast("Any", BLEU)(tokenize=tokenisation, force=True)
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature())


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Return chrF2 in per cent of ``hypotheses``, one reference each."""
    from sacrebleu.metrics.chrf import CHRF  # noqa: PLC0415 - as above

    return float(cast("Any", CHRF)().corpus_score(list(hypotheses), [list(references)]).score)

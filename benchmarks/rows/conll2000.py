"""CoNLL-2000 chunking: the BI-LSTM-CRF as it comes, with parts of speech, capitals and affixes, over three seeds."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from app.client import Client
from benchmarks import taggers
from benchmarks.row import Cards, Check, Report, Row

LEAST_F1 = 93.5
VARIANT: dict[str, JsonValue] = {"family": "sequence_tagger", "dataset": "conll2000"}


class Conll2000(Row):
    """The default network and training: 100 units each way, Adam at 2e-3 decayed linearly to 0, 8 epochs."""

    title = "CoNLL-2000 chunking, BI-LSTM-CRF"

    def upload(self, client: Client) -> None:
        """Upload the corpus, parts of speech as a further column."""
        taggers.upload(client, "conll2000")

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return the tagger as it comes."""
        return {"bilstm-crf": VARIANT}

    def report(self, client: Client, cards: Cards) -> Report:
        """Return F1, and whether what is served scores as the card says; each word's commonest tag is the control."""
        found, control = taggers.f1(cards["bilstm-crf"]), taggers.commonest("conll2000")
        checks = [
            Check(
                f"F1 {found:.2f} % ≥ {LEAST_F1} % (the paper, with its features and random vectors: 94.13)",
                found >= LEAST_F1,
            ),
            Check(f"the commonest tag of each word, {control:.2f} %, stays below", control < LEAST_F1),
            taggers.served(client, cards["bilstm-crf"][0], "conll2000", columns=1),
        ]
        return Report(taggers.span_table(cards), checks)


ROW = Conll2000()

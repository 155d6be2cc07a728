"""UD English EWT: universal parts of speech with words, affixes and letters."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from app.client import Client
from benchmarks import taggers
from benchmarks.row import Cards, Check, Report, Row

CORPUS = "ud_english_ewt"
LEAST_ACCURACY = 94.0
CONFIG: dict[str, JsonValue] = {"characters": "convolution"}


class UdEnglishEwt(Row):
    """The default network with a convolution over letters; Adam at 2e-3 decayed linearly to 0, 8 epochs."""

    title = "UD English EWT, universal parts of speech"
    seeds = (0,)

    def upload(self, client: Client) -> None:
        """Upload the corpus as it is."""
        taggers.upload(client, CORPUS)

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return the tagger with letters."""
        return {"bilstm-crf-characters": {"family": "sequence_tagger", "dataset": CORPUS, "config": CONFIG}}

    def report(self, client: Client, cards: Cards) -> Report:
        """Return the accuracy; each word's commonest tag is the control."""
        runs = cards["bilstm-crf-characters"]
        found, control = taggers.f1(runs), taggers.commonest(CORPUS)
        lines = ["| variant | accuracy |", "|---|---|", f"| bilstm-crf-characters | {found:.2f} % |"]
        checks = [
            Check(f"accuracy {found:.2f} % ≥ {LEAST_ACCURACY} %", found >= LEAST_ACCURACY),
            Check(f"the commonest tag of each word, {control:.2f} %, stays below", control < LEAST_ACCURACY),
            taggers.served(client, runs[0], CORPUS),
        ]
        return Report("\n".join([*lines, f"| commonest tag of each word | {control:.2f} % |"]), checks)


ROW = UdEnglishEwt()

"""Self-dialogues: replies behind their context beside replies without, and beside n-grams of the same words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import orjson
from pydantic import JsonValue

from app.client import Client
from app.schemas import ModelCard
from benchmarks import corpora
from benchmarks.corpora import upload_lines
from benchmarks.ngrams import witten_bell
from benchmarks.row import Cards, Check, Report, Row
from models.contract.task import Split
from models.conversation.exchanges import exchanges
from models.data.kinds.dialogues import SEPARATOR
from models.data.texts.segmentation import END_INDEX, Segmentation, one_line

DATASET = "self-dialogues"
LARGEST_RATIO = 0.97
ORDERS = (2, 3, 4, 5)
CONTROL = 5
CONFIG: dict[str, JsonValue] = {"vocabulary_size": 3_000, "hidden": 192, "embedding": 128, "dropout": 0.2}
ASKED = ("hi, how are you?", "what is your favorite movie?", "did you watch the game last night?")


class Dialogues(Row):
    """GRU of 192 units, general attention, 3,000 words, an eighth of the dialogues, 3 epochs of batches of 64."""

    title = "Self-dialogues: replies with and without context, dialogue 192"
    seeds = (0,)

    def upload(self, client: Client) -> None:
        """Upload an eighth of the dialogues to train on, every twentieth for the test."""
        files = {
            f"{split}.jsonl": [orjson.dumps(turns).decode() for turns in rows] for split, rows in _dialogues().items()
        }
        upload_lines(client, DATASET, "dialogues", files, {"lowercase": True, "validation_fraction": 0.02})

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return the network with two turns of context, and with none."""
        training: dict[str, JsonValue] = {"epochs": 3, "batch_size": 64, "learning_rate": 2e-3}
        base: dict[str, JsonValue] = {"family": "dialogue", "dataset": DATASET, "training": training}
        return {
            "two-turns": {**base, "config": {**CONFIG, "context_turns": 2}},
            "no-context": {**base, "config": {**CONFIG, "context_turns": 0}},
        }

    def report(self, client: Client, cards: Cards) -> Report:
        """Return perplexities beside those of n-grams over the same replies, and some replies."""
        lines = ["| model | perplexity | distinct-1 | distinct-2 | commonest reply |", "|---|---|---|---|---|"]
        found: dict[str, float] = {}
        for name, (card,) in cards.items():
            scores = card.metrics["test"]
            found[name] = scores["perplexity"]
            variety = f"{scores['distinct_1']:.3f} | {scores['distinct_2']:.3f} | {scores['commonest']:.1%}"
            lines.append(f"| {name} | {scores['perplexity']:.2f} | {variety} |")
        (card,) = cards["two-turns"]
        counts = _counted(card)
        lines += [
            f"| {order}-gram of replies, Witten-Bell | {math.exp(loss):.2f} | | | |" for order, loss in counts.items()
        ]
        own, control = found["two-turns"], math.exp(counts[CONTROL])
        ratio = own / found["no-context"]
        checks = [
            Check(f"perplexity with context is {ratio:.3f} ≤ {LARGEST_RATIO} of that without", ratio <= LARGEST_RATIO),
            Check(f"{own:.2f} is below the {CONTROL}-gram's {control:.2f}", own < control),
        ]
        unknown = card.metrics["test"]["unknown"]
        about = f"{unknown:.1%} of the words are unknown, one word to all models; ends of replies count. Replies:"
        return Report("\n".join([*lines, "", about, "", *_replies(client, card)]), checks)


ROW = Dialogues()


def _dialogues() -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = {}
    for split, lines in corpora.self_dialogue().items():
        rows = found[split] = [[]]
        for line in lines:
            if line:
                rows[-1].append(line)
            else:
                rows.append([])
        found[split] = [turns for turns in rows if turns]
    return found


def _counted(card: ModelCard) -> dict[int, float]:
    """Return by order what n-grams of the training replies say of the test's, in nats per token of the same words."""
    known = Segmentation.of(cast("Mapping[str, Mapping[str, object]]", card.assets)["source"])
    longest = cast("int", card.config["longest"])

    def replies(rows: Sequence[Sequence[str]]) -> Any:  # noqa: ANN401 - an array
        turns = [SEPARATOR.join(one_line(turn, lowercase=True) for turn in row) for row in rows]
        split: Split = {"turns": np.array(turns, np.dtypes.StringDType())}
        own = [np.append(known.encode(item.reply), END_INDEX) for item in exchanges(split, 1, longest)]
        return np.concatenate([[END_INDEX], *own])

    train, test = (replies(rows) for rows in _dialogues().values())
    return {order: witten_bell(train, test, order, len(known)) for order in ORDERS}


def _replies(client: Client, card: ModelCard) -> list[str]:
    found: list[str] = []
    for turn in ASKED:
        likely = cast("Any", client.predict(card.model, "reply", {"turns": [turn]}))["predictions"][0]["reply"]
        body: dict[str, JsonValue] = {"turns": [turn], "temperature": 0.8, "top_k": 20, "seed": 1}
        drawn = cast("Any", client.predict(card.model, "reply", body))["predictions"][0]["reply"]
        found.append(f"- “{turn}” searched: “{likely}” · drawn: “{drawn}”")
    return found

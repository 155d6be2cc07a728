"""Multi30k from English to German: attention beside the same network without, a beam beside greedy search."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from app.client import Client
from benchmarks import eight_bits, translations
from benchmarks.row import Cards, Check, Report, Row

LEAST_BLEU = 29.0
LEAST_GAIN = 8.0
DATASET = "multi30k"
GREEDY, BEAM = "greedy", "beam 5, α 0.6, β 0.2"
SEARCHES: Mapping[str, Mapping[str, JsonValue]] = {GREEDY: {"beam_size": 1}, BEAM: {}}
CONFIG: dict[str, JsonValue] = {"hidden": 256, "embedding": 256}
BITS = (
    "With attention, seed 0, the default search: the published graphs and the same with their large products in eight "
    "bits (`export.quantize`), one thread, processor time."
)
TRAINING: dict[str, JsonValue] = {"epochs": 8, "batch_size": 64, "learning_rate": 2e-3}


class Multi30k(Row):
    """One layer of 2 × 128 GRU units each way, a decoder of 256, general attention, 4,000 byte pairs, 8 epochs."""

    title = "Multi30k en→de, encoder_decoder 256 with attention and without, test2016"

    def seeds_of(self, variant: str) -> tuple[int, ...]:
        """Return three seeds with attention, one without."""
        return (0, 1, 2) if variant == "attention" else (0,)

    def upload(self, client: Client) -> None:
        """Upload the corpus."""
        translations.upload(client, DATASET)

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return the network with attention, and without it."""
        base: dict[str, JsonValue] = {"family": "encoder_decoder", "dataset": DATASET, "training": TRAINING}
        without: dict[str, JsonValue] = {**CONFIG, "attention": "none"}
        return {"attention": {**base, "config": CONFIG}, "no-attention": {**base, "config": without}}

    def report(self, client: Client, cards: Cards) -> Report:
        """Return BLEU of every model by search, as HTTP answers."""
        lines = ["| model | seed | search | BLEU | Moses | chrF | perplexity |", "|---|---|---|---|---|---|---|"]
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        same: list[Check] = []
        for variant, runs in cards.items():
            for card in runs:
                scores = card.metrics["test"]
                for search, options in SEARCHES.items():
                    own = _bleu(client, card.model, options)
                    found.setdefault((variant, search), []).append(own)
                    rest = f"{scores['chrf']:.1f} | {scores['perplexity']:.2f}" if search == BEAM else " | "
                    lines.append(f"| {variant} | {card.seed} | {search} | {own[0]:.2f} | {own[1]:.2f} | {rest} |")
                same.append(translations.served(f"{variant}, seed {card.seed}", card, found[variant, BEAM][-1][0]))
        checks = [*_checks(found), *same]
        bits = eight_bits.table(client, cards["attention"][0], *translations.pairs()["test"])
        lines += ["", BITS, "", bits, "", translations.ABOUT, translations.signatures()]
        return Report("\n".join(lines), checks)


ROW = Multi30k()


def _bleu(client: Client, model: str, options: Mapping[str, JsonValue]) -> tuple[float, float]:
    sources, targets = translations.pairs()["test"]
    return translations.bleu_of(translations.translations(client, model, sources, attention=False, **options), targets)


def _checks(found: Mapping[tuple[str, str], Sequence[tuple[float, float]]]) -> list[Check]:
    mean = {key: [statistics.mean(side) for side in zip(*runs, strict=True)] for key, runs in found.items()}
    greedy, beam, control = mean["attention", GREEDY], mean["attention", BEAM], mean["no-attention", BEAM]
    deviation = statistics.stdev(own[1] for own in found["attention", GREEDY])
    gain = beam[0] - control[0]
    return [
        Check(f"greedy, Moses: mean {greedy[1]:.2f} ± {deviation:.2f} ≥ {LEAST_BLEU}", greedy[1] >= LEAST_BLEU),
        Check(f"the beam's mean {beam[0]:.2f} ≥ greedy {greedy[0]:.2f}", beam[0] >= greedy[0]),
        Check(f"attention brings {gain:.2f} ≥ {LEAST_GAIN} BLEU with the beam", gain >= LEAST_GAIN),
    ]

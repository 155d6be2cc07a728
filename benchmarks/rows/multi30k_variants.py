"""Attentions and stacks side by side on the shortest pairs of Multi30k, at equal updates, one seed each."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from app.client import Client
from benchmarks import translations
from benchmarks.row import Cards, Check, Report, Row

DATASET = "multi30k-10k"
PAIRS = 10_000
LARGEST_GAP = 2.0
LEAST_RESIDUAL_GAIN = 0.5
SIZE: dict[str, JsonValue] = {"hidden": 128, "embedding": 128, "vocabulary_size": 2_000}
ATTENTIONS: Mapping[str, dict[str, JsonValue]] = {
    "general": {},
    "dot": {"attention": "dot"},
    "concat": {"attention": "concat"},
    "additive": {"attention": "additive"},
    "local-m": {"attention": "local_m"},
    "local-p": {"attention": "local_p"},
    "input-feeding": {"input_feeding": True},
    "bahdanau": {"attention": "additive", "decoder": "bahdanau"},
}
OTHERS: Mapping[str, dict[str, JsonValue]] = {
    "lstm": {"cell": "lstm"},
    "scheduled-sampling": {"scheduled_sampling": 0.25},
    "sutskever": {"attention": "none", "cell": "lstm", "bidirectional": "none", "reverse_source": True},
    "cho": {"attention": "none", "summary": "every_step"},
}
GNMT: dict[str, JsonValue] = {"cell": "lstm", "depth": 8, "bidirectional": "first", "hidden": 96, "embedding": 96}
TRAINING: dict[str, JsonValue] = {"epochs": 8, "batch_size": 64, "learning_rate": 2e-3}
STACK_EPOCHS = 4


class Multi30kVariants(Row):
    """10,000 shortest pairs, 128 units, 2,000 byte pairs, Adam at 2e-3 decayed to 0, 8 epochs, batches of 64."""

    title = "Multi30k's 10,000 shortest pairs: attentions, input feeding, Bahdanau, Cho, Sutskever, GNMT's stack"
    seeds = (0,)

    def upload(self, client: Client) -> None:
        """Upload the shortest pairs, with the whole of the test."""
        translations.upload(client, DATASET, shortest=PAIRS)

    def variants(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """Return every network."""
        base: dict[str, JsonValue] = {"family": "encoder_decoder", "dataset": DATASET, "training": TRAINING}
        found: dict[str, Mapping[str, JsonValue]] = {
            name: {**base, "config": {**SIZE, **config}} for name, config in {**ATTENTIONS, **OTHERS}.items()
        }
        brief: dict[str, JsonValue] = {**TRAINING, "epochs": STACK_EPOCHS}
        for name, residual in (("gnmt-8", True), ("gnmt-8-plain", False)):
            config: dict[str, JsonValue] = {**SIZE, **GNMT, "residual": residual}
            found[name] = {**base, "config": config, "training": brief}
        return found

    def report(self, client: Client, cards: Cards) -> Report:
        """Return BLEU, losses and curves of all."""
        del client
        lines = [
            "| network | BLEU, beam 5 | greedy | test loss | minutes | validation loss by epoch |",
            "|---|---|---|---|---|---|",
        ]
        for name, (card,) in cards.items():
            scores = card.metrics["test"]
            curve = ", ".join(f"{point['validation_loss']:.2f}" for point in card.curves)
            minutes = card.duration_seconds["train"] / 60
            figures = f"{scores['bleu']:.2f} | {scores['bleu_greedy']:.2f} | {scores['loss']:.3f} | {minutes:.1f}"
            lines.append(f"| {name} | {figures} | {curve} |")
        bleu = {name: runs[0].metrics["test"]["bleu"] for name, runs in cards.items()}
        loss = {name: runs[0].metrics["test"]["loss"] for name, runs in cards.items()}
        best = max(bleu[name] for name in ATTENTIONS)
        outside = [name for name in ATTENTIONS if best - bleu[name] > LARGEST_GAP]
        gain = loss["gnmt-8-plain"] - loss["gnmt-8"]
        told = f"outside: {', '.join(outside)}" if outside else "none is outside"
        without, least = max(bleu["sutskever"], bleu["cho"]), min(bleu[name] for name in ATTENTIONS)
        checks = [
            Check(f"attentions within {LARGEST_GAP} BLEU of the best, {best:.2f}; {told}", not outside),
            Check(f"without attention at most {without:.2f}, the least with it {least:.2f}", without < least),
            Check(
                f"8 + 8 layers after {STACK_EPOCHS} epochs: without residuals the loss is {gain:.2f} nats higher ≥ "
                f"{LEAST_RESIDUAL_GAIN}",
                gain >= LEAST_RESIDUAL_GAIN,
            ),
        ]
        return Report("\n".join([*lines, "", translations.ABOUT]), checks)


ROW = Multi30kVariants()

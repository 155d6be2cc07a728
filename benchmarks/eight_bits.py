"""What a published translation model scores and how fast it is with its large products in eight bits.

The version is downloaded as anybody can download it, its graphs are quantised here as a job with ``export.quantize``
does it, and both translate the same sentences by the codec and runtime of the gateway, one thread, taking turns.
"""

from __future__ import annotations

import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from app.client import Client
from app.schemas import ModelCard
from app.serving.runtimes.onnx import OnnxRuntime
from app.serving.runtimes.runtime import LoadedPart, Source
from benchmarks import translations
from models.contract.task import Arrays, Prediction, ServedModel, answer
from models.translation.requests import TranslateRequest
from models.translation.translating import translate
from workers.exporting.quantization import quantized

SIDES: Sequence[str] = ("fp32", "int8")
TIMED_SINGLY = 100
"""Sentences that are asked one at a time."""


def in_eight_bits(graphs: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the graphs as a job with ``export.quantize`` publishes them."""
    return {name: quantized(graph) or graph for name, graph in graphs.items()}


def loaded(model: ServedModel, graphs: Mapping[str, bytes]) -> dict[str, LoadedPart]:
    """Return the graphs in the runtime of the gateway."""
    runtime = OnnxRuntime()
    return {name: runtime.load(Source(model.signatures[name], partial(bytes, graph))) for name, graph in graphs.items()}


def runner(parts: Mapping[str, LoadedPart]) -> Callable[[str, Arrays], Arrays]:
    """Return what runs a part by name."""

    def run(part: str, arrays: Arrays) -> Arrays:
        return parts[part].run(arrays)

    return run


def table(client: Client, card: ModelCard, sources: Sequence[str], targets: Sequence[str]) -> str:
    """Return BLEU and sentences per second of a version, in 32 and in eight bits, with the default search."""
    model, graphs = card.served(), downloaded(client, card)
    small = in_eight_bits(graphs)
    sides = dict(zip(SIDES, (loaded(model, graphs), loaded(model, small)), strict=True))
    size = translations.SENTENCES_A_REQUEST
    answers, together = _asked(model, sides, [sources[at : at + size] for at in range(0, len(sources), size)])
    _, alone = _asked(model, sides, [[line] for line in sources[:TIMED_SINGLY]])
    lines = ["| weights | MB | BLEU | sentences/s, 100 a request | one a request |", "|---|---|---|---|---|"]
    for side, files in zip(SIDES, (graphs, small), strict=True):
        megabytes = sum(map(len, files.values())) / 1e6
        bleu, _ = translations.bleu_of(answers[side], targets)
        lines.append(f"| {side} | {megabytes:.1f} | {bleu:.2f} | {together[side]:.1f} | {alone[side]:.1f} |")
    return "\n".join(lines)


def downloaded(client: Client, card: ModelCard) -> dict[str, bytes]:
    """Return the graphs that a version is served from, by part."""
    graphs: dict[str, bytes] = {}
    with tempfile.TemporaryFile() as file:
        client.download(card.model, card.version, file)
        file.seek(0)
        with tarfile.open(fileobj=file) as archive:
            for name, part in card.parts.items():
                member = archive.extractfile(part.path.rsplit("/", 1)[-1])
                assert member is not None
                graphs[name] = member.read()
    return graphs


def _asked(
    model: ServedModel, sides: Mapping[str, Mapping[str, LoadedPart]], requests: Sequence[Sequence[str]]
) -> tuple[dict[str, list[Prediction]], dict[str, float]]:
    """Return predictions and sentences per second of processor time, by side."""
    answers: dict[str, list[Prediction]] = {side: [] for side in sides}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for sentences in requests:
        for side, parts in sides.items():
            started = time.process_time()
            request = TranslateRequest(sentences=tuple(sentences), attention=False)
            answers[side] += answer(translate(model, request), runner(parts))
            seconds[side].append((time.process_time() - started) / len(sentences))
    return answers, {side: 1 / statistics.median(each) for side, each in seconds.items()}

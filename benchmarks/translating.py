"""Training and serving of a translation network beside plain PyTorch: ``make bench-translation``.

One network, 256 units, 4,000 tokens, random sentences of 4 to 20; one thread. Training: target tokens per second of
processor time of Lectern's learner, and of a loop written by hand with ``nn.GRU`` and attention, on the same batches,
taking turns. Serving: sentences per second of the search of ``translate`` at beam 5, its parts run by ONNX Runtime as
served, by the same graphs quantised, and of the same network searched in eager PyTorch as one writes it
(``plain_beam.py``), taking turns, one and 32 sentences a request; targets are as long as their sources. Then, by the
clock and on as many threads as a gateway takes here: one client that asks for one sentence at a time, one that asks for
32, and 32 clients whose steps meet in the queues of the parts.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from app.server import SWITCH_SECONDS
from app.serving.batching import Batcher
from app.serving.inference import advance
from app.serving.runs import Limits, Timing
from app.serving.runtimes.runtime import LoadedPart
from app.serving.tickets import Ticket
from app.settings import GatewaySettings
from benchmarks.eight_bits import in_eight_bits, loaded, runner
from benchmarks.machine import describe
from benchmarks.plain_beam import plain_beam
from models.catalog import Catalog
from models.contract.task import Array, Arrays, Call, Codec, Prediction, ServedModel, answer
from models.contract.training import Plan
from models.data.texts.segmentation import END_INDEX
from models.family import Export
from models.nn.seq2seq.network import Seq2Seq
from models.seq2seq.beam import Search, beam_search
from models.seq2seq.running import Source
from models.translation.requests import TranslateRequest
from models.translation.translating import translate
from workers.exporting.formats import write
from workers.exporting.gate import traced_sizes

WORDS = 4_000
SIZE = 256
BATCH = 64
BEAM = 5
PAIRS = 3_000
CLIENTS = 32
ASKED = 128
REPEATS = 5
META: Mapping[str, object] = {"lowercase": False}
CONFIG = {"vocabulary": "word", "vocabulary_size": WORDS, "least_count": 1, "joint": False, "hidden": SIZE}
SETTINGS = GatewaySettings()
LIMITS = Limits(batch_size=SETTINGS.max_batch_size, concurrency=SETTINGS.threads())
"""What a gateway has on this machine when nothing is set."""

Run = Callable[[str, Arrays], Arrays]
Find = Callable[[Sequence[Array]], list[list[int]]]


class Plain(nn.Module):
    """The same network as a tutorial writes it: two ``nn.GRU``, a bilinear score, a softmax over all padded steps."""

    def __init__(self, sources: int, targets: int) -> None:
        """Draw the weights."""
        super().__init__()
        self.source, self.target = nn.Embedding(sources, SIZE), nn.Embedding(targets, SIZE)
        self.encoder = nn.GRU(SIZE, SIZE // 2, batch_first=True, bidirectional=True)
        self.decoder = nn.GRU(SIZE, SIZE, batch_first=True)
        self.initial, self.score = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE, bias=False)
        self.readout, self.dropout = nn.Linear(2 * SIZE, SIZE), nn.Dropout(0.3)
        self.bias = nn.Parameter(torch.zeros(targets))

    def forward(self, sources: Tensor, before: Tensor) -> Tensor:
        """Return logits (batch, target, targets)."""
        memory, last = self.encoder(self.dropout(self.source(sources)))
        start = self.initial(torch.cat([last[0], last[1]], dim=1)).tanh().unsqueeze(0)
        hidden, _ = self.decoder(self.dropout(self.target(before)), start)
        scores = torch.bmm(self.score(hidden), memory.transpose(1, 2))
        weights = scores.masked_fill((sources == 0).unsqueeze(1), -torch.inf).softmax(dim=2)
        output = self.readout(torch.cat([torch.bmm(weights, memory), hidden], dim=2)).tanh()
        return functional.linear(self.dropout(output), self.target.weight, self.bias)


def main() -> None:
    """Print tokens and sentences per second of all sides, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60, help="training steps of each side (default 60)")
    parser.add_argument("--rounds", type=int, default=20, help="requests of each size and side (default 20)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print(describe("torch", "onnxruntime"))
    sources, targets = _sentences(1), _sentences(2)
    family = _family(sources, targets)
    _training(family, sources, targets, arguments.steps)
    model, network, graphs = _exported(family)
    parts, small = loaded(model, graphs), loaded(model, in_eight_bits(graphs))
    _serving(network, {"served": parts, "int8": small}, arguments.rounds)
    _queued(model, parts, sources)


def _sentences(seed: int) -> list[str]:
    """Return sentences whose words are as frequent as words are (Zipf)."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(1, WORDS + 1)
    words = np.array([f"w{index}" for index in range(WORDS)])
    return [
        " ".join(random.choice(words, size=random.integers(4, 21), p=shares / shares.sum()).tolist())
        for _ in range(PAIRS)
    ]


def _split(sources: Sequence[str], targets: Sequence[str]) -> Any:  # noqa: ANN401 - arrays by name
    dtype = np.dtypes.StringDType()
    return {"sources": np.array(sources, dtype), "targets": np.array(targets, dtype)}


def _family(sources: Sequence[str], targets: Sequence[str]) -> Any:  # noqa: ANN401 - of the catalogue
    catalog = Catalog()
    config = catalog.spec("encoder_decoder").config.parse({**CONFIG, "embedding": SIZE})
    family = catalog.family("encoder_decoder")(config, META)
    family.study(_split(sources, targets), {})
    return family


def _training(family: Any, sources: Sequence[str], targets: Sequence[str], steps: int) -> None:  # noqa: ANN401
    examples = family.examples(_split(sources, targets), torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    module = family.build(generator)
    learner = family.learner(
        module, Catalog().spec("encoder_decoder").training(), Plan.of(len(examples), 10, BATCH), generator
    )
    torch.manual_seed(1)
    plain = Plain(module.encoder.embedding.shape[0], module.embedding.shape[0])
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3, fused=True)

    def by_hand(batch: dict[str, Tensor]) -> None:
        optimizer.zero_grad(set_to_none=True)
        logits = plain(batch["sources"], batch["before"])
        loss = functional.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten(), ignore_index=0)
        cast("Any", loss).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()

    sides: dict[str, Callable[[dict[str, Tensor]], object]] = {"lectern": learner.step, "by hand": by_hand}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    batches = [indices for _ in range(3) for indices in examples.batches(BATCH, generator)][: steps + 2]
    for number, indices in enumerate(batches):
        batch = examples.take(indices)
        tokens = int(batch["target_lengths"].sum())
        for name, take in sides.items():
            started = time.process_time()
            take(batch)
            if number >= 2:
                rates[name].append(tokens / (time.process_time() - started))
    median = {name: statistics.median(found) for name, found in rates.items()}
    print(f"training: {_listing(median, 'target tokens/s')}; ratio {median['lectern'] / median['by hand']:.2f}")


def _exported(family: Any) -> tuple[ServedModel, Seq2Seq, Mapping[str, bytes]]:  # noqa: ANN401
    """Return the untrained model, its network and its graphs."""
    module = family.build(torch.Generator().manual_seed(1)).eval()
    exports: Mapping[str, Export] = family.export(module)
    signatures = {name: export.signature for name, export in exports.items()}
    model = ServedModel(
        "m", "encoder_decoder", family.config.model_dump(mode="json"), META, family.assets(module), signatures
    )
    generator = torch.Generator().manual_seed(1)
    graphs: dict[str, bytes] = {}
    for name, export in exports.items():
        graphs[name] = write(name, export, "onnx", family.example(name, traced_sizes(export.signature), generator))
    return model, module, graphs


def _serving(network: Seq2Seq, parts: Mapping[str, Mapping[str, LoadedPart]], rounds: int) -> None:
    """Print sentences per second by size of request: of ``parts`` by side, and of plain PyTorch."""
    random, words = np.random.default_rng(1), len(network.encoder.embedding)
    sides: dict[str, Find] = {name: partial(_searched, runner(own)) for name, own in parts.items()}
    sides["plain"] = lambda sources: plain_beam(network, [torch.from_numpy(each) for each in sources], BEAM)
    served: dict[int, float] = {}
    for batch in (1, 32):
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        same = dict.fromkeys(sides, 0)
        for _ in range(rounds):
            sources = [random.integers(END_INDEX + 1, words, random.integers(4, 21)) for _ in range(batch)]
            targets: dict[str, list[list[int]]] = {}
            for name, find in sides.items():
                started = time.process_time()
                targets[name] = find(sources)
                seconds[name].append(time.process_time() - started)
                same[name] += sum(one == other for one, other in zip(targets["served"], targets[name], strict=True))
        rate = {name: batch / statistics.median(found) for name, found in seconds.items()}
        served[batch] = rate["served"]
        agreed = f"of {rounds * batch} targets {same['plain']} equal, in eight bits {same['int8']}"
        ratios = f"ratio {rate['served'] / rate['plain']:.2f}, int8 to served {rate['int8'] / rate['served']:.2f}"
        print(f"beam {BEAM}, batch {batch}: {_listing(rate, 'sentences/s')}; {ratios}; {agreed}")
    print(f"batch 32 against batch 1, per sentence: {served[32] / served[1]:.2f}")


def _searched(run: Run, sources: Sequence[Array]) -> list[list[int]]:
    """Return the best target of each of ``sources`` (tokens,) int64, as long as it is."""
    search = Search(BEAM, longest=(1.0, 0), barred=(END_INDEX,))
    found: Any = answer(cast("Any", beam_search([Source(each) for each in sources], search)), run)
    return [hypotheses[0].indices.tolist() for hypotheses in found]


def _queued(model: ServedModel, parts: Mapping[str, LoadedPart], sentences: Sequence[str]) -> None:
    """Print sentences per second of one client that asks for one at a time, of one for 32, and of 32 for one each."""
    sys.setswitchinterval(SWITCH_SECONDS)
    rates: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        for name, clients, together in (("alone", 1, 1), ("32 in a request", 1, 32), ("32 clients", CLIENTS, 1)):
            rate = asyncio.run(_asked(model, parts, sentences, clients, together))
            rates.setdefault(name, []).append(rate)
    median = {name: statistics.median(found) for name, found in rates.items()}
    ratios = ", ".join(f"{name} {median[name] / median['alone']:.2f}" for name in list(rates)[1:])
    threads = f"{LIMITS.concurrency} threads"
    print(f"through the queues, {threads}: {_listing(median, 'sentences/s')}; to alone: {ratios}")


async def _asked(
    model: ServedModel, parts: Mapping[str, LoadedPart], sentences: Sequence[str], clients: int, together: int
) -> float:
    waiting = [sentences[begin : begin + together] for begin in range(0, ASKED, together)]
    with ThreadPoolExecutor(LIMITS.concurrency) as threads:
        queues = {
            name: Batcher(part, model.signatures[name], LIMITS, threads, _Unobserved(), run_seconds=1.0)
            for name, part in parts.items()
        }

        async def ask() -> None:
            while waiting:
                await _predicted(translate(model, _request(waiting.pop())), queues, threads)

        started = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(clients)))
        return ASKED / (time.perf_counter() - started)


class _Unobserved:
    """Hears nothing of what the queues do."""

    def ran(self, timing: Timing) -> None:
        """Hear nothing."""

    def rejected(self, reason: str) -> None:
        """Hear nothing."""

    def overran(self, seconds: float) -> None:
        """Hear nothing."""


async def _predicted(codec: Codec, queues: Mapping[str, Batcher], threads: Executor) -> Sequence[Prediction]:
    """Return what a gateway would: the codec thinks in ``threads``, as there."""
    loop, outputs = asyncio.get_running_loop(), None
    while True:
        step = await loop.run_in_executor(threads, advance, codec, outputs)
        if not isinstance(step, Call):
            return step
        outputs = await queues[step.part].run(step.arrays, Ticket())


def _request(sentences: Sequence[str]) -> TranslateRequest:
    return TranslateRequest(sentences=tuple(sentences), beam_size=BEAM, longest=20)


def _listing(each: Mapping[str, float], unit: str) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in each.items()) + f" {unit}"


if __name__ == "__main__":
    main()

"""A served tagger beside the same network in eager PyTorch: ``make bench-tagging``.

The default BI-LSTM-CRF over 20,000 words, sentences of 1 to 60 tokens drawn at random; both sides encode sentences and
decode the chain with Lectern's own code, so that what differs is who computes the network. They take turns, one thread
each; the figures are medians of processor time. Below them is what share of the tokens that are computed is padding.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.machine import describe
from models.catalog import Catalog
from models.contract.task import Arrays, ServedModel, answer
from models.data.kind import Content
from models.data.kinds.tagged import KIND
from models.tagging.task import TagRequest, tag
from workers.exporting.formats import EXPORTERS, write
from workers.exporting.gate import traced_sizes

WORDS = 20_000
SENTENCES = 512
BATCHES = (1, 32)
LONGEST = 60

Run = Callable[[str, Arrays], Arrays]


def main() -> None:
    """Print sentences per second of both sides, and the share of padding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="requests of each size and side (default 30)")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(describe("torch", "onnxruntime"))
    data, sentences = zipf_world()
    model, sides = _sides(data)
    for batch in BATCHES:
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for index in range(rounds):
            chosen = [sentences[(index * batch + offset) % len(sentences)] for offset in range(batch)]
            for name, run in sides.items():
                request = TagRequest(sentences=tuple(map(tuple, chosen)))
                started = time.process_time()
                answer(tag(model, request), run)
                seconds[name].append(time.process_time() - started)
        each = {name: batch / statistics.median(times) for name, times in seconds.items()}
        print(f"batch {batch}: {_listing(each)} sentences/s; ratio {each['served'] / each['eager']:.2f}")
    shapes: list[tuple[int, ...]] = []
    answer(tag(model, TagRequest(sentences=tuple(map(tuple, sentences)))), _counted(sides["served"], shapes))
    computed = sum(rows * length for rows, length in shapes)
    real = sum(map(len, sentences))
    print(
        f"{len(sentences)} sentences of 1 to {LONGEST} tokens in {len(shapes)} runs: {1 - real / computed:.1%} padding"
    )


def zipf_world() -> tuple[Content, list[list[str]]]:
    """Return a dataset whose words are as frequent as words are (Zipf), and sentences to ask about."""
    random = np.random.default_rng(1)
    shares = 1 / np.arange(1, WORDS + 1)
    words = np.array([f"w{index}" for index in range(WORDS)])

    def sentence() -> list[str]:
        return random.choice(words, size=random.integers(1, LONGEST + 1), p=shares / shares.sum()).tolist()

    train = [sentence() for _ in range(2_000)]
    tags = [["B-X" if int(word[1:]) % 3 else "O" for word in row] for row in train]
    split = {
        name: np.array(["\n".join(row) for row in rows], dtype=np.dtypes.StringDType())
        for name, rows in (("tokens", train), ("tags", tags))
    }
    made = Content({"train": split}, {"scheme": "bio", "features": []})
    return Content(made.splits, {**made.meta, **KIND.facts(made)}), [sentence() for _ in range(SENTENCES)]


def _sides(data: Content) -> tuple[ServedModel, dict[str, Run]]:
    """Return the model, untrained, and who runs it."""
    catalog = Catalog()
    family = catalog.family("sequence_tagger")(catalog.spec("sequence_tagger").config(), data.meta)
    family.study(data.splits["train"], {})
    module = family.build(torch.Generator().manual_seed(1)).eval()
    (export,) = family.export(module).values()
    example = family.example("tagger", traced_sizes(export.signature), torch.Generator().manual_seed(1))
    opened = EXPORTERS["onnx"].open(write("tagger", export, "onnx", example), export.signature)
    names = [item.name for item in export.signature.inputs]

    def eager(part: str, arrays: Arrays) -> Arrays:
        del part
        with torch.inference_mode():
            return {"emissions": module(*(torch.from_numpy(arrays[name]) for name in names)).numpy()}

    def served(part: str, arrays: Arrays) -> Arrays:
        del part
        return opened(arrays)

    model = ServedModel("m", "sequence_tagger", {}, data.meta, family.assets(module), {"tagger": export.signature})
    return model, {"served": served, "eager": eager}


def _counted(run: Run, shapes: list[tuple[int, ...]]) -> Run:
    def counted(part: str, arrays: Arrays) -> Arrays:
        shapes.append(arrays["words"].shape)
        return run(part, arrays)

    return counted


def _listing(each: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.0f}" for name, value in each.items())


if __name__ == "__main__":
    main()

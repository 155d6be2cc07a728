"""Samples of a served DCGAN beside the same network in eager PyTorch: ``make bench-sampling``.

The default network for images of 28 × 28, untrained, as what it has learnt does not change how long it takes. Both
sides draw the noise and round the images with Lectern's own code, so that what differs is who computes the network; the
second line leaves that out. They take turns, one thread each; the figures are medians of processor time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.machine import describe
from models.catalog import Catalog
from models.contract.task import Arrays, ServedModel, answer
from models.generation.codes import Codes
from models.generation.requests import SampleRequest
from models.generation.walking import sample
from workers.exporting.formats import EXPORTERS, write
from workers.exporting.gate import traced_sizes

SAMPLES = 64
PART = "generator"
META: dict[str, object] = {
    "height": 28,
    "width": 28,
    "channels": None,
    "classes": [str(digit) for digit in range(10)],
    "value_range": [0, 255],
    "pixel_mean": 33.3,
    "pixel_standard_deviation": 78.6,
}

Run = Callable[[str, Arrays], Arrays]


def main() -> None:
    """Print milliseconds of both sides and their ratio, through the codec and of the network alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50, help="requests of each side (default 50)")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(describe("torch", "onnxruntime"))
    model, sides = _sides()
    codes = Codes.of(model)
    for what in ("with the codec", "the network alone"):
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for seed in range(rounds):
            arrays = codes.arrays(codes.draw(seed, SAMPLES, {}, "/codes"))
            for name, run in sides.items():
                started = time.process_time()
                if what == "with the codec":
                    answer(sample(model, SampleRequest(count=SAMPLES, seed=seed)), run)
                else:
                    run(PART, arrays)
                seconds[name].append(time.process_time() - started)
        each = {name: 1e3 * statistics.median(times) for name, times in seconds.items()}
        listing = ", ".join(f"{name} {value:.2f} ms" for name, value in each.items())
        print(f"{SAMPLES} samples, {what}: {listing}; ratio {each['eager'] / each['served']:.2f}")


def _sides() -> tuple[ServedModel, dict[str, Run]]:
    """Return the model and who runs it."""
    catalog = Catalog()
    family = catalog.family("dcgan")(catalog.spec("dcgan").config(), META)
    module = family.build(torch.Generator().manual_seed(1)).eval()
    export = family.export(module)[PART]
    example = family.example(PART, traced_sizes(export.signature), torch.Generator().manual_seed(1))
    opened = EXPORTERS["onnx"].open(write(PART, export, "onnx", example), export.signature)
    names = [item.name for item in export.signature.inputs]

    def eager(part: str, arrays: Arrays) -> Arrays:
        del part
        with torch.inference_mode():
            return {"images": export.module(*(torch.from_numpy(arrays[name]) for name in names)).numpy()}

    def served(part: str, arrays: Arrays) -> Arrays:
        del part
        return opened(arrays)

    model = ServedModel("m", "dcgan", {}, META, family.assets(module), {PART: export.signature})
    return model, {"served": served, "eager": eager}


if __name__ == "__main__":
    main()

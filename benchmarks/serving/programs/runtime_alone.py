"""ONNX Runtime in a loop, with no server around it. Started with a graph and seconds; prints what it measured."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import onnxruntime


def main() -> None:
    """Print calls a second and the median and 99th percentile of one, in seconds."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).random((1, 28, 28), dtype=np.float32)
    for _ in range(200):
        session.run(["probabilities"], {"images": images})
    latencies: list[float] = []
    cpu, begin = time.process_time(), time.perf_counter()
    before = begin
    while before - begin < float(sys.argv[2]):
        session.run(["probabilities"], {"images": images})
        now = time.perf_counter()
        latencies.append(now - before)
        before = now
    figures = {"rate": len(latencies) / (before - begin), "cpu_seconds": (time.process_time() - cpu) / len(latencies)}
    p50, p99 = np.percentile(latencies, [50, 99])
    print(json.dumps({**figures, "p50": p50, "p99": p99}))


if __name__ == "__main__":
    main()

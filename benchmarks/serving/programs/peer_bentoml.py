"""BentoML's side: a service with one API. ``bentoml serve`` imports it, in BentoML's environment."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": True})
class Classifier:
    """A session on one thread."""

    def __init__(self) -> None:
        """Load the graph."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        graph = os.environ["BENCH_GRAPH"]
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    @bentoml.api
    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Return the probabilities."""
        return self._session.run(["probabilities"], {"images": inputs.astype(np.float32)})[0]

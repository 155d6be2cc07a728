"""LitServe's side: an API with its four verbs. Started with a graph and a port, in LitServe's environment."""
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import sys

import litserve
import numpy as np
import onnxruntime


class OnnxApi(litserve.LitAPI):
    """A session on one thread."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - there is only one
        """Load the graph."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])

    def decode_request(self, request: dict) -> np.ndarray:
        """Return the images of a body."""
        return np.asarray(request["inputs"], dtype=np.float32)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the probabilities."""
        return self._session.run(["probabilities"], {"images": x})[0]

    def encode_response(self, output: np.ndarray) -> dict:
        """Return the answer's JSON."""
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(OnnxApi(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")

"""MLServer's side: a custom runtime around ONNX Runtime, as its documentation describes one. MLServer imports it."""
# It runs in MLServer's own environment; here MLServer is not installed.
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    """A session on one thread."""

    async def load(self) -> bool:
        """Load the graph that model-settings.json names."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return the probabilities."""
        images = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        (probabilities,) = self._session.run(["probabilities"], {"images": images})
        output = NumpyCodec.encode_output("probabilities", probabilities)
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])

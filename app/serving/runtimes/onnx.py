"""ONNX Runtime, in this process: one shared session per part, one thread per run, no spinning."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from app.serving.runtimes.runtime import Halt, Halted, Refused, Source, Unreadable, first_line
from models.contract.task import Array, Arrays
from models.contract.tensors import PartSignature

NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
"""Unless it is set, ONNX Runtime tells its vendor what it loads and runs, and keeps a database of it in the home."""


class OnnxRuntime:
    """Loads ONNX graphs."""

    in_process = True

    def load(self, source: Source) -> OnnxPart:
        """Return a session whose inputs and outputs are those of the signature."""
        os.environ[NO_TELEMETRY] = "1"
        import onnxruntime  # noqa: PLC0415 - 0.2 s and 20 MB that the gateway need not wait for at start

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        data, signature = source.read(), source.signature
        try:
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime raises many kinds without a common base
            raise Unreadable(f"ONNX Runtime says: {first_line(error)}") from error
        for noun, found, wanted in (
            ("inputs", session.get_inputs(), signature.inputs),
            ("outputs", session.get_outputs(), signature.outputs),
        ):
            names, promised = {item.name for item in found}, {tensor.name for tensor in wanted}
            if names != promised:
                raise Unreadable(f"it has the {noun} {sorted(names)}; its signature says {sorted(promised)}")
        return OnnxPart(session, onnxruntime.RunOptions, signature)

    def close(self) -> None:
        """Do nothing: sessions go with those who hold them."""


class OnnxPart:
    """A part in a session of its own; sessions may run on several threads at a time."""

    def __init__(self, session: Any, run_options: Any, signature: PartSignature) -> None:  # noqa: ANN401 - no types
        """Keep the session, and the class of the options of a run."""
        self._session = session
        self._run_options = run_options
        self._names = [tensor.name for tensor in signature.outputs]

    def run(self, arrays: Arrays, halt: Halt | None = None) -> dict[str, Array]:
        """Return the outputs by name."""
        options = None
        if halt is not None:
            options = self._run_options()
            halt.arm(partial(_terminate, options))
        try:
            return dict(zip(self._names, self._session.run(self._names, dict(arrays), options), strict=True))
        except Exception as error:  # as above; a value out of range is only seen by the graph
            if options is not None and options.terminate:
                raise Halted from error
            raise Refused(first_line(error)) from error


def _terminate(options: Any) -> None:  # noqa: ANN401 - onnxruntime has no types
    options.terminate = True

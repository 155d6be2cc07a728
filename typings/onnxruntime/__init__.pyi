# The part of onnxruntime that Lectern uses; the package ships no types of its own.

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__version__: str

class NodeArg:
    name: str
    shape: Sequence[int | str | None]
    type: str

class SessionOptions:
    def __init__(self) -> None: ...
    enable_cpu_mem_arena: bool
    enable_mem_pattern: bool
    enable_mem_reuse: bool
    enable_profiling: bool
    execution_mode: ExecutionMode
    graph_optimization_level: GraphOptimizationLevel
    inter_op_num_threads: int
    intra_op_num_threads: int
    log_severity_level: int
    use_deterministic_compute: bool
    def add_session_config_entry(self, key: str, value: str, /) -> None: ...
    def get_session_config_entry(self, key: str, /) -> str: ...

class RunOptions:
    def __init__(self) -> None: ...
    log_severity_level: int
    terminate: bool

class ExecutionMode:
    ORT_SEQUENTIAL: ExecutionMode
    ORT_PARALLEL: ExecutionMode

class GraphOptimizationLevel:
    ORT_DISABLE_ALL: GraphOptimizationLevel
    ORT_ENABLE_BASIC: GraphOptimizationLevel
    ORT_ENABLE_EXTENDED: GraphOptimizationLevel
    ORT_ENABLE_ALL: GraphOptimizationLevel

class InferenceSession:
    def __init__(
        self,
        path_or_bytes: str | bytes | os.PathLike[str],
        sess_options: SessionOptions | None = None,
        providers: Sequence[str | tuple[str, dict[str, Any]]] | None = None,
        provider_options: Sequence[dict[str, Any]] | None = None,
    ) -> None: ...
    def get_inputs(self) -> Sequence[NodeArg]: ...
    def get_outputs(self) -> Sequence[NodeArg]: ...
    def get_providers(self) -> Sequence[str]: ...
    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, np.ndarray[Any, np.dtype[Any]]],
        run_options: RunOptions | None = None,
    ) -> list[np.ndarray[Any, np.dtype[Any]]]: ...

def get_available_providers() -> list[str]: ...
def set_default_logger_severity(severity: int, /) -> None: ...

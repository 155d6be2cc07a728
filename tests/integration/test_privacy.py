"""What Lectern loads keeps no records of its own to send to anybody: ONNX Runtime would, unless told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GATEWAY = """
import sys
from pathlib import Path
from app.serving.runtimes.onnx import OnnxRuntime
from app.serving.runtimes.runtime import Source
from unit.app.publishing import SIGNATURE, _classifier
import numpy as np
part = OnnxRuntime().load(Source(SIGNATURE, lambda: _classifier(1.0)))
part.run({"images": np.zeros((1, 2, 2), np.float32)})
"""
WORKER = """
import workers.exporting.formats
from workers.exporting.onnx import open_graph
from unit.app.publishing import SIGNATURE, _classifier
import numpy as np
open_graph(_classifier(1.0), SIGNATURE)({"images": np.zeros((1, 2, 2), np.float32)})
"""


@pytest.mark.parametrize("program", [GATEWAY, WORKER], ids=["gateway", "worker"])
def test_onnx_runtime_keeps_nothing_to_send(tmp_path: Path, program: str) -> None:
    """Told by the database that it would make in the home of whoever runs it."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    own = {"HOME": str(tmp_path), "PYTHONPATH": paths, "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=own, check=True, timeout=60)
    assert [str(path) for path in tmp_path.rglob("*onnxruntime*")] == []

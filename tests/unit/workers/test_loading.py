"""torch is loaded without what only tracing needs, and with it as soon as that is wanted."""

from __future__ import annotations

import subprocess
import sys

import pytest

TRAINS = """
from workers import loading
loading.load()
import sys
import torch
left_out = {"torch._decomp", "torch._meta_registrations", "torch.export.exported_program"}
def loaded():
    return {name for name in left_out if name in sys.modules and type(sys.modules[name]).__name__ == "module"}
from workers import job
generator = torch.Generator().manual_seed(0)
net = torch.nn.Linear(3, 2)
torch.nn.init.normal_(net.weight, generator=generator)
net(torch.ones(4, 3)).square().sum().backward()
assert not loaded(), loaded()
"""

LOADED = """
assert loaded() == left_out, loaded()
assert torch.export is sys.modules["torch.export"]
"""

WANTS = {
    "a name": "torch.export.Dim('batch')",
    "a module below": """
import torch.export.dynamic_shapes
assert torch.export.dynamic_shapes.Dim is torch.export.Dim
""",
    "a name of the package": "from torch.export import Dim",
    "a graph": """
import io
net.eval()
program = torch.onnx.export(net, (torch.ones(2, 3),), dynamo=True, verbose=False, dynamic_shapes=({0: "batch"},))
assert len(program.model_proto.graph.node)
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("wanted", WANTS.values(), ids=WANTS.keys())
def test_what_tracing_needs_is_loaded_when_it_is_wanted(wanted: str) -> None:
    """And not while a net is trained."""
    code = (
        f"{TRAINS}\n{wanted}\nassert loaded() == left_out, loaded()\nassert torch.export is sys.modules['torch.export']"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_nothing_is_deferred_where_torch_is_loaded_already() -> None:
    """As in a test, or where a family's package imported it first."""
    code = "import torch; from workers import loading; loading.load(); assert torch.export.Dim('batch')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr

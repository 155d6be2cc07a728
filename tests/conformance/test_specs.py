"""What every family's description promises before any training code is loaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from models.catalog import Catalog
from models.contract.config import Options
from models.contract.errors import ValidationFailed

ROOTS = ("models", "rehearsal")
CATALOG = Catalog(ROOTS)
TESTS = Path(__file__).resolve().parents[1]

LOAD_ALL = """
import sys
from models.catalog import Catalog
catalog = Catalog(("models", "rehearsal"))
for name in catalog.names():
    spec = catalog.spec(name)
    catalog.task(spec.task)
    [catalog.kind(kind) for kind in spec.dataset_kinds]
    spec.config.model_json_schema()
print(len(catalog.names()), *sorted({"torch", "workers", "app", "onnxruntime"} & set(sys.modules)))
"""

SCHEMAS = [
    pytest.param(schema, id=f"{name}-{which}")
    for name in CATALOG.names()
    for which, schema in (("config", CATALOG.spec(name).config), ("training", CATALOG.spec(name).training))
]


def test_specs_load_without_torch() -> None:
    """Specs, tasks and kinds are the gateway's half: a fresh process reads them all and has no torch."""
    path = {"PYTHONPATH": f"{TESTS.parent}:{TESTS}"}
    fresh = subprocess.run(
        [sys.executable, "-c", LOAD_ALL], env=path, capture_output=True, text=True, timeout=120, check=False
    )
    assert fresh.returncode == 0, fresh.stderr
    assert fresh.stdout.split() == [str(len(CATALOG.names()))]


@pytest.mark.parametrize("name", CATALOG.names())
def test_spec_agrees_with_its_folder_and_task(name: str) -> None:
    """A spec names its own folder, a task that exists and verbs that the task has."""
    spec = CATALOG.spec(name)
    assert spec.name == name
    assert spec.task in CATALOG.tasks()
    task = CATALOG.task(spec.task)
    assert task.name == spec.task
    assert set(spec.verbs) <= set(task.verbs)
    assert spec.dataset_kinds
    assert [CATALOG.kind(kind).name for kind in spec.dataset_kinds] == list(spec.dataset_kinds)
    assert spec.title
    assert spec.paper
    assert spec.parts


@pytest.mark.parametrize("name", CATALOG.names())
def test_parts_lead_with_the_batch(name: str) -> None:
    """Calls of different requests are joined along the first axis, so every tensor has it, and no name twice."""
    for part in CATALOG.spec(name).parts.values():
        tensors = [*part.inputs, *part.outputs]
        assert part.inputs
        assert part.outputs
        assert {tensor.shape[0] for tensor in tensors} == {"batch"}
        assert len({tensor.name for tensor in tensors}) == len(tensors)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_options_have_defaults_and_refuse_unknown_keys(schema: type[Options]) -> None:
    """Nothing need be given; what a family does not know is an error that names it."""
    defaults = schema()
    assert schema.parse(defaults.model_dump(mode="json")) == defaults
    with pytest.raises(ValidationFailed, match="no_such_option") as refused:
        schema.parse({"no_such_option": 1}, "/config")
    assert [item.pointer for item in refused.value.errors] == ["/config/no_such_option"]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_options_are_described_and_bounded(schema: type[Options]) -> None:
    """Every option has a sentence, and every number a lower bound."""
    properties: Mapping[str, Any] = schema.model_json_schema()["properties"]
    assert [name for name, item in properties.items() if not item.get("description")] == []
    unbounded = [name for name, item in properties.items() if not all(map(_bounded, item.get("anyOf", [item])))]
    assert unbounded == []


def _bounded(item: Mapping[str, Any]) -> bool:
    closed = "minimum" in item or "exclusiveMinimum" in item or "const" in item or "enum" in item
    return item.get("type") not in {"integer", "number"} or closed

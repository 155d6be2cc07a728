"""A job with ``export.quantize`` over HTTP: published, told of, served, and verified when it is loaded again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from integration.test_torchscript import images, outputs
from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.contract.jobs import JobState
from waiting import wait_for

if TYPE_CHECKING:
    from integration.conftest import StackClient

pytestmark = pytest.mark.slow


def trained(stack: StackClient, model: str, export: Mapping[str, object]) -> Mapping[str, Any]:
    """Train on digits with one seed and return the card."""
    body = {"family": "mlp", "dataset": "digits", "model": model, "training": {"epochs": 20, "seed": 3}}
    job = stack.submit({**body, "export": dict(export)})
    assert wait_for(stack, job.id).state is JobState.SUCCEEDED, stack.logs(job.id)
    return stack.version(model, 1).sent()


def accuracy(http: httpx.Client, stack: StackClient, model: str) -> float:
    """Return the share of test images that the gateway names rightly."""
    datasets = Datasets(ArtifactStore((stack.home / "store").as_uri()), Catalog(("models",)))
    record = datasets.record("digits")
    split = datasets.content(record).splits["test"]
    answer = http.post(f"/v1/models/{model}/classify", json={"inputs": split["images"].tolist()})
    assert answer.status_code == 200, answer.text
    found = [item["index"] for item in answer.json()["predictions"]]
    return float(np.mean(np.array(found) == split["labels"]))


def test_quantized_version_is_served_and_says_what_it_is(stack: StackClient) -> None:
    """Beside the version of the same training that was not quantised: smaller, nearly the same, and not the same."""
    exact = trained(stack, "digits-fp32", {})
    card = trained(stack, "digits-int8", {"formats": ["onnx"], "quantize": True})
    (part,), (equal,) = card["parts"].values(), exact["parts"].values()
    assert part["quantized"] is True
    assert "quantized" not in equal
    assert part["payload_bytes"] < 0.4 * equal["payload_bytes"]
    assert 1e-4 < card["parity"]["classifier"]["logits"] < 0.5
    assert exact["parity"]["classifier"]["logits"] < 1e-4
    for split in ("validation", "test"):
        assert card["metrics"][split]["accuracy"] >= exact["metrics"][split]["accuracy"] - 0.01
    log = stack.logs(card["job"])
    assert "part 'classifier' in eight bits" in log
    assert "'accuracy' on validation is" in log
    with httpx.Client(base_url=stack.base_url, trust_env=False, timeout=60) as http:
        assert accuracy(http, stack, "digits-int8") == pytest.approx(card["metrics"]["test"]["accuracy"], abs=1e-6)
        before = outputs(http, "digits-int8", images())
        difference = np.abs(before["logits"] - outputs(http, "digits-fp32", images())["logits"]).max()
        assert 1e-4 < difference < 0.1 * np.ptp(before["logits"])
        for action in ("unload", "load"):
            assert http.post(f"/v2/repository/models/digits-int8/{action}").status_code == 200
        np.testing.assert_array_equal(outputs(http, "digits-int8", images())["logits"], before["logits"])


def test_damaged_quantized_part_is_refused(stack: StackClient) -> None:
    """The control of the check on load: other bytes are not served."""
    card = trained(stack, "digits-damaged", {"quantize": True})
    path = stack.home / "store" / card["parts"]["classifier"]["path"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with httpx.Client(base_url=stack.base_url, trust_env=False, timeout=60) as http:
        answer = http.post("/v1/models/digits-damaged/classify", json={"inputs": images().tolist()})
    assert answer.json()["code"] == "model_damaged", answer.text
    assert "are not those that were published" in answer.json()["detail"]

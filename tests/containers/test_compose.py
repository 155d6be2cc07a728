"""Images and stack as a user gets them: built, started, used from upload to prediction, watched, stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from app.client import Client, ClientError, Job
from containers.images import TORCHSCRIPT
from waiting import wait_for

if TYPE_CHECKING:
    from containers.conftest import Composed
    from containers.engine import Engine
    from containers.images import Image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

GATEWAY_BYTES = 350_000_000
DEADLINE_SECONDS = 60.0
CLOSE = 1e-4
DIGITS = Path(str(files("models.data") / "digits.npz"))


def wait_until(reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not reached():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


@pytest.fixture(scope="module")
def client(composed: Composed) -> Iterator[Client]:
    with composed.client() as client:
        yield client


@pytest.fixture(scope="module")
def job(composed: Composed, client: Client) -> Job:
    """A job that went all the way: its data uploaded, its model published."""
    client.add_dataset("handwriting", "images", {"train": DIGITS}, {"value_range": [0, 16]})
    return train(composed, client, "reader", "onnx")


def train(composed: Composed, client: Client, model: str, export: str) -> Job:
    """Return a job that ended well; the same seed gives every model the same parameters."""
    submission = {"family": "mlp", "dataset": "handwriting", "model": model, "training": {"epochs": 5}}
    job = client.submit({**submission, "export": {"formats": [export]}})
    try:
        return wait_for(client, job.id)
    except AssertionError as failure:
        failure.add_note(composed.compose("logs", "--no-color", "--tail=40"))
        raise


def test_the_image_of_the_gateway_is_small_and_holds_no_torch(
    running_engine: Engine, images: dict[str, Image], record_property: Callable[[str, object], None]
) -> None:
    for service, image in images.items():
        record_property(f"{service}_megabytes", image.size_bytes // 1_000_000)
        print(f"\n{service}: {image.size_bytes / 1e6:.0f} MB, built in {image.seconds:.0f} s", end="")  # noqa: T201
    assert images["gateway"].size_bytes <= GATEWAY_BYTES
    find = "import importlib.util; print([importlib.util.find_spec(name) for name in ('torch', 'onnx')])"
    assert running_engine.run("run", "--rm", images["gateway"].name, "python", "-c", find) == "[None, None]\n"


@pytest.mark.parametrize("service", ["gateway", TORCHSCRIPT, "worker"])
def test_no_image_runs_as_root(running_engine: Engine, images: dict[str, Image], service: str) -> None:
    assert running_engine.run("run", "--rm", images[service].name, "id", "-u") == "10001\n"


def test_a_gateway_alone_refuses_to_listen_to_everybody(running_engine: Engine, images: dict[str, Image]) -> None:
    """Compose publishes its port to this machine alone and says that this is wanted; the image does not."""
    with pytest.raises(AssertionError, match="insist with --insecure"):
        running_engine.run("run", "--rm", images["gateway"].name)


def test_the_stack_goes_from_an_upload_to_a_prediction(composed: Composed, client: Client, job: Job) -> None:
    print(f"\nup in {composed.start_seconds:.1f} s", end="")  # noqa: T201
    assert job.version == 1
    (example,) = client.preview("handwriting", split="test", count=1)["items"]
    answer: Any = client.predict("reader", "classify", {"inputs": [{"image": example["image"]}]})
    assert answer["version"] == 1
    assert answer["predictions"][0]["label"] == example["label"]


def test_prometheus_has_the_series(composed: Composed, client: Client, job: Job) -> None:
    client.predict(job.model, "classify", {"inputs": [[[0] * 8] * 8]})

    def value(query: str) -> float:
        answer = httpx.get(f"{composed.prometheus_url}/api/v1/query", params={"query": query}, trust_env=False)
        found = answer.json()["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0

    predicted = f'sum(lectern_prediction_seconds_count{{model="{job.model}",outcome="ok"}})'
    wait_until(lambda: value(predicted) >= 1, "no predictions")
    wait_until(lambda: value('sum(lectern_jobs{state="succeeded"})') == 1, "no jobs")
    assert value('up{job="lectern"}') == 1
    assert value("lectern_models_loaded") == 1


def test_the_worker_is_healthy(composed: Composed, job: Job) -> None:
    """A job has run, so there is a worker; its own check has to say so, too."""
    container = composed.compose("ps", "--quiet", "worker").strip()
    state = ("inspect", "--format", "{{.State.Health.Status}}", container)
    assert job.state.final
    wait_until(lambda: composed.engine.run(*state) == "healthy\n", "the worker is not well")


def test_the_doctor_finds_nothing_wrong_inside(composed: Composed, job: Job) -> None:
    """From the gateway's container it sees the worker in its own, and a Redis that keeps what it is given."""
    assert job.state.final
    output = composed.compose("exec", "-T", "gateway", "lectern", "doctor", "--json", "--url", "http://127.0.0.1:8000")
    found = {item["check"]: item["level"] for item in json.loads(output)["checks"]}
    assert {found[check] for check in ("ready", "store", "persistence", "eviction", "workers", "packages")} == {"ok"}


def test_torchscript_is_served_where_torch_is(composed: Composed, client: Client, job: Job) -> None:
    """The image without torch says so; the one with it answers as the ONNX of the same parameters does."""
    scripted = train(composed, client, "scripted", "torchscript")
    request = {"inputs": [[[float(row + column) for row in range(8)] for column in range(8)]], "top": 10}
    with pytest.raises(ClientError) as refused:
        client.predict(scripted.model, "classify", request)
    assert refused.value.code == "runtime_unavailable"
    composed.compose("up", "--detach", "--no-build", "gateway", LECTERN_GATEWAY=TORCHSCRIPT)
    wait_until(lambda: answers(client, job), "the gateway with torch does not answer")
    first, second = (answer(client, model, request) for model in (job.model, scripted.model))
    assert first.keys() == second.keys()
    assert all(abs(first[label] - second[label]) < CLOSE for label in first)


def answer(client: Client, model: str, request: Mapping[str, object]) -> dict[str, float]:
    (prediction,) = client.predict(model, "classify", request)["predictions"]
    return {item["label"]: item["probability"] for item in prediction["top"]}


def answers(client: Client, job: Job) -> bool:
    try:
        return client.job(job.id).state.final
    except ClientError:
        return False


def test_jobs_and_models_outlive_every_container(composed: Composed, client: Client, job: Job) -> None:
    """Redis keeps its log and the store its volume when all containers are made anew."""
    composed.compose("down")
    composed.compose("up", "--detach", "--no-build")
    wait_until(lambda: answers(client, job), "the job is gone")
    assert json.dumps(client.predict("reader", "classify", {"inputs": [[[0] * 8] * 8]}))


def test_the_gateway_ends_well_when_it_is_told_to_stop(composed: Composed, client: Client) -> None:
    client.models()
    container = composed.compose("ps", "--quiet", "gateway").strip()
    composed.compose("stop", "gateway")
    assert composed.engine.run("inspect", "--format", "{{.State.ExitCode}}", container) == "0\n"

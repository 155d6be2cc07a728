"""``tritonclient``, unchanged, against a gateway: every call of the protocol that it has."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gateways import Gateway, publisher
from unit.app.publishing import WEIGHTS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException

VALUES = np.arange(8, dtype=np.float32).reshape(2, 2, 2)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[triton.InferenceServerClient]:
    """Return a client of a gateway with one model; predictions need no Redis."""
    folder = tmp_path_factory.mktemp("triton")
    publisher(folder).publish()
    with (
        Gateway(folder, LECTERN_PROCESSES="1") as gateway,
        triton.InferenceServerClient(f"127.0.0.1:{gateway.port}") as found,
    ):
        yield found


def _values(answer: triton.InferResult, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    found = answer.as_numpy(name)
    assert found is not None
    return found


def test_server_and_models_are_described(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert not client.is_model_ready("none")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("tiny")["inputs"][0]["shape"] == [-1, 2, 2]
    assert client.get_model_config("tiny")["max_batch_size"] == 64
    assert client.get_model_repository_index()[0]["name"] == "tiny"
    assert client.get_inference_statistics("tiny", "1")["model_stats"][0]["version"] == "1"


@pytest.mark.parametrize(
    ("given", "asked", "sent", "received"),
    list(itertools.product([False, True], [False, True], [None, "gzip", "deflate"], [None, "gzip", "deflate"])),
)
def test_tensors_go_in_and_come_out(
    client: triton.InferenceServerClient, *, given: bool, asked: bool, sent: str | None, received: str | None
) -> None:
    """As JSON and as bytes, compressed and not."""
    images = triton.InferInput("images", [2, 2, 2], "FP32")
    images.set_data_from_numpy(VALUES, binary_data=given)
    logits = triton.InferRequestedOutput("logits", binary_data=asked)
    answer = client.infer(
        "tiny",
        [images],
        outputs=[logits],
        request_id="7",
        request_compression_algorithm=sent,
        response_compression_algorithm=received,
        priority=1,
        timeout=10_000_000,
    )
    np.testing.assert_allclose(_values(answer, "logits"), VALUES.reshape(2, 4) @ WEIGHTS, rtol=1e-6)
    assert (answer.get_response()["id"], answer.get_response()["model_version"]) == ("7", "1")


def test_all_outputs_come_without_being_named(client: triton.InferenceServerClient) -> None:
    images = triton.InferInput("images", [2, 2, 2], "FP32")
    images.set_data_from_numpy(VALUES)
    answer = client.infer("tiny", [images])
    np.testing.assert_allclose(_values(answer, "probabilities").sum(axis=1), 1, rtol=1e-6)


def test_classes_come_as_text(client: triton.InferenceServerClient) -> None:
    images = triton.InferInput("images", [2, 2, 2], "FP32")
    images.set_data_from_numpy(VALUES)
    answer = client.infer("tiny", [images], outputs=[triton.InferRequestedOutput("logits", class_count=1)])
    assert [text.decode().split(":")[1:] for text in _values(answer, "logits").flatten()] == [["2", "c"], ["2", "c"]]


def test_what_is_wrong_is_raised_with_its_reason(client: triton.InferenceServerClient) -> None:
    images = triton.InferInput("images", [1, 3, 3], "FP32")
    images.set_data_from_numpy(np.zeros((1, 3, 3), np.float32))
    with pytest.raises(InferenceServerException, match="'images' takes"):
        client.infer("tiny", [images])
    with pytest.raises(InferenceServerException, match="no model 'none'"):
        client.get_model_metadata("none")


def test_models_are_unloaded_and_loaded(client: triton.InferenceServerClient) -> None:
    client.unload_model("tiny")
    assert not client.is_model_ready("tiny")
    client.load_model("tiny")
    assert client.is_model_ready("tiny")

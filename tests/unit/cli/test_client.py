"""The client: problems become sentences with fields, streams are taken up where they broke."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import app.client
from app.client import Client, ClientError

URL = "http://gateway.test"
FINAL = b'id: 9\nevent: state\ndata: {"state": "succeeded"}\n\n'

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.client, "RECONNECT_PAUSE_SECONDS", 0.0)


def client_of(handler: Handler) -> Client:
    return Client(URL, transport=httpx.MockTransport(handler))


def failure_of(handler: Handler) -> ClientError:
    with client_of(handler) as client, pytest.raises(ClientError) as caught:
        client.datasets()
    return caught.value


def test_a_problem_keeps_code_detail_and_fields() -> None:
    problem = {
        "code": "validation_failed",
        "detail": "Wrong.",
        "errors": [{"pointer": "/config/depth", "detail": "is too deep"}],
    }
    error = failure_of(lambda _: httpx.Response(422, json=problem))
    assert (error.code, error.detail, error.status) == ("validation_failed", "Wrong.", 422)
    assert [(item.pointer, item.detail) for item in error.errors] == [("/config/depth", "is too deep")]


def test_an_error_of_the_inference_protocol_is_told_too() -> None:
    assert failure_of(lambda _: httpx.Response(400, json={"error": "no such tensor"})).detail == "no such tensor"


@pytest.mark.parametrize("status", [200, 502])
def test_something_else_on_the_port_is_named(status: int) -> None:
    error = failure_of(lambda _: httpx.Response(status, html="<p>hello</p>"))
    assert error.code == "not_a_gateway"
    assert "is this a Lectern gateway?" in error.detail


def test_a_refused_connection_says_how_to_start_a_gateway() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Client(url) as client, pytest.raises(ClientError) as caught:
            client.jobs()
    assert caught.value.detail == f"No gateway answers at {url}; start one with `lectern up`."


@pytest.mark.parametrize("url", ["localhost:8000", "http://[::1", "http://a\x00b", "http://a:port", "http://", ""])
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ClientError, match="is no URL of a gateway"):
        Client(url)


@pytest.mark.parametrize("body", [[1, 2], {"a": 1}, {"items": [1]}, {"items": {}}, {"items": [{}]}, None])
def test_other_json_on_the_port_is_named(body: object) -> None:
    error = failure_of(lambda _: httpx.Response(200, json=body))
    assert error.code == "not_a_gateway"
    assert "is this a Lectern gateway?" in error.detail


@pytest.mark.parametrize("body", [[1], {"errors": ["x"]}, {"errors": {"a": "b"}}, {"code": 7}, {"errors": 3}])
def test_a_refusal_in_other_json_is_told(body: object) -> None:
    error = failure_of(lambda _: httpx.Response(404, json=body))
    assert (error.code, error.status) == ("http_error", 404)
    assert "404" in error.detail


def test_a_list_is_read_to_its_end() -> None:
    pages = {None: (["a", "b"], "b"), "b": (["c"], None)}

    def handler(request: httpx.Request) -> httpx.Response:
        names, following = pages[request.url.params.get("after")]
        return httpx.Response(200, json={"items": [{"name": name} for name in names], "next": following})

    with client_of(handler) as client:
        assert [item.name for item in client.datasets()] == ["a", "b", "c"]


def test_names_are_quoted_in_paths() -> None:
    seen: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path)
        return httpx.Response(200, json={"name": "x"})

    with client_of(handler) as client:
        client.dataset("../jobs?x")
    assert seen == [b"/v1/datasets/..%2Fjobs%3Fx"]


def test_an_upload_sends_its_parts_and_tells_how_far_it_is(tmp_path: Path) -> None:
    (tmp_path / "train.npz").write_bytes(b"x" * 100_000)
    bodies: list[bytes] = []
    sent: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return httpx.Response(201, json={"name": "mine", "kind": "images", "counts": {"train": 3}})

    with client_of(handler) as client:
        dataset = client.add_dataset("mine", "images", {"train": tmp_path / "train.npz"}, {"a": 1}, sent.append)
    assert dataset.counts == {"train": 3}
    assert sum(sent) == 100_000
    assert b'name="options"\r\n\r\n{"a": 1}' in bodies[0]
    assert b'name="train"; filename="train.npz"' in bodies[0]


def test_a_broken_stream_is_taken_up_after_the_last_event() -> None:
    seen: list[str | None] = []

    def cut() -> Iterator[bytes]:
        yield b': heartbeat\n\nid: 3\nevent: progress\ndata: {"step": 5}\n\nid: 4\nevent: pro'
        raise httpx.ReadError("cut")

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("Last-Event-ID"))
        return httpx.Response(200, content=cut() if len(seen) == 1 else FINAL)

    with client_of(handler) as client:
        events = list(client.events("job"))
    assert [(event.id, event.event) for event in events] == [("3", "progress"), ("9", "state")]
    assert seen == [None, "3"]


def test_a_gateway_that_restarts_is_waited_for() -> None:
    replies = iter([httpx.Response(503, json={"code": "draining"}), httpx.Response(200, content=FINAL)])
    with client_of(lambda _: next(replies)) as client:
        assert [event.final for event in client.events("job")] == [True]


def test_a_gateway_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.client, "RECONNECT_SECONDS", 0.05)

    def handler(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with client_of(handler) as client, pytest.raises(ClientError, match="No gateway answers"):
        list(client.events("job"))


def test_a_gateway_that_restarts_after_a_long_silence_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that waits in the queue has no events for hours; heartbeats say that the gateway is there."""
    seconds = [0.0]
    monkeypatch.setattr(app.client.time, "monotonic", lambda: seconds[0])

    def quiet() -> Iterator[bytes]:
        for _ in range(9):
            seconds[0] += 15
            yield b": heartbeat\n\n"
        raise httpx.ReadError("cut")

    draining = httpx.Response(503, json={"code": "draining"})
    replies = iter([httpx.Response(200, content=quiet()), draining, httpx.Response(200, content=FINAL)])
    with client_of(lambda _: next(replies)) as client:
        assert [event.final for event in client.events("job")] == [True]


def test_an_event_may_hold_any_character() -> None:
    """Only line feeds end a line of a stream; JSON holds these as they are."""
    line = "a\u2028b\u2029c\x85d"
    event = f"id: 1\nevent: log\ndata: {json.dumps({'line': line}, ensure_ascii=False)}\n\n".encode()
    pieces = [event[:40], event[40:] + FINAL]
    with client_of(lambda _: httpx.Response(200, content=iter(pieces))) as client:
        assert [item.data for item in client.events("job")] == [{"line": line}, {"state": "succeeded"}]


def test_events_of_a_job_that_is_not_there_are_an_error_at_once() -> None:
    problem = {"code": "job_not_found", "detail": "There is no job 'x'."}
    with client_of(lambda _: httpx.Response(404, json=problem)) as client, pytest.raises(ClientError) as caught:
        list(client.events("x"))
    assert caught.value.code == "job_not_found"


def test_a_stream_that_ends_without_a_final_event_of_a_job_that_ended_is_over() -> None:
    """Its last event was delivered before the connection broke."""

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            return httpx.Response(200, content=b"")
        return httpx.Response(200, json={"id": "x", "state": "failed"})

    with client_of(handler) as client:
        assert list(client.events("x", "9")) == []


@pytest.mark.parametrize("key", ["again-1", None])
def test_submitting_and_resuming_send_the_key_that_makes_them_safe_to_repeat(key: str | None) -> None:
    sent: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("Idempotency-Key"))
        return httpx.Response(202, json={"id": "job_1", "state": "queued"})

    with client_of(answer) as client:
        client.submit({}, key)
        client.resume("job_0", {}, key)
    assert sent == [key, key]

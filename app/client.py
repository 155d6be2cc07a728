"""A small synchronous client of the REST API, for the command line, tests and scripts. Knows no server code.

Answers are the records of ``client_records``.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self, TypeVar, cast
from urllib.parse import quote, urlsplit

import httpx
from pydantic import ValidationError

from app.client_records import Dataset, Event, Family, Job, Json, Model, ModelCard, Problem, Reply
from app.event_stream import lines, parse_events
from app.listening import is_loopback
from models.contract.errors import FieldError

OnSent = Callable[[int], None]
"""Told how many bytes of an upload or download have just gone by."""

DEFAULT_URL = "http://127.0.0.1:8000"
RECONNECT_SECONDS = 30.0
"""How long a broken event stream is taken up again before giving up."""

RECONNECT_PAUSE_SECONDS = 0.5
EVENT_SILENCE_SECONDS = 60.0
RETRIED_STATUSES = frozenset({429, 502, 503, 504})


class ClientError(Exception):
    """A request failed: the gateway's problem, or a connection that could not be had (``status`` 0)."""

    def __init__(self, detail: str, code: str, status: int = 0, errors: tuple[FieldError, ...] = ()) -> None:
        """Keep the sentence, its stable code, the HTTP status and the fields concerned."""
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.status = status
        self.errors = errors


R = TypeVar("R", bound=Reply)


class Client:
    """The gateway at one URL. Use as a context manager, or call ``close``."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        timeout_seconds: float = 60.0,
        api_key: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Open no connection yet.

        Args:
            base_url: where the gateway listens.
            timeout_seconds: how long an answer may keep silent.
            api_key: what the gateway asks for, if it does.
            transport: another way to send requests, in tests.

        Raises:
            ClientError: ``base_url`` is no http URL, or the key holds what no key can.
        """
        self.base_url = base_url.rstrip("/")
        host = _host(base_url)
        if not host:
            message = f"'{base_url}' is no URL of a gateway; it looks like {DEFAULT_URL}."
            raise ClientError(message, "invalid_url")
        if api_key and not (api_key.isascii() and api_key.isprintable()):
            raise ClientError("The key holds characters that no key has; was it copied whole?", "invalid_key")
        self._timeout_seconds = timeout_seconds
        self._http = httpx.Client(
            base_url=self.base_url,
            timeout=timeout_seconds,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            transport=transport,
            trust_env=not is_loopback(host),  # a proxy for the world is none for this machine
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def families(self) -> list[Family]:
        """Return what can be trained."""
        return self._items(Family, "/v1/families")

    def family(self, name: str) -> Family:
        """Return one family with its options."""
        return self._one(Family, "GET", _path("families", name))

    def datasets(self) -> list[Dataset]:
        """Return all datasets."""
        return self._items(Dataset, "/v1/datasets")

    def dataset(self, name: str) -> Dataset:
        """Return one dataset."""
        return self._one(Dataset, "GET", _path("datasets", name))

    def newest(self, noun: str) -> list[Json]:
        """Return the first page of a list, such as ``jobs``, as it was sent."""
        return cast("list[Json]", self._json("GET", f"/v1/{noun}")["items"])

    def preview(self, name: str, **query: str | int) -> Json:
        """Return examples of a dataset."""
        return self._json("GET", f"{_path('datasets', name)}/preview", params=query)

    def add_dataset(
        self,
        name: str,
        kind: str,
        files: Mapping[str, Path],
        options: Mapping[str, object],
        on_sent: OnSent | None = None,
    ) -> Dataset:
        """Upload ``files`` by part name and return the summary.

        Raises:
            ClientError: the gateway refuses them.
            OSError: a file cannot be read.
        """
        fields = {"name": name, "kind": kind, "options": json.dumps(dict(options))}
        with ExitStack() as stack:
            parts = {
                part: (path.name, stack.enter_context(_Upload(path, on_sent)), "application/octet-stream")
                for part, path in files.items()
            }
            timeout = httpx.Timeout(self._timeout_seconds, read=None)  # the gateway reads the whole dataset first
            return self._one(Dataset, "POST", "/v1/datasets", data=fields, files=parts, timeout=timeout)

    def delete_dataset(self, name: str) -> None:
        """Delete a dataset."""
        self._send("DELETE", _path("datasets", name))

    def submit(self, submission: Mapping[str, object], idempotency_key: str | None = None) -> Job:
        """Submit a training job."""
        return self._one(Job, "POST", "/v1/jobs", json=dict(submission), headers=_keyed(idempotency_key))

    def jobs(self, **filters: str | None) -> list[Job]:
        """Return jobs, newest first, those of a ``state``, ``family`` or ``model`` if given."""
        return self._items(Job, "/v1/jobs", {name: value for name, value in filters.items() if value})

    def job(self, job_id: str) -> Job:
        """Return one job."""
        return self._one(Job, "GET", _path("jobs", job_id))

    def logs(self, job_id: str) -> str:
        """Return what the job wrote."""
        return self._send("GET", f"{_path('jobs', job_id)}/logs").text

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop."""
        return self._one(Job, "POST", f"{_path('jobs', job_id)}/cancel")

    def resume(self, job_id: str, training: Mapping[str, object], idempotency_key: str | None = None) -> Job:
        """Return a new job that goes on where ``job_id`` ended."""
        path = f"{_path('jobs', job_id)}/resume"
        return self._one(Job, "POST", path, json={"training": dict(training)}, headers=_keyed(idempotency_key))

    def events(self, job_id: str, last_event_id: str | None = None) -> Iterator[Event]:
        """Yield the events of a job until it ends, taking a broken stream up again where it broke.

        Raises:
            ClientError: there is no such job, or the gateway stayed away for ``RECONNECT_SECONDS``.
        """
        last, away_since = last_event_id, time.monotonic()
        while True:
            failure: ClientError | None = None
            try:
                for event in self._stream(job_id, last):
                    away_since = time.monotonic()
                    if event is None:
                        continue
                    last = event.id or last
                    yield event
                    if event.final:
                        return
                if self.job(job_id).state.final:
                    return
            except ClientError as error:
                if error.status and error.status not in RETRIED_STATUSES:
                    raise
                failure = error
            if failure and time.monotonic() - away_since > RECONNECT_SECONDS:
                raise failure
            time.sleep(RECONNECT_PAUSE_SECONDS)

    def workers(self, queue: str) -> int | None:
        """Return how many workers take jobs from ``queue``, None if that is not told. Keys need the scope ``admin``."""
        metric = f'lectern_workers{{queue="{queue}"}} '
        lines = self._send("GET", "/metrics").text.splitlines()
        return next((int(float(line.removeprefix(metric))) for line in lines if line.startswith(metric)), None)

    def models(self) -> list[Model]:
        """Return all models."""
        return self._items(Model, "/v1/models")

    def model(self, name: str) -> Model:
        """Return one model."""
        return self._one(Model, "GET", _path("models", name))

    def version(self, model: str, version: int | str) -> ModelCard:
        """Return the model card of one version."""
        return self._one(ModelCard, "GET", _path("models", model, "versions", str(version)))

    def download(self, model: str, version: int | str, file: IO[bytes], on_received: OnSent | None = None) -> None:
        """Write the artifact of one version, a tar, into ``file``.

        Raises:
            ClientError: there is no such version, or the connection broke before the end.
        """
        path = f"{_path('models', model, 'versions', str(version))}/artifact"
        try:
            with self._http.stream("GET", path) as reply:
                if reply.is_error:
                    reply.read()
                    raise _problem(reply)
                for chunk in reply.iter_bytes():
                    file.write(chunk)
                    if on_received:
                        on_received(len(chunk))
        except httpx.TransportError as error:
            raise self._unreached(error) from error

    def set_alias(self, model: str, alias: str, version: int) -> None:
        """Point an alias at a version."""
        self._send("PUT", _path("models", model, "aliases", alias), json={"version": version})

    def delete_alias(self, model: str, alias: str) -> None:
        """Remove an alias."""
        self._send("DELETE", _path("models", model, "aliases", alias))

    def delete_version(self, model: str, version: int) -> None:
        """Delete a version."""
        self._send("DELETE", _path("models", model, "versions", str(version)))

    def predict(
        self,
        model: str,
        verb: str,
        body: bytes | Mapping[str, object],
        version: str | None = None,
        media_type: str = "application/json",
    ) -> Json:
        """Return the answer to ``verb``; a bare body goes with its ``media_type``."""
        content = body if isinstance(body, bytes) else json.dumps(dict(body)).encode()
        return self._json("POST", _asked(model, verb, version), content=content, headers={"Content-Type": media_type})

    def picture(
        self, model: str, verb: str, body: bytes, version: str | None, media_type: str, form: str = "image/png"
    ) -> bytes:
        """Return the answer to ``verb`` drawn in a ``form``, the media type of a picture."""
        headers = {"Content-Type": media_type, "Accept": form}
        return self._send("POST", _asked(model, verb, version), content=body, headers=headers).content

    def _stream(self, job_id: str, last_event_id: str | None) -> Iterator[Event | None]:
        """Yield events, and None for each sign of life in between."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        timeout = httpx.Timeout(self._timeout_seconds, read=EVENT_SILENCE_SECONDS)
        try:
            with self._http.stream("GET", f"{_path('jobs', job_id)}/events", headers=headers, timeout=timeout) as reply:
                if reply.is_error:
                    reply.read()
                    raise _problem(reply)
                yield from parse_events(lines(reply.iter_text()))
        except httpx.TransportError as error:
            raise self._unreached(error) from error

    def _items(self, record: type[R], path: str, params: Mapping[str, str] | None = None) -> list[R]:
        items: list[R] = []
        query = dict(params or {})
        while True:
            page = self._one(_Page, "GET", path, params=query)
            items += [self._record(record, item) for item in page.items]
            if not page.next:
                return items
            query["after"] = page.next

    def _one(self, record: type[R], method: str, path: str, **options: Any) -> R:
        return self._record(record, self._json(method, path, **options))

    def _record(self, record: type[R], value: object) -> R:
        try:
            return record.model_validate(value)
        except ValidationError as error:
            message = f"{self.base_url} answered with other JSON than expected; is this a Lectern gateway?"
            raise ClientError(message, "not_a_gateway") from error

    def _json(self, method: str, path: str, **options: Any) -> Json:
        reply = self._send(method, path, **options)
        try:
            return cast("Json", reply.json())
        except ValueError as error:
            message = f"{self.base_url} answered something that is not JSON; is this a Lectern gateway?"
            raise ClientError(message, "not_a_gateway", reply.status_code) from error

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            reply = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._unreached(error) from error
        if not reply.is_success:
            raise _problem(reply)
        return reply

    def _unreached(self, error: httpx.TransportError) -> ClientError:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            message = f"No gateway answers at {self.base_url}; start one with `lectern up`."
            return ClientError(message, "no_gateway")
        if isinstance(error, httpx.TimeoutException):
            return ClientError(f"The gateway at {self.base_url} did not answer in time.", "timeout")
        reason = str(error) or type(error).__name__
        return ClientError(f"The connection to {self.base_url} broke: {reason}", "connection_broken")


class _Page(Reply):
    """Part of a list."""

    items: tuple[Json, ...]
    next: str | None = None


class _Upload(io.FileIO):
    """A file that tells how much of it was read."""

    def __init__(self, path: Path, on_sent: OnSent | None) -> None:
        super().__init__(path, "rb")
        self._on_sent = on_sent

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        if self._on_sent:
            self._on_sent(len(data))
        return data


def _keyed(idempotency_key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": idempotency_key} if idempotency_key else {}


def _path(*steps: str) -> str:
    return "/v1/" + "/".join(quote(step, safe="") for step in steps)


def _host(url: str) -> str | None:
    """Return the host of an http URL, or None if it is none."""
    try:
        parts = urlsplit(url)
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        return None
    return parts.hostname if parts.scheme in ("http", "https") else None


def _asked(model: str, verb: str, version: str | None) -> str:
    named = _path("models", model, "versions", version) if version else _path("models", model)
    return f"{named}/{quote(verb, safe='')}"


def _problem(reply: httpx.Response) -> ClientError:
    """Return the gateway's problem, or a sentence about an answer that is none."""
    fallback = f"{reply.request.url} answered {reply.status_code} {reply.reason_phrase}"
    try:
        body = reply.json()
    except ValueError:
        return ClientError(f"{fallback}; is this a Lectern gateway?", "not_a_gateway", reply.status_code)
    given = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
    detail = str(given.get("detail") or given.get("error") or fallback)
    try:
        problem = Problem.model_validate(given)
    except ValidationError:  # of something else that speaks JSON
        return ClientError(detail, "http_error", reply.status_code)
    return ClientError(detail, problem.code or "http_error", reply.status_code, problem.fields())

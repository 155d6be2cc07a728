"""Multipart bodies: parsed while they arrive, files written straight to where they are read, cut-off ones refused."""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from anyio import sleep, to_thread
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from models.contract.errors import MalformedBody
from models.data.kind import UploadedFile

LARGEST_FIELD_BYTES = 2**20
LARGEST_PART_COUNT = 32
WRITE_BYTES = 2**20
"""What is gathered before a thread writes it: few writes, and none on the event loop."""

PAUSE_SECONDS = 0.008
"""After each write: an upload from this machine comes faster than the event loop can serve others beside it."""

TAIL_BYTES = 1024
"""Where the closing delimiter is looked for; what follows it is ignored by the format."""

CHARSETS = frozenset({"utf-8", "ascii"})


@dataclass(frozen=True)
class FilePart:
    """A file of the form: its part, the client's name for it, where it lies and how large it is."""

    part: str
    file: UploadedFile
    payload_bytes: int


@dataclass(frozen=True)
class Form:
    """The parts of a body in their order."""

    fields: list[tuple[str, str]]
    files: list[FilePart]


async def read_form(request: Request, folder: Path) -> Form:
    """Return the parts of the body; files are written into ``folder``, under numbers, which the caller removes.

    Raises:
        MalformedBody: the body is no multipart form, is cut short, or has too many parts.
    """
    _, parameters = parse_options_header(request.headers.get("content-type", ""))
    _check_charset(parameters.get(b"charset", b"utf-8").decode("latin-1"))
    boundary = parameters.get(b"boundary", b"")
    if not boundary:
        raise MalformedBody("The body is no multipart form: its Content-Type names no boundary.")
    receiver = _Receiver(folder)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": receiver.begin,
                "on_header_field": receiver.header_name,
                "on_header_value": receiver.header_value,
                "on_header_end": receiver.header_end,
                "on_headers_finished": receiver.headers_finished,
                "on_part_data": receiver.data,
                "on_part_end": receiver.end,
            },
        )
        async for chunk in _whole(request, b"--" + boundary + b"--"):
            parser.write(chunk)
            if receiver.unwritten_bytes >= WRITE_BYTES:
                await to_thread.run_sync(receiver.write)
                await sleep(PAUSE_SECONDS)
        parser.finalize()
        await to_thread.run_sync(receiver.write)
    except FormParserError as error:
        raise MalformedBody(f"The body is no multipart form: {error}") from error
    finally:
        receiver.close()
    return receiver.form()


async def _whole(request: Request, closing: bytes) -> AsyncGenerator[bytes]:
    """Yield the body and fail when it ends before the form does, which the parser does not notice."""
    tail = b""
    async for chunk in request.stream():
        tail = chunk[-TAIL_BYTES:] if len(chunk) >= TAIL_BYTES else (tail + chunk)[-TAIL_BYTES:]
        yield chunk
    if closing not in tail:
        raise MalformedBody("The body is no multipart form: It is cut short.")


def _check_charset(charset: str) -> None:
    try:
        known = codecs.lookup(charset).name in CHARSETS
    except LookupError:
        known = False
    if not known:
        raise MalformedBody(f"Forms are read as UTF-8, not in the charset '{charset[:50]}'.")


@dataclass
class _Part:
    disposition: bytes = b""
    name: str = ""
    text: bytearray = field(default_factory=bytearray)
    target: BinaryIO | None = None
    path: Path | None = None
    filename: str = ""
    payload_bytes: int = 0


class _Receiver:
    """Takes what the parser finds; keeps file data until ``write``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: list[_Part] = []
        self._name = bytearray()
        self._value = bytearray()
        self._waiting: list[tuple[BinaryIO, memoryview]] = []
        self.unwritten_bytes = 0

    def begin(self) -> None:
        if len(self._parts) == LARGEST_PART_COUNT:
            raise MalformedBody(f"The form has more than {LARGEST_PART_COUNT} parts.")
        self._parts.append(_Part())

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if bytes(self._name).lower() == b"content-disposition":
            self._parts[-1].disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def headers_finished(self) -> None:
        part = self._parts[-1]
        _, options = parse_options_header(part.disposition)
        if b"name" not in options:
            raise MalformedBody('The body is no multipart form: a part has no "name" in its Content-Disposition.')
        part.name = _decoded(options[b"name"])
        if b"filename" in options:
            part.filename = options[b"filename"].decode("utf-8", "replace")
            part.path = self._folder / str(len(self._parts))
            part.target = part.path.open("xb", buffering=0)

    def data(self, data: bytes, start: int, end: int) -> None:
        part = self._parts[-1]
        part.payload_bytes += end - start
        if part.target is not None:
            self._waiting.append((part.target, memoryview(data)[start:end]))
            self.unwritten_bytes += end - start
        elif part.payload_bytes > LARGEST_FIELD_BYTES:
            raise MalformedBody(f"A text field of the form is longer than {LARGEST_FIELD_BYTES} bytes.")
        else:
            part.text += data[start:end]

    def end(self) -> None:
        """Leave the file open: its last bytes are not written yet."""

    def write(self) -> None:
        """Write what came; the only method that waits for a disk."""
        waiting, self._waiting, self.unwritten_bytes = self._waiting, [], 0
        for target in dict.fromkeys(target for target, _ in waiting):
            rest = memoryview(b"".join(piece for owner, piece in waiting if owner is target))
            while rest:
                rest = rest[target.write(rest) :]

    def close(self) -> None:
        for part in self._parts:
            if part.target is not None:
                part.target.close()

    def form(self) -> Form:
        fields = [(part.name, _decoded(bytes(part.text))) for part in self._parts if part.path is None]
        files = [
            FilePart(part.name, UploadedFile(part.filename, part.path), part.payload_bytes)
            for part in self._parts
            if part.path is not None
        ]
        return Form(fields, files)


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MalformedBody(f"The names and text fields of a form are UTF-8; this one is not: {error}.") from error

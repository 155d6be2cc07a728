"""The body of a request that is read without a framework: whole, within a limit, and unpacked if it is compressed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import cast

from starlette.types import Receive

from app.negotiation import ranked
from app.serving.tickets import ClientLeft
from models.contract.errors import MalformedBody, PayloadTooLarge, UnsupportedMedia

Headers = Mapping[bytes, bytes]

LONGEST_LENGTH = 18
"""Digits of a ``Content-Length`` that are worth reading as a number."""

WINDOW_BITS = {"gzip": 31, "deflate": 15}
PLAIN_ENCODINGS = frozenset({"", "identity"})


def check_announced(headers: Headers, limit: int) -> None:
    """Check the ``Content-Length``, if there is one.

    Raises:
        MalformedBody: it is no number.
        PayloadTooLarge: it is more than ``limit``.
    """
    text = headers.get(b"content-length", b"0")
    if not text.isdigit():
        raise MalformedBody("Content-Length is not a number.")
    if len(text) > LONGEST_LENGTH or int(text) > limit:
        raise too_large(limit)


def too_large(limit: int) -> PayloadTooLarge:
    """Return the error for a body of more than ``limit`` bytes."""
    return PayloadTooLarge(f"The body is larger than the {limit} bytes that are read here.")


async def read(receive: Receive, headers: Headers, limit: int) -> bytes:
    """Return the body as it was before it was compressed.

    Raises:
        PayloadTooLarge: it is more than ``limit`` bytes, compressed or not.
        UnsupportedMedia: its ``Content-Encoding`` is none that is read here.
        MalformedBody: it is not what its ``Content-Encoding`` says.
        ClientLeft: the client went before it was whole.
    """
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientLeft
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        chunks, size = [body], len(body)
        while message.get("more_body", False):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise too_large(limit)
            chunks.append(chunk)
        body = b"".join(chunks)
    if len(body) > limit:
        raise too_large(limit)
    encoding = headers.get(b"content-encoding")
    return body if encoding is None else _unpacked(body, encoding.decode("latin-1").strip().lower(), limit)


def packed(body: bytes, accepted: bytes, least: int) -> tuple[bytes, bytes | None]:
    """Return ``body`` in the encoding that the client likes best and its name; small ones go as they are."""
    if len(body) >= least:
        known = (name for name in ranked(accepted.decode("latin-1")) if name in PLAIN_ENCODINGS or name in WINDOW_BITS)
        name = next(known, "")
        if name in WINDOW_BITS:
            packer = zlib.compressobj(1, wbits=WINDOW_BITS[name])
            return packer.compress(body) + packer.flush(), name.encode()
    return body, None


def has_left(receive: Receive) -> Callable[[], bool]:
    """Return what tells whether the client of a request whose body was read has gone.

    The next message can only be that it has. Whether it is there is found by taking one step of waiting for it.
    """

    def left() -> bool:
        waiting = receive().__await__()
        try:
            next(waiting)
        except StopIteration as stop:
            message = cast("Mapping[str, object]", stop.value)
            return message["type"] == "http.disconnect"
        finally:
            close = getattr(waiting, "close", None)
            if close is not None:
                close()
        return False

    return left


def _unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    if encoding in PLAIN_ENCODINGS:
        return body
    if encoding not in WINDOW_BITS:
        known = ", ".join(WINDOW_BITS)
        raise UnsupportedMedia(
            f"A body with the Content-Encoding '{encoding[:50]}' is not read; send {known} or as it is."
        )
    unpacker = zlib.decompressobj(WINDOW_BITS[encoding])
    try:
        found = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise MalformedBody(f"The body is not {encoding}: {error}.") from error
    if len(found) > limit or unpacker.unconsumed_tail:
        raise too_large(limit)
    if not unpacker.eof or unpacker.unused_data:
        raise MalformedBody(f"The body ends before its {encoding} does, or goes on after it.")
    return found

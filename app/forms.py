"""Multipart bodies: parsed while they arrive, files spooled to disk, and refused when they are cut short."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from models.contract.errors import MalformedBody

LARGEST_FIELD_BYTES = 2**20
LARGEST_PART_COUNT = 32
TAIL_BYTES = 1024
"""Where the closing delimiter is looked for; what follows it is ignored by the format."""


async def read_form(request: Request) -> FormData:
    """Return the parts of the body; the caller closes the form, which removes its files.

    Raises:
        MalformedBody: the body is no multipart form, is cut short, or has too many parts.
    """
    _, parameters = parse_options_header(request.headers.get("content-type", ""))
    parser = MultiPartParser(
        request.headers,
        _whole(request, b"--" + parameters.get(b"boundary", b"") + b"--"),
        max_files=LARGEST_PART_COUNT,
        max_fields=LARGEST_PART_COUNT,
        max_part_size=LARGEST_FIELD_BYTES,
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise MalformedBody(f"The body is no multipart form: {error.message}") from error
    except UnicodeError as error:  # some charsets fail in ways of their own
        raise MalformedBody(f"The body is no multipart form in the charset it names: {error}.") from error


async def _whole(request: Request, closing: bytes) -> AsyncGenerator[bytes]:
    """Yield the body and fail when it ends before the form does, which the parser does not notice."""
    tail = b""
    async for chunk in request.stream():
        tail = (tail + chunk)[-TAIL_BYTES:]
        yield chunk
    if closing not in tail:
        raise MultiPartException("It is cut short.")

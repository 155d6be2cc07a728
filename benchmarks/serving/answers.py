"""One HTTP answer out of the bytes that came: as much as a load client must know, and nothing more.

Reads answers with ``Content-Length`` or in chunks, as servers send them to a client that keeps its connection. Called
by ``load`` with all that has come of one answer so far.
"""

from __future__ import annotations

from typing import NamedTuple

HEAD_END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"
CHUNKED = b"\r\ntransfer-encoding: chunked"
RETRY_AFTER = b"\r\nretry-after:"
CLOSE = b"\r\nconnection: close"


class UnreadableAnswer(ValueError):
    """What came is no HTTP answer, or one that has no end."""


class Answer(NamedTuple):
    """A whole answer; ``status`` 0 stands for a connection that ended before there was one."""

    status: int
    head: bytes
    body: bytes

    @property
    def retry_after(self) -> bool:
        """Whether the answer says when to try again."""
        return RETRY_AFTER in self.head

    @property
    def closes(self) -> bool:
        """Whether the server ends the connection."""
        return CLOSE in self.head


LOST = Answer(0, b"", b"")


def answer_in(received: bytes) -> Answer | None:
    """Return the answer that ``received`` holds, None while it is incomplete; ``head`` is in small letters.

    Raises:
        UnreadableAnswer: it is none, or does not say where it ends.
    """
    end = received.find(HEAD_END)
    if end < 0:
        return None
    head = received[:end].lower()
    start = end + len(HEAD_END)
    try:
        status = int(head[9:12])
        at = head.find(LENGTH)
        if at < 0:
            return _chunked(status, head, received[start:])
        line = head.find(b"\r\n", at + len(LENGTH))
        length = int(head[at + len(LENGTH) : line if line > 0 else None])
    except ValueError as error:
        message = f"no HTTP answer: {received[:80]!r}"
        raise UnreadableAnswer(message) from error
    if len(received) < start + length:
        return None
    return Answer(status, head, received[start : start + length])


def _chunked(status: int, head: bytes, rest: bytes) -> Answer | None:
    if CHUNKED not in head:
        message = "neither a length nor chunks"
        raise ValueError(message)
    body = b""
    while True:
        line, found, rest = rest.partition(b"\r\n")
        if not found:
            return None
        size = int(line.split(b";")[0], 16)
        if len(rest) < size + 2:
            return None
        if size == 0:
            return Answer(status, head, body)
        body, rest = body + rest[:size], rest[size + 2 :]

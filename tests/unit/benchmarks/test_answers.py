"""HTTP answers out of bytes, in whatever pieces they come."""

from __future__ import annotations

import pytest

from benchmarks.serving.answers import Answer, UnreadableAnswer, answer_in

PLAIN = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"
LAST_LINE = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\ncontent-length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nhell\r\n1\r\no\r\n0\r\n\r\n"


def _answer(received: bytes) -> Answer:
    answer = answer_in(received)
    assert answer is not None
    return answer


@pytest.mark.parametrize("received", [PLAIN, LAST_LINE, CHUNKED])
def test_answer_is_there_with_its_last_byte_and_not_before(received: bytes) -> None:
    assert all(answer_in(received[:length]) is None for length in range(len(received)))
    assert _answer(received).status in {200, 429}


@pytest.mark.parametrize("received", [PLAIN, CHUNKED])
def test_answer_holds_the_body(received: bytes) -> None:
    assert _answer(received).body == b"hello"


def test_answer_says_whether_to_try_again_and_whether_the_connection_goes_on() -> None:
    assert _answer(LAST_LINE).retry_after
    assert not _answer(PLAIN).retry_after
    assert not _answer(PLAIN).closes
    assert _answer(PLAIN.replace(b"X-A: b", b"Connection: Close")).closes


def test_body_that_looks_like_headers_is_none() -> None:
    body = b"\r\nRetry-After: 1\r\n\r\n"
    answer = _answer(b"HTTP/1.1 503 No\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert answer.body == body
    assert not answer.retry_after


@pytest.mark.parametrize(
    "received",
    [b"HTTP/1.1 200 OK\r\nDate: now\r\n\r\n", b"SSH-2.0 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"],
)
def test_answer_without_an_end_is_refused(received: bytes) -> None:
    with pytest.raises(UnreadableAnswer):
        answer_in(received)

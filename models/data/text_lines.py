"""Lines of an uploaded text file, plain or gzipped: decoded one by one, so that a problem has its line.

Called by the readers of text kinds. Memory is bounded by the longest line.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

from models.contract.errors import PayloadTooLarge
from models.data.images.npz import LARGEST_BYTES
from models.data.kind import UploadedFile
from models.data.problems import Problems

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = b"PK\x03\x04"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
LONGEST_LINE_BYTES = 2**24
MOST_LINES = 50_000_000
LONGEST_SHOWN_NAME = 60


def shown(file: UploadedFile) -> str:
    """Return the client's name of the file as messages show it."""
    name = "".join(letter if letter.isprintable() else "?" for letter in file.filename)
    return name[-LONGEST_SHOWN_NAME:] or "the file"


def read_lines(part: str, file: UploadedFile, problems: Problems) -> Iterator[str]:
    """Yield the lines with their ends (LF, CRLF or CR), without a byte order mark.

    A line that is not UTF-8 or holds a NUL byte is noted in ``problems`` and yielded with marks in their place; a
    damaged gzip stream or an endless line is noted and ends the lines.

    Raises:
        PayloadTooLarge: more bytes or lines than are read.
    """
    with file.path.open("rb") as plain:
        begin = plain.read(4)
    if begin == ZIP_MAGIC:
        problems.add(part, f"{shown(file)}: is a zip archive or an Excel workbook; save the sheet as csv (UTF-8)")
        return
    number = total = 0
    try:
        with gzip.open(file.path) if begin.startswith(GZIP_MAGIC) else file.path.open("rb") as stream:
            while block := stream.readline(LONGEST_LINE_BYTES + 1):
                total += len(block)
                if len(block) > LONGEST_LINE_BYTES:
                    detail = f"{shown(file)} line {number + 1}: longer than {LONGEST_LINE_BYTES} bytes; is it text?"
                    problems.add(part, detail)
                    return
                # A block ends at a line feed; old files end their lines by carriage returns alone.
                for line in block.removeprefix(BYTE_ORDER_MARK if number == 0 else b"").splitlines(keepends=True):
                    number += 1
                    yield _decoded(line, part, f"{shown(file)} line {number}", problems)
                if total > LARGEST_BYTES or number > MOST_LINES:
                    message = f"/{part}: more than {LARGEST_BYTES} bytes or {MOST_LINES} lines; send fewer"
                    raise PayloadTooLarge(message)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        detail = f"{shown(file)}: the gzip stream is damaged or cut off after line {number} ({error}); compress it anew"
        problems.add(part, detail)


def _decoded(line: bytes, part: str, place: str, problems: Problems) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        utf16 = line.startswith(UTF16_MARKS)
        found = "UTF-16" if utf16 else f"not UTF-8: byte 0x{line[error.start]:02x} at position {error.start + 1}"
        problems.add(part, f"{place}: the text is {found}; save the file as UTF-8")
        return line.decode(errors="replace").replace("\0", "\ufffd")
    if "\0" in text:
        problems.add(part, f"{place}: holds a NUL byte; save the file as plain UTF-8 text")
        return text.replace("\0", "\ufffd")
    return text

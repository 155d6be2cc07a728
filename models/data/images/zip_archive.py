"""The list of a zip of ``label/picture.png``: every member checked by its name and header before a byte is unpacked.

One folder around all labels is unwrapped; what operating systems add (``__MACOSX``, names that begin with a dot,
``Thumbs.db``) is left out and counted. Nothing is ever written under a member's name. Called by ``folders``.
"""

from __future__ import annotations

import io
import stat
import unicodedata
import zipfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Self

from models.contract.errors import InvalidDataset, PayloadTooLarge
from models.data.images.npz import LARGEST_BYTES, UNREADABLE
from models.data.kind import UploadedFile
from models.data.problems import Problems
from models.data.text_lines import shown

PICTURES = frozenset({".png", ".jpg", ".jpeg"})
ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".npz"})
LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Others unpack without a bound on what they give at a time, and no picture needs them."""

UTF8_NAME = 0x800
ENCRYPTED = 0x1
LOCAL_HEADER_BYTES = 30
LARGEST_DIRECTORY_BYTES = 2**27
"""Most bytes of the list of members: about a million of them."""

LARGEST_PICTURE_BYTES = 2**26
LONGEST_LABEL = 200
LONGEST_SHOWN_PATH = 120
REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that make a name look like another."""

Steps = tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """One member that is to be read: its label, its path as shown in messages, and where it lies."""

    label: str
    path: str
    info: zipfile.ZipInfo


@dataclass
class Listing:
    """What an archive holds: pictures by path, folders without pictures, and how many files were left out."""

    pictures: list[Picture] = field(default_factory=list[Picture])
    empty_labels: list[str] = field(default_factory=list[str])
    ignored: int = 0


def holds_folders(file: UploadedFile) -> bool:
    """Return whether the file is a zip of something else than the arrays of an npz."""
    try:
        with _BoundedFile(file) as opened, zipfile.ZipFile(opened) as archive:
            return not any(name.endswith(".npy") and "/" not in name for name in archive.namelist())
    except _TooManyMembers:
        return True
    except UNREADABLE:
        return False


class ImageZip:
    """An open archive of pictures; a context manager."""

    def __init__(self, part: str, file: UploadedFile, problems: Problems) -> None:
        """Read the list of members.

        Raises:
            InvalidDataset: the archive cannot be read, or two members share bytes.
            PayloadTooLarge: it lists more members, or unpacks to more bytes, than are read.
        """
        self.part = part
        self.name = shown(file)
        self._problems = problems
        self._file = _BoundedFile(file)
        try:
            with self._readable():
                self._archive = zipfile.ZipFile(self._file)
            self._check_bounds(self._archive.infolist())
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._archive.close()
        self._file.close()

    def listing(self) -> Listing:
        """Return the pictures, sorted by path; whatever is neither picture nor litter is a problem."""
        found = Listing()
        files: dict[Steps, zipfile.ZipInfo] = {}
        folders: list[Steps] = []
        for info in self._archive.infolist():
            path = _path(info)
            steps = tuple(step for step in path.split("/") if step not in ("", "."))
            if reason := _bad_path(path, steps):
                self.problem(path, reason)
            elif any(step.startswith(".") or step.lower() in LITTER for step in steps):
                found.ignored += not path.endswith("/")
            elif path.endswith("/"):
                folders.append(steps)
            elif reason := _bad_member(info, steps):
                self.problem(path, reason)
            elif steps in files:
                self.problem(path, "comes more than once")
            else:
                files[steps] = info
        wrapped = _wrapped(files)
        self._label(found, {steps[wrapped:]: files[steps] for steps in sorted(files)})
        labels = {picture.label for picture in found.pictures}
        bare = {_normal(steps[wrapped]) for steps in folders if len(steps) == wrapped + 1} - labels
        found.empty_labels = sorted(bare)
        return found

    def bytes_of(self, picture: Picture) -> bytes:
        """Return the unpacked bytes, counted while they come, as what a header says of them can be wrong.

        Raises:
            ValueError: it cannot be unpacked, or to more than its header says; the text says why.
        """
        try:
            with self._archive.open(picture.info) as member:
                data = member.read(picture.info.file_size + 1)
        except UNREADABLE as error:
            message = f"cannot be unpacked ({error}); make the zip anew"
            raise ValueError(message) from error
        if len(data) != picture.info.file_size:
            message = f"unpacks to other than the {picture.info.file_size} bytes that the zip promises; make it anew"
            raise ValueError(message)
        return data

    def problem(self, path: str, reason: str) -> None:
        """Note what is wrong with a member."""
        self._problems.add(self.part, f"{self.name}: {_shown(path)}: {reason}")

    def _label(self, found: Listing, files: dict[Steps, zipfile.ZipInfo]) -> None:
        split_folders = {steps[0].lower() for steps in files if len(steps) > 2}
        if split_folders and split_folders <= SPLIT_NAMES:
            names = ", ".join(sorted(split_folders))
            reason = "holds splits, not labels; send each as a part of its own (train=…, test=…)"
            self.problem(names, reason)
            return
        for steps, info in files.items():
            label, path = _normal(steps[0]), "/".join(steps)
            if len(steps) < 2:
                self.problem(path, "lies in no folder; a picture lies in the folder of its label")
            elif len(steps) > 2:
                self.problem(path, "lies too deep; a picture lies in the folder of its label, not further down")
            elif len(label) > LONGEST_LABEL:
                self.problem(path, f"the label is longer than {LONGEST_LABEL} characters")
            else:
                found.pictures.append(Picture(label, path, info))

    def _check_bounds(self, infos: Sequence[zipfile.ZipInfo]) -> None:
        total = sum(info.file_size for info in infos)
        if total > LARGEST_BYTES:
            message = f"/{self.part}: {self.name} unpacks to {total} bytes; at most {LARGEST_BYTES} are read"
            raise PayloadTooLarge(message)
        end = 0
        for info in sorted(infos, key=lambda member: member.header_offset):
            if info.header_offset < end:
                detail = f"{self.name}: {_shown(_path(info))}: shares its bytes with another file; make the zip anew"
                raise InvalidDataset.at(f"/{self.part}", detail)
            end = info.header_offset + LOCAL_HEADER_BYTES + info.compress_size

    @contextmanager
    def _readable(self) -> Generator[None]:
        try:
            yield
        except _TooManyMembers as error:
            message = f"/{self.part}: {self.name} lists more files than the about one million that are read"
            raise PayloadTooLarge(message) from error
        except UNREADABLE as error:
            detail = f"{self.name}: is not a readable zip ({error}); is it complete?"
            raise InvalidDataset.at(f"/{self.part}", detail) from error


class _TooManyMembers(Exception):
    """The list of members is longer than is read."""


class _BoundedFile(io.FileIO):
    """A file of which no read is larger than the longest list of members: zipfile takes the list in one read."""

    def __init__(self, file: UploadedFile) -> None:
        super().__init__(file.path, "rb")

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > LARGEST_DIRECTORY_BYTES:
            raise _TooManyMembers
        return super().read(-1 if size is None else size) or b""


def _path(info: zipfile.ZipInfo) -> str:
    """Return the member's whole name; macOS writes UTF-8 without saying so, and some tools write backslashes."""
    name = info.orig_filename
    if not info.flag_bits & UTF8_NAME and not name.isascii():
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            name = info.orig_filename
    return name.replace("\\", "/")


def _bad_path(path: str, steps: Steps) -> str | None:
    """Return why the path is none that a folder can have, or None."""
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or letter in REORDERING for letter in path):
        return "has control characters in its name; rename it"
    if path.startswith("/") or (len(path) > 1 and path[1] == ":" and path[0].isalpha()):
        return "is an absolute path; zip the folder with paths inside it"
    if ".." in steps:
        return "points outside the zip ('..'); zip the folder with paths inside it"
    return None if steps else "has no name"


def _bad_member(info: zipfile.ZipInfo, steps: Steps) -> str | None:
    """Return why the member is no picture to read, or None."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    suffix = PurePosixPath(steps[-1]).suffix.lower()
    size, most = info.file_size, LARGEST_PICTURE_BYTES
    checks = (
        (kind == stat.S_IFLNK, "is a link; put the file itself into the zip"),
        (kind not in (0, stat.S_IFREG, stat.S_IFLNK), "is no plain file; leave it out"),
        (info.flag_bits & ENCRYPTED, "is encrypted; make the zip without a password"),
        (suffix in ARCHIVES, "is an archive within the archive; unpack it first"),
        (suffix not in PICTURES, "is no PNG or JPEG file by its name; convert it, or leave it out"),
        (info.compress_type not in METHODS, "is packed by another method than deflate; make the zip with that"),
        (size == 0, "is empty"),
        (size > most, f"unpacks to {size} bytes; at most {most} are read of one picture"),
    )
    return next((reason for bad, reason in checks if bad), None)


def _wrapped(files: dict[Steps, zipfile.ZipInfo]) -> int:
    """Return 1 if one folder lies around all labels, else 0."""
    return int(len({steps[0] for steps in files}) == 1 and all(len(steps) > 2 for steps in files))


def _normal(label: str) -> str:
    """Return the label as composed characters: macOS takes letters and accents apart."""
    return unicodedata.normalize("NFC", label)


def _shown(path: str) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in path)
    return text if len(text) <= LONGEST_SHOWN_PATH else f"…{text[-LONGEST_SHOWN_PATH:]}"

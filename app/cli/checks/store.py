"""Whether the artifact store can be written, and whether it keeps what publishing rests on: put-if-absent."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from app.cli.checks.finding import Finding, ok, problem

PROBE_FOLDER = "doctor"


def store(url: str) -> Finding:
    """Write an object, fail to write it again, read it and delete it."""
    from models.artifacts.store import ArtifactStore, ObjectMissing  # noqa: PLC0415 - `lectern --help` opens no store
    from models.contract.errors import LecternError  # noqa: PLC0415 - as above

    if not exists(url):
        return ok("store", f"{url} is not there yet; 'lectern up' makes it")
    path, content = f"{PROBE_FOLDER}/{uuid4().hex}", b"lectern doctor"
    try:
        opened = ArtifactStore(url)
        try:
            once, twice = opened.put_if_absent(path, content), opened.put_if_absent(path, b"again")
            kept = opened.get(path) == content
        finally:
            opened.delete(path)
    except (LecternError, ObjectMissing) as error:
        return problem("store", str(error), "correct LECTERN_STORE_URL and its credentials, or give write permission")
    if not (once and not twice and kept):
        remedy = "publishing a version needs it; take a store that has it"
        return problem("store", f"{url} replaces an object that was to be put only if absent", remedy)
    return ok("store", f"{url} takes, keeps and gives back")


def exists(url: str) -> bool:
    """Return whether a store in a folder has its folder; a store elsewhere is asked itself."""
    parts = urlsplit(url)
    return parts.scheme != "file" or Path(unquote(parts.path)).is_dir()

"""Whether a gateway on this store asks for keys, and whether there is one that it would take."""

from __future__ import annotations

from collections.abc import Iterator

from app.cli.checks.finding import Finding, ok, warning
from app.cli.checks.store import exists


def keys(url: str) -> Iterator[Finding]:
    """Yield how many keys there are; a store that is away says so itself."""
    from app.access.keys import Keys  # noqa: PLC0415 - `lectern --help` opens no store
    from models.artifacts.store import ArtifactStore  # noqa: PLC0415 - as above
    from models.contract.errors import LecternError  # noqa: PLC0415 - as above

    if not exists(url):
        return
    try:
        found = Keys(ArtifactStore(url))
        made, live = len(found.names().records), found.live()
    except LecternError:
        return
    if not made:
        yield ok("keys", "there are none; gateways answer this machine alone, and ask it for nothing")
    elif live:
        yield ok("keys", f"{live} of {made} can be used; gateways ask for one")
    else:
        yield warning("keys", f"none of {made} is valid any more; gateways refuse everybody", "lectern keys create")

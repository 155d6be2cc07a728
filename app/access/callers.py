"""Who asks a gateway that has no keys: whoever is on this machine, and not whatever page is open in a browser.

A page of another site can send requests to this machine, and by a name that it lets point here (DNS rebinding) read the
answers, too. Browsers say whom they mean (``Host``) and for whom they ask (``Origin``, ``Sec-Fetch-Site``); other
programs need not.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

from app.listening import is_loopback
from models.contract.errors import Forbidden

PORT = re.compile(r":[0-9]{1,5}\Z")
KNOWN_NAMES = 1024
LONGEST_NAME = 300
TWO = b""
"""Two hosts are none."""

Headers = list[tuple[bytes, bytes]]


class Callers:
    """Judges by the headers of a request."""

    def __init__(self, trusted_hosts: Collection[str], *, any_host: bool) -> None:
        """Keep which hosts are this gateway, beside this machine's names; ``any_host`` takes all."""
        self._trusted = frozenset(host.lower() for host in trusted_hosts)
        self._any_host = any_host
        self._is_own_name = lru_cache(KNOWN_NAMES)(self._judged)

    def check(self, headers: Headers) -> None:
        """Return if the request may come from this machine's programs or pages.

        Raises:
            Forbidden: it is meant for another host, or sent by a page of another site.
        """
        host = origin = site = None
        for name, value in headers:
            if name == b"host":
                host = value if host is None else TWO
            elif name == b"origin":
                origin = value
            elif name == b"sec-fetch-site":
                site = value
        # No browser leaves it out.
        if host is not None and not self._any_host and not self._is_own(host):
            raise Forbidden(
                "Without keys only requests to this machine are answered: ask 127.0.0.1 or localhost, name the host in "
                "LECTERN_TRUSTED_HOSTS, or create a key with 'lectern keys create'."
            )
        if site == b"cross-site" or (origin is not None and not self._same(origin, host)):
            raise Forbidden("Without keys no request of another site's page is answered; create a key for it.")

    def _same(self, origin: bytes, host: bytes | None) -> bool:
        """Return whether a page of ``origin`` is this gateway's own, or of another program of this machine."""
        _, found, place = origin.partition(b"://")
        return bool(found) and (place == host or self._is_own(place))

    def _is_own(self, host: bytes) -> bool:
        return len(host) <= LONGEST_NAME and self._is_own_name(host)

    def _judged(self, host: bytes) -> bool:
        name = PORT.sub("", host.decode("latin-1").lower())
        if name.startswith("[") and name.endswith("]"):
            name = name[1:-1]
        elif ":" in name:
            return False
        return name in self._trusted or is_loopback(name)

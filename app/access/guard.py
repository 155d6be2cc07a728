"""ASGI layer before everything that costs: decides on method, path and headers, before a byte of the body is read.

In this order: a key that is valid (401), its rate (429), a declared route (404, 405), its scope (403). What it
allows goes on as ``scope["grant"]``.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from app import problems
from app.access.callers import Callers, Headers
from app.access.keyring import Grant, Keyring
from app.access.rates import Rates
from app.access.scopes import ADMIN, OPEN, Permissions
from models.contract.errors import Forbidden, LecternError, MethodNotAllowed, RateLimited, RouteNotFound, Unauthorized


class Refused(Exception):
    """An error with headers of its own."""

    def __init__(self, error: LecternError, headers: dict[str, str]) -> None:
        """Keep both."""
        super().__init__(error.detail)
        self.error = error
        self.headers = headers


class AccessGuard:
    """Lets in who may; answers the others."""

    def __init__(self, app: ASGIApp, keyring: Keyring, callers: Callers, rates: Rates) -> None:
        """Wrap ``app``."""
        self._app = app
        self._keyring = keyring
        self._callers = callers
        self._rates = rates
        self._permissions = Permissions()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and "grant" not in scope and scope["path"] not in OPEN:
            try:
                scope["grant"] = self.admitted(scope)
            except Refused as refused:
                await problems.response(refused.error, scope, refused.headers)(scope, receive, send)
                return
            except LecternError as error:
                await problems.response(error, scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def admitted(self, scope: Scope) -> Grant:
        """Return what the key of a request allows.

        Raises:
            Refused: an error that has headers of its own.
            LecternError: any other.
        """
        anybody = self._keyring.anybody()
        if anybody is not None:
            self._callers.check(scope["headers"])
            return anybody
        grant = self._keyring.grant(_authorization(scope["headers"]))
        wait_seconds = self._rates.wait_seconds(grant.key_id)
        if wait_seconds:
            detail = f"The key {grant.key_id} has sent more requests than are taken; come again in {wait_seconds} s."
            raise Refused(RateLimited(detail), {"Retry-After": str(wait_seconds)})
        needed = self._permissions.needed(scope["method"], scope["path"])
        if needed is None:
            self._check_undeclared(scope, grant)
        elif grant.scopes.isdisjoint(needed):
            raise Forbidden(f"This needs a key with the scope {' or '.join(sorted(needed))}.")
        return grant

    def _check_undeclared(self, scope: Scope, grant: Grant) -> None:
        """Return for ``admin``: others are told of no route that says not whom it is for."""
        if not grant.scopes.isdisjoint(ADMIN):
            return
        methods = self._permissions.methods(scope["path"])
        if methods:
            wrong = MethodNotAllowed(f"{scope['path']} does not take {scope['method']}.")
            raise Refused(wrong, {"Allow": ", ".join(methods)})
        raise RouteNotFound(f"There is no endpoint {scope['path']}; /docs lists those there are.")


def _authorization(headers: Headers) -> bytes | None:
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            if found is not None:
                raise Unauthorized("Two Authorization headers came; send one.")
            found = value
    return found

"""Which request needs which scope: the one place where a route says who may ask for it.

A route that is not named here answers nobody but ``admin``; a test demands that each is named. Imports nothing of the
gateway: the command line lists scopes without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Scope(StrEnum):
    """What a key is for."""

    PREDICT = "predict"
    TRAIN = "train"
    ADMIN = "admin"


Scopes = frozenset[Scope]

KNOWN_PATHS = 1024

PARAMETER = re.compile(r"\{[a-z_]+\}")

ALL: Scopes = frozenset(Scope)
PREDICT: Scopes = frozenset({Scope.PREDICT})
TRAIN: Scopes = frozenset({Scope.TRAIN})
ANY: Scopes = frozenset({Scope.PREDICT, Scope.TRAIN})
ADMIN: Scopes = frozenset({Scope.ADMIN})

OPEN = frozenset(
    {
        "/livez",
        "/readyz",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/docs",
        "/docs/start.js",
        "/docs/swagger-ui-bundle.js",
        "/docs/swagger-ui.css",
        "/openapi.json",
    }
)
"""Paths that ask nobody for a key: they tell whether the gateway lives and what it can do, not what it holds."""

ROUTES: Mapping[tuple[str, str], Scopes] = {
    ("GET", "/v1/families"): ANY,
    ("GET", "/v1/families/{family}"): ANY,
    ("GET", "/v1/datasets"): TRAIN,
    ("POST", "/v1/datasets"): TRAIN,
    ("GET", "/v1/datasets/{name}"): TRAIN,
    ("DELETE", "/v1/datasets/{name}"): TRAIN,
    ("GET", "/v1/datasets/{name}/preview"): TRAIN,
    ("GET", "/v1/jobs"): TRAIN,
    ("POST", "/v1/jobs"): TRAIN,
    ("GET", "/v1/jobs/{job_id}"): TRAIN,
    ("GET", "/v1/jobs/{job_id}/events"): TRAIN,
    ("GET", "/v1/jobs/{job_id}/logs"): TRAIN,
    ("POST", "/v1/jobs/{job_id}/cancel"): TRAIN,
    ("POST", "/v1/jobs/{job_id}/resume"): TRAIN,
    ("GET", "/v1/models"): ANY,
    ("GET", "/v1/models/{model}"): ANY,
    ("POST", "/v1/models/{model}/{verb}"): PREDICT,
    ("GET", "/v1/models/{model}/versions/{version}"): ANY,
    ("DELETE", "/v1/models/{model}/versions/{version}"): TRAIN,
    ("GET", "/v1/models/{model}/versions/{version}/artifact"): TRAIN,
    ("POST", "/v1/models/{model}/versions/{version}/{verb}"): PREDICT,
    ("PUT", "/v1/models/{model}/aliases/{alias}"): TRAIN,
    ("DELETE", "/v1/models/{model}/aliases/{alias}"): TRAIN,
    ("GET", "/v2/models/stats"): PREDICT,
    ("GET", "/v2/models/{model}"): PREDICT,
    ("GET", "/v2/models/{model}/config"): PREDICT,
    ("GET", "/v2/models/{model}/stats"): PREDICT,
    ("GET", "/v2/models/{model}/ready"): PREDICT,
    ("POST", "/v2/models/{model}/infer"): PREDICT,
    ("GET", "/v2/models/{model}/versions/{version}"): PREDICT,
    ("GET", "/v2/models/{model}/versions/{version}/ready"): PREDICT,
    ("GET", "/v2/models/{model}/versions/{version}/config"): PREDICT,
    ("GET", "/v2/models/{model}/versions/{version}/stats"): PREDICT,
    ("POST", "/v2/repository/index"): PREDICT,
    # Whether a model is in memory concerns everybody who asks it.
    ("POST", "/v2/repository/models/{model}/load"): ADMIN,
    ("POST", "/v2/repository/models/{model}/unload"): ADMIN,
    ("POST", "/v2/models/{model}/versions/{version}/infer"): PREDICT,
    # Of all projects together, with the names of their models.
    ("GET", "/metrics"): ADMIN,
}
"""Scopes by method and path; one of them suffices."""


@dataclass(frozen=True, slots=True)
class _Declared:
    pattern: re.Pattern[str]
    parameters: int
    scopes: Scopes


class Permissions:
    """The table above, ready to be asked for paths of requests."""

    def __init__(self, routes: Mapping[tuple[str, str], Scopes] = ROUTES) -> None:
        """Sort the routes by method and number of segments, those with more words before those with more parameters."""
        self._routes: dict[tuple[str, int], list[_Declared]] = {}
        for (method, path), scopes in sorted(routes.items(), key=lambda item: item[0][1].count("{")):
            declared = _Declared(re.compile(PARAMETER.sub("[^/]+", path)), path.count("{"), scopes)
            self._routes.setdefault((method, path.count("/")), []).append(declared)
        self._methods = sorted({method for method, _ in routes})
        self.needed = lru_cache(KNOWN_PATHS)(self._needed)
        """Return the scopes of which a request of a method and a path needs one; None if no route is declared."""

    def _needed(self, method: str, path: str) -> Scopes | None:
        declared = self._declared(method, path)
        return declared and declared.scopes

    def methods(self, path: str) -> list[str]:
        """Return the methods that are declared for a path; what '…/{verb}' takes '…/artifact' does not."""
        found = {method: self._declared(method, path) for method in self._methods}
        parameters = {method: declared.parameters for method, declared in found.items() if declared is not None}
        return [method for method, count in parameters.items() if count == min(parameters.values())]

    def _declared(self, method: str, path: str) -> _Declared | None:
        for declared in self._routes.get((method, path.count("/")), ()):
            if declared.pattern.fullmatch(path):
                return declared
        return None


def expanded(scopes: Iterable[Scope]) -> Scopes:
    """Return what a key with these scopes may do: ``admin`` includes all."""
    own = frozenset(scopes)
    return ALL if Scope.ADMIN in own else own

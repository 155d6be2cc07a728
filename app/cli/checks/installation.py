"""Whether Python and the packages are those that Lectern is pinned to."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from app.cli.checks.finding import Finding, ok, problem

OLDEST_PYTHON = (3, 11)
PIN = re.compile(
    r"(?P<name>[\w.-]+)(?:\[[^\]]*\])?==(?P<version>[^;\s]+)(?:\s*;\s*extra == ['\"](?P<extra>\w+)['\"])?$"
)
USED_EXTRAS = (None, "train")

VersionOf = Callable[[str], str | None]
"""Returns the version of an installed package, None if it is not installed."""


@dataclass(frozen=True)
class Pin:
    """A package, the version that Lectern is tested with, and the extra that it belongs to."""

    name: str
    version: str
    extra: str | None


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Return whether this Python is new enough."""
    text = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        return problem("python", f"Python {text}", "install Python 3.11 or newer and make the environment anew with it")
    return ok("python", f"Python {text} on {platform.system()} {platform.machine()}")


def packages(requirements: Iterable[str] | None = None, version_of: VersionOf | None = None) -> Finding:
    """Return which packages are missing or have another version than the pinned one."""
    pins = list(_pins(importlib.metadata.requires("lectern") or () if requirements is None else requirements))
    found = {pin: (version_of or _installed)(pin.name) for pin in pins}
    wrong = [
        f"{pin.name} is {version or 'missing'}, pinned {pin.version}"
        for pin, version in found.items()
        if (version is None and pin.extra is None) or (version and version.partition("+")[0] != pin.version)
    ]
    if wrong:
        return problem("packages", "; ".join(wrong), "install the pinned versions: make setup")
    trains = all(version for pin, version in found.items() if pin.extra == "train")
    return ok("packages", f"{len(pins)} pinned packages" if trains else "those of the gateway; none for training")


def own_version() -> str:
    """Return the version of Lectern that is installed here."""
    return importlib.metadata.version("lectern")


def _pins(requirements: Iterable[str]) -> Iterator[Pin]:
    for requirement in requirements:
        pin = PIN.match(requirement)
        if pin and pin["extra"] in USED_EXTRAS:
            yield Pin(pin["name"], pin["version"], pin["extra"])


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None

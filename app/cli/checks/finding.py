"""What a check found: one line of ``lectern doctor``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """How well something is, what was seen, and what to do unless it is well."""

    check: str
    level: Level
    detail: str
    remedy: str = ""

    def record(self) -> dict[str, str]:
        """Return it as JSON."""
        return asdict(self)


def ok(check: str, detail: str) -> Finding:
    """Return that all is well."""
    return Finding(check, "ok", detail)


def warning(check: str, detail: str, remedy: str) -> Finding:
    """Return that something works, and not as it could."""
    return Finding(check, "warning", detail, remedy)


def problem(check: str, detail: str, remedy: str) -> Finding:
    """Return that something does not work."""
    return Finding(check, "problem", detail, remedy)

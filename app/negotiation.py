"""Content negotiation: which forms of an answer a client takes, and which of them it likes best.

``routes/inference.py`` reads ``Accept`` with it, ``bodies.py`` reads ``Accept-Encoding``.
"""

from __future__ import annotations

import re

QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


def ranked(accept: str) -> list[str]:
    """Return the forms that a client accepts, in small letters, best first (RFC 9110, §12.4.2); none with weight 0."""
    found: list[tuple[float, str]] = []
    for item in accept.split(","):
        form, *parameters = (part.strip().lower() for part in item.split(";"))
        given = next((part.removeprefix("q=") for part in parameters if part.startswith("q=")), "1")
        quality = float(given) if QUALITY.fullmatch(given) else 1.0
        if form and quality > 0:
            found.append((quality, form))
    return [form for _, form in sorted(found, key=lambda pair: -pair[0])]

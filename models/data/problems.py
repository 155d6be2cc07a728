"""Problems of an upload, gathered so that a user can mend a file at once: the first twenty kept, the rest counted."""

from __future__ import annotations

from collections.abc import Collection

from models.contract.errors import FieldError, InvalidDataset

MOST_KEPT = 20
MOST_QUOTED = 3
"""Problems that the one-line detail repeats; all that are kept stand in the list."""


class Problems:
    """What is wrong with the parts of an upload, in the order found."""

    def __init__(self) -> None:
        """Start with none."""
        self._kept: list[FieldError] = []
        self.count = 0

    def add(self, part: str, detail: str, count: int = 1) -> None:
        """Note that ``count`` places of ``part`` have the problem that ``detail`` tells, with its remedy."""
        if len(self._kept) < MOST_KEPT:
            self._kept.append(FieldError(f"/{part}", detail))
            count -= 1
            self.count += 1
        self.count += count

    def check(self) -> None:
        """Return if there are none.

        Raises:
            InvalidDataset: there are; each of the first is an error of its own, and the last one counts the rest.
        """
        if not self.count:
            return
        errors = list(self._kept)
        rest = self.count - len(errors)
        if rest:
            errors.append(FieldError(errors[-1].pointer, f"and {rest} more problems like these"))
        quoted = "; ".join(f"{error.pointer}: {error.detail}" for error in errors[:MOST_QUOTED])
        raise InvalidDataset(
            quoted if self.count <= MOST_QUOTED else f"{quoted}; and {self.count - MOST_QUOTED} more", errors
        )


def check_parts(given: Collection[str], known: Collection[str], foreign: str, missing: str) -> None:
    """Return if every part of an upload is a ``known`` one and ``train`` is among them.

    Raises:
        InvalidDataset: a part is not, as ``foreign`` says, or ``train`` is missing, as ``missing`` says.
    """
    for part in given:
        if part not in known:
            raise InvalidDataset.at(f"/{part}", foreign)
    if "train" not in given:
        raise InvalidDataset.at("/train", missing)

"""How a trainer is asked to stop, and the statuses that it ends with."""

from __future__ import annotations

import os

STOPPED = 75
"""Exit status of a trainer that stopped because it was asked to (EX_TEMPFAIL of sysexits.h)."""

FAILED = 1
"""Exit status of a process that has told why it ends: a trainer the job's record, one beside it the trainer."""


class Stop:
    """Whether to stop. While there is nothing to save, being asked ends the process at once."""

    def __init__(self) -> None:
        """Start out running, with nothing to save."""
        self._asked = False
        self.can_save = False

    def __call__(self) -> bool:
        """Return whether the training should write its checkpoint and end."""
        return self._asked

    def ask(self, *_: object) -> None:
        """Ask for the stop; a signal handler."""
        if not self.can_save:
            os._exit(STOPPED)
        self._asked = True

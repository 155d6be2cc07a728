"""Whether gateway and workers can start with what is set: asked of them before ``lectern up`` starts anything.

In processes of their own, since the command line knows no worker and ``lectern up`` itself stays small.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from app.cli.output import CommandFailed

MODULES = ("app.settings", "workers.settings")
PREFIX = "LECTERN_"
CHECKED = frozenset(
    f"{PREFIX}{name}"
    for name in ("API_KEY", "HOME", "HOST", "INSECURE", "PORT", "PROCESSES", "REDIS_URL", "STORE_URL", "URL", "WORKERS")
)
"""What the options of ``lectern up`` are made of, and what is any text. Where no more is set nothing can be wrong."""


def check_settings(environment: Mapping[str, str]) -> None:
    """Return if the programs can be started with ``environment``.

    Raises:
        CommandFailed: a variable cannot be what it is set to; says of each what it can be, as the programs would.
    """
    if not any(name.startswith(PREFIX) and name not in CHECKED for name in environment):
        return
    asked = [
        subprocess.Popen([sys.executable, "-m", module], env=environment, stderr=subprocess.PIPE, text=True)
        for module in MODULES
    ]
    lines = [line for process in asked for line in process.communicate()[1].splitlines()]
    complaints = dict.fromkeys(line for line in lines if line.startswith(PREFIX))
    if complaints:
        raise CommandFailed("; ".join(complaints))

"""``lectern doctor``: looks at everything that Lectern rests on, a line for each, with what to do about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from app.cli.checks import gateway, gpu, installation, keys, machine, redis, store
from app.cli.checks.finding import Finding, problem
from app.cli.connection import DEFAULT_URL, AsJson
from app.cli.home import store_url
from app.cli.output import say, show_json

COLOURS = {"ok": 32, "warning": 33, "problem": 31}


def doctor(
    home: Annotated[Path, typer.Option(envvar="LECTERN_HOME", help="Folder of 'lectern up'.")] = Path(".lectern"),
    url: Annotated[str | None, typer.Option("--url", envvar="LECTERN_URL", help="Where the gateway listens.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check installation, machine, Redis, store, gateway and workers; exit 1 if there is a problem."""
    findings: list[Finding] = []
    for finding in examine(home, url):
        findings.append(finding)
        if not as_json:
            say(_line(finding))
    healthy = all(finding.level != "problem" for finding in findings)
    if as_json:
        show_json({"healthy": healthy, "checks": [finding.record() for finding in findings]})
    if not healthy:
        raise typer.Exit(1)


def examine(home: Path, url: str | None) -> Iterator[Finding]:
    """Yield what every check finds: of the URLs in the environment, else of the ``lectern up`` in ``home``."""
    redis_url = os.environ.get("LECTERN_REDIS_URL")
    artifacts = store_url(home)
    port = os.environ.get("LECTERN_PORT")
    gateway_url = url or (f"http://127.0.0.1:{port}" if port else DEFAULT_URL)
    yield from _checked("python", lambda: [installation.python()])
    yield from _checked("packages", lambda: [installation.packages()])
    yield from _checked("home", lambda: [machine.home(home)])
    yield from _checked("disk", lambda: [machine.disk(home)])
    yield from _checked("memory", lambda: [machine.memory()])
    yield from _checked("cores", lambda: [machine.cores()])
    yield from _checked("open files", lambda: [machine.open_files()])
    yield from _checked("gpu", lambda: [gpu.gpu()])
    yield from _checked("gateway", lambda: gateway.gateway(gateway_url, wanted=url is not None))
    yield from _checked("store", lambda: [store.store(artifacts)])
    yield from _checked("keys", lambda: keys.keys(artifacts))
    yield from _checked("redis", lambda: redis.redis(redis_url) if redis_url else redis.embedded(home))


def _checked(name: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Yield what ``check`` finds; one that falls is a finding itself, and the others go on."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - whatever is broken here is what the user wants to know
        yield problem(name, f"cannot be checked ({type(error).__name__}: {error})", "report it, with this line")


def _line(finding: Finding) -> str:
    mark = f"{finding.level:<8}"
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        mark = f"\033[{COLOURS[finding.level]}m{mark}\033[0m"
    return f"{mark} {finding.check:<12} {finding.detail}{f'; {finding.remedy}' if finding.remedy else ''}"

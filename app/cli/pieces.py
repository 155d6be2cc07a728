"""``lectern gateway`` and ``lectern worker``: one piece in this process, against a Redis that is there already."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Annotated, Any

import typer

from app.cli.address import check_exposure
from app.cli.embedded_redis import require
from app.cli.output import CommandFailed

DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"


def gateway(
    host: Annotated[str, typer.Option(envvar="LECTERN_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="LECTERN_PORT", min=0, max=65_535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    processes: Annotated[
        int, typer.Option(envvar="LECTERN_PROCESSES", min=1, max=64, help="Processes that serve on the one port.")
    ] = 1,
    *,
    insecure: Annotated[
        bool, typer.Option("--insecure", envvar="LECTERN_INSECURE", help="Listen beyond this machine without a key.")
    ] = False,
) -> None:
    """Run the gateway against LECTERN_REDIS_URL and LECTERN_STORE_URL."""
    from pydantic import ValidationError  # noqa: PLC0415 - as below

    from app.entry import serve  # noqa: PLC0415 - `lectern --help` needs no gateway
    from app.settings import GatewaySettings, complaints  # noqa: PLC0415 - as above

    given: dict[str, Any] = {"host": host, "port": port, "processes": processes, "insecure": insecure}
    try:
        settings = GatewaySettings(**given)
    except ValidationError as error:
        raise CommandFailed("; ".join(complaints(error))) from error
    check_exposure(settings.host, settings.store_url, insecure=settings.insecure)
    require(settings.redis_url)
    raise typer.Exit(serve(settings))


def worker(
    slots: Annotated[
        int | None, typer.Option(envvar="LECTERN_WORKER_SLOTS", min=1, max=64, help="Jobs trained at a time.")
    ] = None,
    queues: Annotated[
        str | None, typer.Option(envvar="LECTERN_QUEUES", help="Queues to take jobs from: train.cpu,train.gpu.")
    ] = None,
) -> None:
    """Run a worker against LECTERN_REDIS_URL and LECTERN_STORE_URL."""
    if importlib.util.find_spec("celery") is None or importlib.util.find_spec("torch") is None:
        raise CommandFailed("A worker needs what training takes; install it with: pip install 'lectern[train]'")
    require(os.environ.get("LECTERN_REDIS_URL", DEFAULT_REDIS_URL))
    given = {"LECTERN_WORKER_SLOTS": slots, "LECTERN_QUEUES": queues}
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    os.environ["PYTHONSAFEPATH"] = "1"
    os.execv(sys.executable, [sys.executable, "-m", "workers"])  # noqa: S606 - this process becomes the worker

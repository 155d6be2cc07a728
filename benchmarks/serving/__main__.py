"""Measure Lectern's predictions beside other servers, write docs/benchmarks.md and say which targets are reached.

The servers run all at the same time on one core, each waiting while another is asked; the load client runs on a second
core. A run that leaves something out prints its tables and leaves docs/benchmarks.md as it is. Exits with 1 if a target
is not reached. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.serving import processes
from benchmarks.serving.findings import Finding
from benchmarks.serving.measuring import OPEN_SHARE, Row
from benchmarks.serving.model import BenchModel
from benchmarks.serving.page import Circumstances, Runtime, page
from benchmarks.serving.peers import PEERS, NotInstalled, Peer
from benchmarks.serving.servers import BareUvicorn, Lectern, Server, Site, TwoProcesses, backing
from benchmarks.serving.targets import JSON, targets

PAGE = Path("docs/benchmarks.md")
CACHE = Path(".bench/peers").absolute()
RUNTIME = "onnxruntime"
SERVERS: Sequence[type[Server]] = (BareUvicorn, Lectern, TwoProcesses, *PEERS)
DESCRIPTORS = 8192


def main() -> int:
    """Run what the options say; return the exit status."""
    options = _options()
    if not hasattr(os, "sched_setaffinity"):
        sys.exit("Servers are pinned to a core, which this system does not offer; run it on Linux.")
    _allow_descriptors()
    own_core, client_core = processes.cores()
    machine = describe("uvicorn", "uvloop", "httptools", "fastapi", "onnxruntime")
    os.sched_setaffinity(0, {client_core})
    before = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as stack:
        site = Site(Path(folder), BenchModel.make(), own_core, CACHE)
        stack.enter_context(backing(site, client_core))
        servers = [server() for server in SERVERS if server.name in options.only]
        findings, rows = _start(servers, site, stack)
        runtime = _measure(rows, site, options)
    reached = targets({finding.title: finding for finding in findings})
    circumstances = _circumstances(servers, before, f"{machine}; {_cores(own_core, client_core)}")
    text = page(runtime, findings, reached, circumstances)
    print(f"\n{text}", end="")
    if options.page:
        options.page.write_text(text, encoding="utf-8")
    return 1 if any(target.reached is False for target in reached) else 0


def _options() -> argparse.Namespace:
    names = [RUNTIME, *(server.name for server in SERVERS)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds, in which all take turns (default 3)")
    parser.add_argument("--seconds", type=float, default=5, help="of each closed loop (default 5)")
    parser.add_argument("--open-seconds", type=float, help="of each open loop (default: --seconds)")
    parser.add_argument("--overload-seconds", type=float, default=30, help="of each overload (default 30)")
    parser.add_argument("--connections", type=int, default=2048, help="most connections in overload (default 2048)")
    parser.add_argument("--poison", type=int, default=100, help="poisoned batches for Lectern (default 100)")
    parser.add_argument("--poison-peers", type=int, default=5, help="poisoned batches for each peer (default 5)")
    parser.add_argument("--only", help=f"what to measure, with commas between: {','.join(names)}")
    parser.add_argument("--skip-peers", action="store_true", help="measure no peers, and install none")
    parser.add_argument("--skip-open", action="store_true", help="run no open loops")
    parser.add_argument("--skip-overload", action="store_true", help="run no overload")
    parser.add_argument("--skip-poison", action="store_true", help="send no bad requests")
    parser.add_argument("--page", type=Path, help=f"where to write (default: {PAGE} if nothing is left out)")
    options = parser.parse_args()
    only = options.only.split(",") if options.only else names
    if unknown := set(only) - set(names):
        parser.error(f"nothing is called {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if options.skip_peers:
        only = [name for name in only if name not in {peer.name for peer in PEERS}]
    whole = set(only) == set(names) and not (options.skip_open or options.skip_overload or options.skip_poison)
    options.only = only
    options.page = options.page or (PAGE if whole else None)
    options.open_seconds = options.open_seconds or options.seconds
    return options


def _start(servers: Sequence[Server], site: Site, stack: ExitStack) -> tuple[list[Finding], list[Row]]:
    """Start what can be started; return a finding for each row, and the rows that answer as they should."""
    findings: list[Finding] = []
    rows: list[Row] = []
    for server in servers:
        running, reason = None, ""
        try:
            if isinstance(server, Peer):
                server.install(site)
            if isinstance(server, TwoProcesses) and not server.known():
                reason = "not there: `lectern gateway` has no --processes"
            else:
                running = stack.enter_context(server.run(site))
        except NotInstalled as error:
            reason = f"not installed: {error}"
        except processes.NotStarted as error:
            reason = f"not started: {error}"
        forms = server.forms(site.model, running.headers if running else {})
        for name, form in forms.items():
            title = server.title if isinstance(server, BareUvicorn) else f"{server.title}, {name}"
            finding = Finding(server.name, name, title, peer=server.peer, missing=reason)
            findings.append(finding)
            if running is None:
                continue
            row = Row(finding, running, form)
            finding.missing = row.refusal()
            if not finding.missing:
                rows.append(row)
        print(f"{server.title}: {reason or 'runs'}", flush=True)
    return findings, rows


def _measure(rows: Sequence[Row], site: Site, options: argparse.Namespace) -> Runtime | None:
    """Fill the findings of ``rows``; return what ONNX Runtime alone does if that is wanted."""
    runtime = _closed(rows, site, options)
    if not options.skip_open:
        for number in range(options.rounds):
            _open(rows, options.open_seconds, number)
    asked = [row for row in rows if row.finding.server != BareUvicorn.name]
    if not options.skip_poison:
        for row in asked:
            row.poison(options.poison_peers if row.finding.peer else options.poison)
    if not options.skip_overload:
        for number in range(options.rounds):
            _overload([row for row in asked if number == 0 or not row.finding.peer], options, number)
    return runtime


def _closed(rows: Sequence[Row], site: Site, options: argparse.Namespace) -> Runtime | None:
    calls: list[dict[str, float]] = []
    for number in range(options.rounds):
        if RUNTIME in options.only:
            calls.append(_runtime_alone(site, options.seconds))
        for row in rows:
            row.closed(options.seconds)
            figures = row.finding.many[-1]
            print(f"round {number + 1}, {row.finding.title}: {figures.rate:,.0f} requests/s", flush=True)
    if not calls:
        return None
    columns = {name: [call[name] for call in calls] for name in calls[0]}
    thousand = [seconds * 1000 for seconds in columns["cpu_seconds"]]
    return Runtime(columns["rate"], columns["p50"], columns["p99"], thousand)


def _open(rows: Sequence[Row], seconds: float, number: int) -> None:
    """Ask each at its own rate, and Lectern right after each peer at the peer's."""
    own = next((row for row in rows if row.finding.title == JSON), None)
    for seed, row in enumerate(rows, start=number * len(rows)):
        rate = OPEN_SHARE * row.finding.saturation
        row.opened(row.finding.title, rate, seconds, seed)
        if row.finding.peer and own is not None:
            own.opened(row.finding.title, rate, seconds, seed)
    print(f"round {number + 1} of open loops: done", flush=True)


def _overload(rows: Sequence[Row], options: argparse.Namespace, number: int) -> None:
    for seed, row in enumerate(rows, start=number * len(rows)):
        row.overload(options.overload_seconds, options.seconds, options.connections, seed)
        found = row.finding.overloaded[-1]
        print(f"overload {number + 1}, {row.finding.title}: {found.share:.0%} of the saturation", flush=True)


def _runtime_alone(site: Site, seconds: float) -> dict[str, float]:
    program = Path(__file__).parent / "programs" / "runtime_alone.py"
    log = site.log("runtime")
    with processes.started(
        [sys.executable, "-P", str(program), str(site.graph), str(seconds)], site.core, log
    ) as alone:
        alone.wait()
    return json.loads(processes.last_words(log))


def _circumstances(servers: Sequence[Server], before: tuple[float, float, float], machine: str) -> Circumstances:
    after = os.getloadavg()
    arguments = [f'SERVING_ARGS="{shlex.join(sys.argv[1:])}"'] if sys.argv[1:] else []
    return Circumstances(
        machine=machine,
        date=datetime.now(UTC).date().isoformat(),
        command=" ".join(["make bench-serving", *arguments]),
        load=f"load of the machine over a minute: {before[0]:.1f} before, {after[0]:.1f} after; the run makes 1 to 2",
        versions={server.title: server.version() for server in servers},
    )


def _cores(servers: int, client: int) -> str:
    if servers == client:
        return f"servers and client on the same core {client}, so that every figure suffers"
    return f"servers on core {servers}, client on core {client}"


def _allow_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


if __name__ == "__main__":
    sys.exit(main())

"""The findings as tables: what is printed, and docs/benchmarks.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.serving.figures import Spread
from benchmarks.serving.findings import Closed, Finding, Overloaded, longest_recovery
from benchmarks.serving.measuring import STRAGGLING_SECONDS
from benchmarks.serving.targets import BARE, Target

TITLE = "# Benchmarks of serving"
INTRODUCTION = """\
Written by `make bench-serving`; read it as ratios, as seconds belong to one machine. Every server runs on one core
and the load client on another, all in one run and in turns. The model is the same everywhere: a perceptron
784-512-256-10 with softmax in ONNX, one picture of 28 × 28 per request, one thread of ONNX Runtime. A figure is the
median of the rounds, with the least and the largest in brackets; a ratio is the median of the ratios within rounds.
Latencies are those that the client sees; in open loops they count from the moment at which a request was to be sent.
"Lectern, binary" is the Open Inference Protocol with binary tensors both ways, "PNG" is `classify` with a bare
picture."""


@dataclass(frozen=True)
class Runtime:
    """ONNX Runtime alone: calls a second, and seconds of one."""

    rate: Sequence[float]
    p50: Sequence[float]
    p99: Sequence[float]
    cpu_per_thousand: Sequence[float]


@dataclass(frozen=True)
class Circumstances:
    """Under which the figures came about: sentences."""

    machine: str
    date: str
    command: str
    load: str
    versions: Mapping[str, str]
    """What each server is, by title."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up; all but the first are numbers and stand on the right."""
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        first = row[0].ljust(widths[0])
        return " | ".join([first, *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])

    rule = " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    return "\n".join(f"| {text} |" for text in (line(cells[0]), rule, *map(line, cells[1:])))


def page(
    runtime: Runtime | None, findings: Sequence[Finding], reached: Sequence[Target], circumstances: Circumstances
) -> str:
    """Return the whole document; parts that were not measured are left out."""
    sections = [
        ("Closed loop", _closed(runtime, findings)),
        ("Open loop", _open(findings)),
        ("Overload", _overload(findings)),
        ("Bad requests among good ones", _poison(findings)),
        ("Targets", _targets(reached)),
        ("How it was measured", _circumstances(findings, circumstances)),
    ]
    written = (f"## {name}\n\n{text}" for name, text in sections if text)
    return "\n\n".join([TITLE, INTRODUCTION, *written]) + "\n"


def milliseconds(seconds: float) -> str:
    """Return ``seconds`` in ms with three digits that count."""
    value = seconds * 1000
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _rate(value: float) -> str:
    return f"{value:,.0f}"


def _cpu(value: float) -> str:
    return f"{value:.3f}"


def _closed(runtime: Runtime | None, findings: Sequence[Finding]) -> str:
    head = [
        "",
        "requests/s, 32 connections",
        "of uvicorn alone",
        "p50 ms",
        "p99 ms",
        "p50 ms, 1 client",
        "p99 ms, 1 client",
        "CPU s per 1,000",
    ]
    bare = next((finding for finding in findings if finding.title == BARE and finding.measured), None)
    rows = [_closed_row(finding, bare, len(head)) for finding in findings]
    if runtime is not None:
        own = [
            Spread.of(values).show(write)
            for values, write in (
                (runtime.rate, _rate),
                (runtime.p50, milliseconds),
                (runtime.p99, milliseconds),
                (runtime.cpu_per_thousand, _cpu),
            )
        ]
        rows.insert(0, ["ONNX Runtime alone, calls in a loop", own[0], "", "", "", *own[1:]])
    failed = [_failures(finding) for finding in findings]
    notes = [note for note in failed if note]
    return "\n\n".join([table(head, rows), *notes]) if rows else ""


def _closed_row(finding: Finding, bare: Finding | None, columns: int) -> list[str]:
    if not finding.measured:
        return [finding.title, finding.missing or "not measured", *[""] * (columns - 2)]

    def show(samples: Sequence[Closed], value: Callable[[Closed], float], write: Callable[[float], str]) -> str:
        return Spread.of([value(sample) for sample in samples]).show(write)

    return [
        finding.title,
        show(finding.many, lambda closed: closed.rate, _rate),
        f"{finding.rate_against(bare):.3f}" if bare else "",
        show(finding.many, lambda closed: closed.p50, milliseconds),
        show(finding.many, lambda closed: closed.p99, milliseconds),
        show(finding.one, lambda closed: closed.p50, milliseconds),
        show(finding.one, lambda closed: closed.p99, milliseconds),
        show(finding.many, lambda closed: closed.cpu_per_thousand, _cpu),
    ]


def _failures(finding: Finding) -> str:
    failed = _together([closed.failed for closed in (*finding.one, *finding.many)])
    return f"{finding.title}: not every answer was good: {_counts(failed)}." if failed else ""


def _counts(statuses: Mapping[int, int]) -> str:
    """Return how often each status came; 0 is a connection that ended without an answer."""
    return ", ".join(f"{count} × {status or 'lost'}" for status, count in statuses.items()) or "none"


def _open(findings: Sequence[Finding]) -> str:
    rows = [
        [
            finding.title,
            whose,
            _rate(runs[0].rate),
            Spread.of([run.p50 for run in runs]).show(milliseconds),
            Spread.of([run.p99 for run in runs]).show(milliseconds),
            _others(_together([run.failed for run in runs]), sum(run.lost for run in runs)),
        ]
        for finding in findings
        for whose, runs in finding.opened.items()
    ]
    return (
        table(["", "at 60 % of the saturation of", "requests/s", "p50 ms", "p99 ms", "not good"], rows) if rows else ""
    )


def _together(statuses: Iterable[Mapping[int, int]]) -> Mapping[int, int]:
    total: Counter[int] = Counter()
    for counts in statuses:
        total.update(counts)
    return total


def _others(failed: Mapping[int, int], lost: int) -> str:
    return (
        ", ".join(filter(None, [_counts(failed) if failed else "", f"{lost:,} not sent or lost" if lost else ""]))
        or "0"
    )


def _overload(findings: Sequence[Finding]) -> str:
    head = [
        "",
        "saturation",
        "asked/s",
        "answered/s",
        "share",
        "p50 ms",
        "p99 ms",
        "MB before",
        "MB after",
        "not good",
        "with Retry-After",
    ]
    rows = [_overload_row(finding.title, finding.overloaded) for finding in findings if finding.overloaded]
    most = max((run.connections for finding in findings for run in finding.overloaded), default=0)
    text = (
        "Twice as many requests as a closed loop was answered right before, each sent when it is due whether or not "
        f"others were answered, on at most {most:,} connections; what finds none is sent when one is free, up to "
        f"{STRAGGLING_SECONDS:g} s after the end, and its time counts from when it was due. The share is of the "
        "saturation, the more of right before and right after. Memory before is that when every connection has asked "
        "once. Peers are overloaded once. What is not good, and what says when to try again, is that of all rounds "
        "together; until normal is the longest."
    )
    return f"{text}\n\n{table([*head, 's until normal'], rows)}" if rows else ""


def _overload_row(title: str, runs: Sequence[Overloaded]) -> Sequence[str]:
    failed = _together([run.opened.failed for run in runs])
    recovered = longest_recovery(runs)
    columns: Sequence[tuple[Callable[[Overloaded], float], Callable[[float], str]]] = (
        (lambda run: run.saturation, _rate),
        (lambda run: run.opened.rate, _rate),
        (lambda run: run.accepted_rate, _rate),
        (lambda run: run.share, "{:.0%}".format),
        (lambda run: run.opened.p50, milliseconds),
        (lambda run: run.opened.p99, milliseconds),
        (lambda run: run.resident_before / 1e6, "{:.0f}".format),
        (lambda run: run.resident_after / 1e6, "{:.0f}".format),
    )
    return [
        title,
        *(Spread.of([measure(run) for run in runs]).show(write) for measure, write in columns),
        _others(failed, sum(run.opened.lost for run in runs)),
        f"{sum(run.retry_after for run in runs):,}",
        "not within 10" if recovered is None else f"{recovered:.2f}",
    ]


def _poison(findings: Sequence[Finding]) -> str:
    rows = [
        [finding.title, f"{found.repetitions}", f"{found.good_failed:,} of {found.good:,}", _counts(found.bad_statuses)]
        for finding in findings
        if (found := finding.poisoned) is not None
    ]
    text = "8 requests, each wrong in another way, among 248 good ones on 256 connections at the same moment."
    head = ["", "repetitions", "good ones that failed", "what the bad ones got"]
    return f"{text}\n\n{table(head, rows)}" if rows else ""


def _targets(reached: Sequence[Target]) -> str:
    words = {True: "reached", False: "**not reached**", None: "not measured"}
    return table(["", "found", ""], ([target.sentence, target.found, words[target.reached]] for target in reached))


def _circumstances(findings: Sequence[Finding], circumstances: Circumstances) -> str:
    lines = [
        f"- {circumstances.date}, `{circumstances.command}`",
        f"- {circumstances.machine}",
        f"- {circumstances.load}",
        *(f"- {title}: {version}" for title, version in circumstances.versions.items()),
    ]
    client = [closed.client_per_request for finding in findings if finding.title == BARE for closed in finding.many]
    if client:
        least = 1 / Spread.of(client).median
        enough = "" if least >= 20_000 else "; less than the 20,000 that were wanted"
        lines.append(f"- The load client could send {least:,.0f} requests/s by its own processor time{enough}.")
    return "\n".join(lines)

"""Tables and targets out of findings."""

from __future__ import annotations

from benchmarks.serving.findings import Closed, Finding, Opened, Overloaded, Poisoned
from benchmarks.serving.page import Circumstances, Runtime, milliseconds, page, table
from benchmarks.serving.targets import BARE, BINARY, JSON, Target, targets

CIRCUMSTANCES = Circumstances("a machine", "2026-01-01", "make bench-serving", "load 0.1", {"Lectern": "as it is"})


def _closed(rate: float, p50: float = 0.001, p99: float = 0.002) -> Closed:
    return Closed(rate, p50, p99, cpu_per_thousand=1000 / rate / 1000, client_per_request=4e-5, failed={})


def _finding(title: str, rate: float, *, peer: bool = False) -> Finding:
    finding = Finding("server", "form", title, peer=peer)
    finding.many = [_closed(rate), _closed(rate * 1.1), _closed(rate * 0.9)]
    finding.one = [_closed(rate)] * 3
    return finding


def _reached(findings: list[Finding]) -> dict[str, Target]:
    return {target.sentence: target for target in targets({finding.title: finding for finding in findings})}


def _of(found: dict[str, Target], words: str) -> Target:
    (target,) = [target for sentence, target in found.items() if words in sentence]
    return target


def test_table_lines_its_columns_up() -> None:
    assert table(["", "rate"], [["a long name", "1"], ["b", "1,000"]]) == (
        "|             |  rate |\n| ----------- | ----: |\n| a long name |     1 |\n| b           | 1,000 |"
    )


def test_milliseconds_have_the_digits_that_count() -> None:
    assert [milliseconds(value) for value in (0.00021, 0.0123, 2.5)] == ["0.21", "12.3", "2,500"]


def test_targets_compare_medians_with_the_bare_server_and_the_best_peer() -> None:
    findings = [
        _finding(BARE, 10_000),
        _finding(JSON, 2_800),
        _finding("slow, JSON", 100, peer=True),
        _finding("fast, JSON", 600, peer=True),
    ]
    found = _reached(findings)
    assert _of(found, f"{JSON}: saturation against uvicorn").found == "0.28×"
    assert _of(found, f"{JSON}: saturation against uvicorn").reached is True
    assert _of(found, f"{JSON}: saturation against the best peer").found == "4.67×"
    assert _of(found, f"{JSON}: saturation against the best peer").reached is False


def test_ratio_is_the_median_of_those_within_rounds() -> None:
    """The machine was twice as slow in the last two rounds: both were, and the ratio says so."""
    bare, own = _finding(BARE, 1), _finding(JSON, 1)
    bare.many = [_closed(rate) for rate in (10_000, 5_000, 4_000)]
    own.many = [_closed(rate) for rate in (2_000, 1_500, 1_200)]
    assert own.rate_against(bare) == 0.3
    assert _of(_reached([bare, own]), f"{JSON}: saturation against uvicorn").found == "0.30×"


def test_target_of_what_does_not_answer_is_not_reached_and_of_what_was_left_out_not_measured() -> None:
    missing = Finding("lectern", "binary", BINARY, missing="not answered: 400")
    assert _of(_reached([missing]), f"{BINARY}: saturation against uvicorn").reached is False
    assert _of(_reached([]), f"{BINARY}: saturation against uvicorn").reached is None


def test_refusals_must_be_429_with_retry_after_and_nothing_may_be_lost() -> None:
    def reached(failed: dict[int, int], retry_after: int, lost: int = 0) -> bool | None:
        finding = _finding(JSON, 1000)
        opened = Opened(2000, 60_000, 30_000, 0.01, 0.02, failed, lost)
        finding.overloaded = [Overloaded(opened, 1000, 2048, 30, 30_000, retry_after, 100, 100, 0.1)]
        return _of(_reached([finding]), f"{JSON}, at twice its saturation: what is refused").reached

    assert reached({429: 5}, 5) is True
    assert reached({429: 5}, 4) is False
    assert reached({429: 5, 503: 1}, 6) is False
    assert reached({429: 5}, 5, lost=1) is False
    assert reached({}, 0) is False


def _overloaded(share: float, p99: float, recovered: float | None) -> Overloaded:
    opened = Opened(5600, 10, 5, 0.1, p99, {429: 5}, 0)
    return Overloaded(opened, 2_500, 2048, 1, round(2_500 * share), 5, 10**8, 10**8, recovered)


def test_of_several_overloads_the_middle_share_and_the_worst_of_all_else_count() -> None:
    finding = _finding(JSON, 2_500)
    finding.overloaded = [_overloaded(share, 0.1, 0.5) for share in (0.5, 0.62, 0.7)]
    found = _reached([finding])
    assert _of(found, f"{JSON}, at twice its saturation: answers served").found == "0.62×"
    assert _of(found, f"{JSON}, at twice its saturation: p99").reached
    assert _of(found, f"{JSON}, at twice its saturation: as fast").reached
    finding.overloaded[1] = _overloaded(0.62, 0.6, None)
    found = _reached([finding])
    assert _of(found, f"{JSON}, at twice its saturation: p99").found == "0.60 s"
    assert _of(found, f"{JSON}, at twice its saturation: as fast").reached is False
    assert _of(found, f"{JSON}, at twice its saturation: what is refused").found.startswith("15 refused, 15 with")


def test_page_has_a_row_for_everything_and_says_what_is_missing() -> None:
    own = _finding(JSON, 2_800)
    own.opened[JSON] = [Opened(1680, 100, 99, 0.001, p99, {503: 1}, 0) for p99 in (0.005, 0.002, 0.009)]
    own.overloaded = [_overloaded(share, 0.2, None) for share in (0.8, 0.9, 0.5)]
    own.poisoned = Poisoned(100, 24_800, 3, {400: 500, 0: 300})
    absent = Finding("mlserver", "JSON", "MLServer, JSON", peer=True, missing="not installed: no such version")
    findings = [_finding(BARE, 10_000), own, absent]
    runtime = Runtime([12_000.0], [0.00008], [0.0001], [0.08])
    reached = [Target("a sentence", "0.28×", reached=True), Target("another", "9×", reached=False)]
    lines = [" ".join(line.split()) for line in page(runtime, findings, reached, CIRCUMSTANCES).splitlines()]
    text = "\n".join(lines)
    assert f"| {JSON} | 2,800 (2,520 to 3,080) | 0.280 |" in text
    assert "| MLServer, JSON | not installed: no such version |" in text
    assert f"| {JSON} | {JSON} | 1,680 | 1.00 | 5.00 (2.00 to 9.00) | 3 × 503 |" in text
    assert (
        "| 2,000 (1,250 to 2,250) | 80% (50% to 90%) | 100 | 200 | 100 | 100 | 15 × 429 | 15 | not within 10 |" in text
    )
    assert "| 3 of 24,800 | 500 × 400, 300 × lost |" in text
    assert "| another | 9× | **not reached** |" in text
    assert "25,000 requests/s by its own processor time." in text
    assert all(line.count("|") == 9 for line in lines if line.startswith("| ONNX"))

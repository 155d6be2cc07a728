"""What the Open Inference Protocol tells of a version's runs."""

from __future__ import annotations

from unittest.mock import Mock

from hypothesis import given
from hypothesis import strategies as st

from app.serving.runs import Timing
from app.serving.statistics import STAGES, Statistics

SECONDS = st.integers(0, 2**20).map(lambda number: number / 2**20)  # sums of them are exact
TIMINGS = st.lists(
    st.builds(
        Timing,
        waited=st.lists(SECONDS, min_size=1, max_size=4),
        rows=st.integers(1, 6),
        input=SECONDS,
        infer=SECONDS,
        output=SECONDS,
    )
)


@given(TIMINGS)
def test_each_request_took_as_long_as_its_run(timings: list[Timing]) -> None:
    """And each run once, among those of as many rows."""
    statistics = Statistics(Mock())
    for timing in timings:
        statistics.ran(timing)
    sent = statistics.sent("m", 1)
    asked = [(waited, timing) for timing in timings for waited in timing.waited]

    def told(seconds: list[float]) -> dict[str, int]:
        return {"count": len(seconds), "ns": round(sum(seconds) * 1e9)}

    assert sent["inference_count"] == sum(timing.rows for timing in timings) == statistics.rows
    assert sent["execution_count"] == len(timings)
    assert sent["inference_stats"] == {
        "success": told([waited + timing.input + timing.infer + timing.output for waited, timing in asked]),
        "fail": told([]),
        "queue": told([waited for waited, _ in asked]),
        **{name: told([getattr(timing, name[len("compute_") :]) for _, timing in asked]) for name in STAGES},
        "cache_hit": told([]),
        "cache_miss": told([]),
    }
    assert sent["batch_stats"] == [
        {"batch_size": rows}
        | {
            name: told([getattr(timing, name[len("compute_") :]) for timing in timings if timing.rows == rows])
            for name in STAGES
        }
        for rows in sorted({timing.rows for timing in timings})
    ]

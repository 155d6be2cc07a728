"""Triton's perf_analyzer, unchanged, against a gateway: it reads metadata, configuration and statistics, and asks."""

from __future__ import annotations

import csv
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways import ROOT, Gateway, publisher

HOME = ROOT / ".bench" / "perf_analyzer"
ANALYZER = HOME / "bin" / "perf_analyzer"
RUNTIME = "lib/python*/site-packages/nvidia/cuda_runtime/lib"
SERVED = re.compile(r"Inference count: (\d+)\s+Execution count: (\d+)\s+Successful request count: (\d+)")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="needs Linux on x86-64"),
    pytest.mark.skipif(not ANALYZER.exists(), reason="perf_analyzer is not here (make perf-analyzer installs it)"),
]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return where a gateway has one model; predictions need no Redis."""
    folder = tmp_path_factory.mktemp("perf")
    publisher(folder).publish()
    with Gateway(folder, LECTERN_PROCESSES="1") as gateway:
        yield gateway.port


@pytest.mark.parametrize(
    ("options", "loads", "rows"),
    [
        ("--concurrency-range 1:4:3", 2, 1),
        ("--concurrency-range 4 --input-tensor-format json --output-tensor-format json", 1, 1),
        ("--request-rate-range 100:200:100 --request-distribution poisson -b 4", 2, 4),
    ],
    ids=["bytes", "JSON", "open loop"],
)
def test_it_measures_a_served_model(port: int, tmp_path: Path, options: str, loads: int, rows: int) -> None:
    """Every request is answered, and what the gateway says it did is what was asked, each request with its rows."""
    (libraries,) = HOME.glob(RUNTIME)
    report = tmp_path / "report.csv"
    wanted = f"-m tiny -i http -u 127.0.0.1:{port} --measurement-interval 1000 --stability-percentage 100 {options}"
    measured = subprocess.run(
        [ANALYZER, *wanted.split(), "-f", report],
        env=os.environ | {"LD_LIBRARY_PATH": str(libraries)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert measured.returncode == 0, measured.stdout + measured.stderr
    print(measured.stdout)  # noqa: T201 - the figures, with -s
    with report.open() as lines:
        found = list(csv.DictReader(lines))
    assert len(found) == loads
    assert all(float(line["Inferences/Second"]) > 0 for line in found)
    assert all(float(line["Server Compute Infer"]) > 0 for line in found)
    served = [tuple(map(int, counts)) for counts in SERVED.findall(measured.stdout)]
    assert len(served) == loads
    assert all(count == rows * succeeded and 0 < runs <= succeeded for count, runs, succeeded in served)

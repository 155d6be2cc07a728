"""100,000 broken files for every reader: read or refused, never another exception, a hang or memory without bound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

INPUTS = 100_000
PROCESSES = os.cpu_count() or 1
LARGEST_GROWTH_MEGABYTES = 512
TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("reader", ["npz", "idx-images", "idx-labels", "zip", "table", "picture", "form"])
def test_reader_survives_broken_files(reader: str) -> None:
    """Run in processes of their own: an alarm ends a file that hangs, the address space is limited."""
    each = -(-INPUTS // PROCESSES)
    environment = {**os.environ, "PYTHONPATH": f"{TESTS.parent}:{TESTS}", "OMP_NUM_THREADS": "1"}

    def feed(number: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fuzz.reading", reader, str(each), str(number)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(PROCESSES) as threads:
        for ended in threads.map(feed, range(PROCESSES)):
            assert ended.returncode == 0, f"exit {ended.returncode}\n{ended.stderr[-4000:]}"
            found = json.loads(ended.stdout)
            assert found["read"] + found["refused"] == each
            assert min(found["read"], found["refused"]) >= 3  # both: the seeds are good and the damage is real
            assert found["grown_megabytes"] < LARGEST_GROWTH_MEGABYTES

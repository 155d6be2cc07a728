"""`lectern doctor` beside a running stack: it finds everything and everybody, and nothing wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from integration.conftest import StackClient


@pytest.mark.parametrize("by", ["home", "urls"])
def test_a_running_stack_is_well(stack: StackClient, by: str) -> None:
    store = {"LECTERN_STORE_URL": (stack.home / "store").as_uri()}
    environment = {
        "home": {"LECTERN_HOME": str(stack.home)},
        "urls": {"LECTERN_REDIS_URL": stack.redis_url, "LECTERN_HOME": str(stack.home / "other"), **store},
    }[by]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LECTERN_")}
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "app.cli.main", "doctor", "--json", "--url", stack.base_url],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    report = json.loads(ended.stdout)
    problems = [item for item in report["checks"] if item["level"] == "problem"]
    found = {item["check"]: item for item in report["checks"]}
    assert (problems, report["healthy"], ended.returncode) == ([], True, 0)
    assert found["ready"]["level"] == "ok"
    assert found["persistence"]["level"] == "ok"
    assert "1 at a time from train.cpu" in found["workers"]["detail"]

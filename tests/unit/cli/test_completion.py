"""What the shell offers after TAB, asked as a shell asks: through the variable that the installed script sets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from app.cli.main import app

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CannedGateway

Offered = Callable[[str], set[str]]

JOBS = [
    {"id": "job_1", "state": "running", "family": "FAMILY", "model": "first"},
    {"id": "job_2", "state": "succeeded", "family": "FAMILY", "model": "first"},
]
MODEL = {"name": "first", "task": "TASK", "aliases": {"production": 3}, "versions": [{"version": 3}, {"version": 12}]}


def ask(line: str, **environment: str) -> set[str]:
    """Return the words that bash is offered for the last word of ``line``."""
    words = line.split(" ")
    protocol = {
        "_LECTERN_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(["lectern", *filter(None, words)]),
        "COMP_CWORD": str(len(words)),
    }
    result = CliRunner().invoke(app, prog_name="lectern", env={**protocol, **environment})
    assert result.stderr == ""
    return set(result.stdout.split())


@pytest.fixture
def offered(canned: CannedGateway) -> Offered:
    for noun, items in {
        "families": [
            {"id": "FAMILY", "title": "A net", "dataset_kinds": ["images"]},
            {"id": "FALSE", "title": "Another", "dataset_kinds": ["images", "table"]},
        ],
        "datasets": [{"name": "digits", "kind": "images"}, {"name": "mine", "kind": "table"}],
        "models": [{"name": "first", "task": "TASK"}],
        "jobs": JOBS,
    }.items():
        canned.answer(f"GET /v1/{noun}", {"items": items, "next": None})
    canned.answer("GET /v1/models/first", MODEL)
    canned.answer("GET /v1/models/first/versions/3", {"version": 3, "task": "TASK", "verbs": ["ask", "tell"]})
    return lambda line: ask(line, LECTERN_URL=canned.url)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train ", {"FAMILY", "FALSE"}),
        ("train FAM", {"FAMILY"}),
        ("train FAMILY --dataset ", {"digits", "mine"}),
        ("train FAMILY --dataset digits --model ", {"first"}),
        ("datasets show m", {"mine"}),
        ("datasets add mine --kind ", {"images", "table"}),
        ("families show FA", {"FAMILY", "FALSE"}),
        ("jobs show ", {"job_1", "job_2"}),
        ("jobs cancel ", {"job_1"}),
        ("jobs resume ", {"job_2"}),
        ("jobs list --state r", {"running"}),
        ("models show first ", {"production", "3", "12"}),
        ("models alias first p", {"production"}),
        ("models rm first ", {"3", "12"}),
        ("predict f", {"first"}),
        ("predict first ", {"ask", "tell"}),
        ("predict --version ", set()),
        ("doc", {"doctor"}),
    ],
)
def test_names_that_the_gateway_knows_are_offered(offered: Offered, line: str, words: set[str]) -> None:
    assert offered(line) == words


def test_the_url_on_the_line_is_asked(offered: Offered, canned: CannedGateway) -> None:
    assert offered("datasets show ") == {"digits", "mine"}
    assert ask(f"datasets show --url {canned.url} d", LECTERN_URL="http://127.0.0.1:1") == {"digits"}


def test_without_a_gateway_nothing_is_offered_and_nothing_is_said() -> None:
    assert ask("train ", LECTERN_URL="http://127.0.0.1:1") == set()


def test_a_gateway_that_does_not_answer_is_not_waited_for() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        assert ask("train ", LECTERN_URL=f"http://127.0.0.1:{silent.getsockname()[1]}") == set()
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_shown(shell: str) -> None:
    """The shell is named, as it is when a package installs the script."""
    ended = subprocess.run(
        [sys.executable, "-c", "from app.cli.main import app; app(prog_name='lectern')", "--show-completion", shell],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_LECTERN_COMPLETE" in ended.stdout

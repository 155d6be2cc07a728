"""`lectern keys`: a key is shown once, lists show the others, and commands send theirs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from app.access.keys import FOLDER, Keys
from app.access.scopes import Scope
from app.cli.checks import keys as check
from app.cli.main import app
from models.artifacts.store import ArtifactStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CannedGateway

Run = Callable[..., Result]

TOKEN = re.compile(r"lk_[0-9a-f]{12}_[0-9a-f]{64}")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `lectern keys` on a store of its own."""
    for name in ("LECTERN_STORE_URL", "LECTERN_PROJECT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    environment = {"LECTERN_HOME": str(tmp_path), "COLUMNS": "200"}
    return lambda *words, **more: CliRunner().invoke(app, ["keys", *words], env=environment | more)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return (tmp_path / "store").as_uri()


def test_a_key_is_printed_alone_and_once(run: Run, tmp_path: Path) -> None:
    """Standard output can go into a file; what it is stands beside it."""
    result = run("create", "ci", "--scope", "train", "--scope", "predict", "--project", "ours")
    assert result.exit_code == 0
    assert TOKEN.fullmatch(result.stdout.strip())
    assert "ci: train, predict; project ours" in result.stderr
    assert "LECTERN_API_KEY" in result.stderr
    secret = result.stdout.strip().split("_")[2]
    (record,) = (tmp_path / "store" / FOLDER).iterdir()
    assert secret not in record.read_text()
    assert secret not in run("list").stdout + run("list", "--json").stdout
    assert "LECTERN_API_KEY" not in run("create", "other").stderr


def test_a_key_is_made_for_predictions_unless_told_otherwise(run: Run) -> None:
    made = json.loads(run("create", "phone", "--json", LECTERN_PROJECT="mine").stdout)
    assert (made["scopes"], made["project"], made["expires"], made["state"]) == (["predict"], "mine", None, "live")
    assert TOKEN.fullmatch(made["key"])
    assert "digest" not in made


@pytest.mark.parametrize(("words", "hours"), [("12h", 12), ("30d", 720), ("2w", 336)])
def test_a_period_is_counted_from_now(run: Run, words: str, hours: int) -> None:
    made = json.loads(run("create", "ci", "--expires", words, "--json").stdout)
    left = datetime.fromisoformat(made["expires"]) - datetime.now(UTC)
    assert timedelta(hours=hours) - timedelta(minutes=1) < left <= timedelta(hours=hours)


@pytest.mark.parametrize(
    ("words", "moment"),
    [
        ("2999-01-31", "2999-01-31T00:00:00Z"),
        ("2999-01-31T12:00:00+02:00", "2999-01-31T10:00:00Z"),
    ],
)
def test_a_date_begins_in_utc(run: Run, words: str, moment: str) -> None:
    assert json.loads(run("create", "ci", "--expires", words, "--json").stdout)["expires"] == moment


@pytest.mark.parametrize(
    "words", ["0d", "soon", "30", "2001-01-01", "999999w", "2999-13-01", "9999-12-31T23:00:00-12:00"]
)
def test_a_time_that_is_none_or_over_is_a_wrong_call(run: Run, words: str) -> None:
    result = run("create", "ci", "--expires", words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert json.loads(run("list", "--json").stdout) == []


@pytest.mark.parametrize("words", [("create",), ("create", "ci", "--scope", "all"), ("revoke",)])
def test_a_wrong_call_ends_with_2(run: Run, words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2


@pytest.mark.parametrize("words", [("create", "a b"), ("create", "ci", "--project", "_keys"), ("revoke", "none")])
def test_what_cannot_be_is_one_sentence(run: Run, words: tuple[str, ...]) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("lectern: ")


def test_a_store_that_cannot_be_opened_is_one_sentence(run: Run) -> None:
    result = run("list", LECTERN_STORE_URL="nowhere://x")
    assert result.exit_code == 1
    assert "LECTERN_STORE_URL" in result.stderr


def test_a_revoked_key_stays_in_the_list(run: Run) -> None:
    """Who looks for a key that does not work any more finds it."""
    made = json.loads(run("create", "ci", "--json").stdout)
    assert run("revoke", made["id"]).stdout == f"revoked  {made['id']}\n"
    assert json.loads(run("revoke", made["id"], "--json").stdout)["state"] == "revoked"
    assert [item["state"] for item in json.loads(run("list", "--json").stdout)] == ["revoked"]
    assert run("list").stdout.splitlines()[1].split()[:5] == [made["id"], "ci", "predict", "default", "revoked"]


def test_an_empty_list_says_what_to_do(run: Run) -> None:
    assert "lectern keys create" in run("list").stdout


def test_commands_send_the_key_of_the_environment(
    lectern: Run, canned: CannedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none where there is none."""
    canned.answer("GET /v1/models", {"items": [], "next": None})
    monkeypatch.setenv("LECTERN_API_KEY", " lk_1_2\n")
    lectern("models", "list")
    monkeypatch.delenv("LECTERN_API_KEY")
    lectern("models", "list")
    assert [item.headers.get("Authorization") for item in canned.asked] == ["Bearer lk_1_2", None]


def test_a_key_that_is_none_is_one_sentence(
    lectern: Run, canned: CannedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a traceback with the key in it."""
    monkeypatch.setenv("LECTERN_API_KEY", "lk_é")
    result = lectern("models", "list")
    assert (result.exit_code, result.stderr) == (
        1,
        "lectern: The key holds characters that no key has; was it copied whole?\n",
    )
    assert canned.asked == []


def test_a_refusal_says_what_to_do(lectern: Run, canned: CannedGateway) -> None:
    canned.refuse("GET /v1/models", 401, "unauthorized", "This gateway needs a key: send one.")
    told = lectern("models", "list").stderr
    assert told == "lectern: This gateway needs a key: send one. Commands send what is in LECTERN_API_KEY.\n"


def test_the_doctor_tells_whether_there_are_keys(url: str, tmp_path: Path) -> None:
    assert list(check.keys(url)) == []
    (tmp_path / "store").mkdir()
    (none,) = check.keys(url)
    assert (none.level, "none" in none.detail) == ("ok", True)
    keys = Keys(ArtifactStore(url))
    key, _ = keys.create("ci", (Scope.ADMIN,))
    (live,) = check.keys(url)
    assert (live.level, live.detail) == ("ok", "1 of 1 can be used; gateways ask for one")
    keys.revoke(key.id)
    (ended,) = check.keys(url)
    assert (ended.level, ended.remedy) == ("warning", "lectern keys create")

"""The commands that talk to a gateway: what they send, what they print, how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import Result

from app.cli.datasets import upload_progress
from models.catalog import Catalog

if TYPE_CHECKING:
    from tests.unit.cli.conftest import CannedGateway

Run = Callable[..., Result]

JOB = {
    "id": "job_1",
    "state": "queued",
    "family": "FAMILY",
    "dataset": "mine",
    "model": "first",
    "attempt": 0,
    "progress": {},
    "version": None,
    "error": None,
}
DONE = JOB | {"state": "succeeded", "version": 3}
CARD = {"version": 3, "metrics": {"test": {"accuracy": 0.97222, "error": 0.02778}}}
PROBLEM = {"code": "training_diverged", "detail": "The loss is not finite; lower training.learning_rate."}
TRAIN = ("train", "FAMILY", "--dataset", "mine", "--model", "first")


def state(name: str) -> tuple[str, dict[str, object]]:
    return ("state", {"state": name, "attempt": 1})


@pytest.mark.parametrize(
    "words",
    [
        ("nothing",),
        ("train", "FAMILY"),
        ("datasets", "add", "mine", "--kind", "images"),
        ("datasets", "add", "mine", "--kind", "images", "train"),
        ("datasets", "add", "mine", "--kind", "images", "train=a.npz", "train=b.npz"),
        (*TRAIN, "--set", "epochs"),
        ("models", "alias", "first", "production"),
        ("models", "alias", "first", "production", "3", "--delete"),
        ("jobs", "resume", "job_1", "--set", "config.depth=3"),
        ("jobs", "resume", "job_1", "--set", "export.quantize=true"),
        ("worker", "--slots", "0"),
        ("families", "show"),
        ("models", "download", "first"),
        ("up", "--port", "99999"),
        ("up", "--workers", "0"),
    ],
)
def test_a_wrong_call_ends_with_2_and_sends_nothing(
    lectern: Run, canned: CannedGateway, words: tuple[str, ...]
) -> None:
    result = lectern(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert canned.asked == []


def test_help_loads_no_client_and_no_gateway() -> None:
    """`lectern --help` is quick because the commands import what they need when they run."""
    code = (
        "import sys, app.cli.main; print(*sorted({'httpx', 'redis', 'fastapi', 'pydantic', 'PIL'} & set(sys.modules)))"
    )
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert fresh.stdout.split() == []


def test_no_gateway_is_one_sentence_on_stderr(lectern: Run) -> None:
    result = lectern("jobs", "list", "--url", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "lectern: No gateway answers at http://127.0.0.1:1; start one with `lectern up`.\n"


def test_a_refusal_names_the_fields(lectern: Run, canned: CannedGateway) -> None:
    field = {"pointer": "/config/depth", "detail": "is too deep"}
    canned.refuse("POST /v1/jobs", 422, "validation_failed", "The request is not valid.", field)
    result = lectern(*TRAIN)
    assert result.exit_code == 1
    assert result.stderr == "lectern: The request is not valid.\n  /config/depth: is too deep\n"


@pytest.mark.parametrize("noun", ["datasets", "families", "jobs", "models"])
def test_lists_are_printed_as_json_and_nothing_else(lectern: Run, canned: CannedGateway, noun: str) -> None:
    items = {
        "datasets": {"name": "mine", "extra": 1},
        "families": {"id": "FAMILY"},
        "jobs": JOB,
        "models": {"name": "first"},
    }
    canned.answer(f"GET /v1/{noun}", {"items": [items[noun]], "next": None})
    result = lectern(noun, "list", "--json")
    assert json.loads(result.stdout) == [items[noun]]
    assert result.stderr == ""


@pytest.mark.parametrize("noun", ["datasets", "jobs", "models"])
def test_an_empty_list_says_what_to_do(lectern: Run, canned: CannedGateway, noun: str) -> None:
    canned.answer(f"GET /v1/{noun}", {"items": [], "next": None})
    result = lectern(noun, "list")
    assert result.exit_code == 0
    assert "lectern" in result.stdout


def test_jobs_are_listed_with_what_they_make(lectern: Run, canned: CannedGateway) -> None:
    canned.answer("GET /v1/jobs?state=succeeded", {"items": [DONE], "next": None})
    result = lectern("jobs", "list", "--state", "succeeded")
    assert result.stdout.splitlines()[1].split() == ["job_1", "succeeded", "FAMILY", "mine", "first", "3"]


def test_train_sends_what_was_set(lectern: Run, canned: CannedGateway) -> None:
    canned.answer("POST /v1/jobs", JOB, 202)
    canned.answer("GET /v1/jobs/job_1", JOB)
    result = lectern(*TRAIN, "--set", "hidden_sizes=[128]", "--set", "training.epochs=3", "--priority", "high")
    assert canned.asked[0].json() == {
        "family": "FAMILY",
        "dataset": "mine",
        "model": "first",
        "priority": "high",
        "config": {"hidden_sizes": [128]},
        "training": {"epochs": 3},
    }
    assert result.stdout == "Job job_1 is queued; watch it with 'lectern jobs watch job_1'.\n"


def test_train_watch_ends_with_version_and_test_metrics(lectern: Run, canned: CannedGateway) -> None:
    canned.answer("POST /v1/jobs", JOB, 202)
    epoch = ("epoch", {"epoch": 1, "metrics": {"loss": 0.5}})
    canned.stream("GET /v1/jobs/job_1/events", state("running"), epoch, state("exporting"), state("succeeded"))
    canned.answer("GET /v1/jobs/job_1", DONE)
    canned.answer("GET /v1/models/first/versions/3", CARD)
    result = lectern(*TRAIN, "--watch")
    assert result.exit_code == 0
    assert result.stdout == "first version 3: test accuracy 0.9722, error 0.0278\n"
    assert "epoch 1: loss 0.5000" in result.stderr


def test_watching_with_json_prints_the_finished_job(lectern: Run, canned: CannedGateway) -> None:
    canned.stream("GET /v1/jobs/job_1/events", state("succeeded"))
    canned.answer("GET /v1/jobs/job_1", DONE)
    assert json.loads(lectern("jobs", "watch", "job_1", "--json").stdout) == DONE


def test_watching_a_job_that_fails_ends_with_1_and_its_problem(lectern: Run, canned: CannedGateway) -> None:
    canned.stream("GET /v1/jobs/job_1/events", state("running"), state("failed"))
    canned.answer("GET /v1/jobs/job_1", JOB | {"state": "failed", "error": PROBLEM})
    result = lectern("jobs", "watch", "job_1")
    assert result.exit_code == 1
    assert result.stderr.endswith(f"lectern: Job job_1 failed: {PROBLEM['detail']}\n")


def test_ctrl_c_while_watching_leaves_the_job_and_says_how_to_cancel(
    lectern: Run, canned: CannedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.client.Client.events", interrupted)
    result = lectern("jobs", "watch", "job_1")
    assert result.exit_code == 130
    assert "'lectern jobs cancel job_1' ends it" in result.stderr
    assert canned.asked == []


def test_a_dataset_is_uploaded_by_parts(lectern: Run, canned: CannedGateway, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"numbers")
    summary = {"name": "mine", "kind": "images", "counts": {"train": 3, "test": 1}}
    canned.answer("POST /v1/datasets", summary, 201)
    words = ("datasets", "add", "mine", "--kind", "images", "--option", "value_range=[0,16]", f"train={tmp_path}/a.npz")
    result = lectern(*words)
    assert result.exit_code == 0
    assert "train 3, test 1" in result.stdout
    assert b'name="train"; filename="a.npz"' in canned.asked[0].body
    assert b'{"value_range": [0, 16]}' in canned.asked[0].body


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_what_was_noticed_in_a_dataset_is_told_beside_the_summary(
    lectern: Run, canned: CannedGateway, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "a.csv").write_bytes(b"rows")
    summary = {"name": "mine", "kind": "table", "meta": {"notes": ["Column 'a' is odd.", "Column 'b' is left out."]}}
    canned.answer("POST /v1/datasets", summary, 201)
    result = lectern("datasets", "add", "mine", "--kind", "table", *words, f"train={tmp_path}/a.csv")
    assert result.stderr == "Note: Column 'a' is odd.\nNote: Column 'b' is left out.\n"
    assert "Note:" not in result.stdout


def test_a_file_that_is_not_there_is_named(lectern: Run, tmp_path: Path) -> None:
    result = lectern("datasets", "add", "mine", "--kind", "images", f"train={tmp_path}/none.npz")
    assert result.exit_code == 1
    assert result.stderr == f"lectern: {tmp_path}/none.npz cannot be read: No such file or directory.\n"


def test_a_name_that_no_file_can_have_is_told_too(lectern: Run) -> None:
    result = lectern("datasets", "add", "mine", "--kind", "images", f"train={'a' * 300}")
    assert result.exit_code == 1
    assert result.stderr.endswith("a cannot be read: File name too long.\n")


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b'{"inputs": [1]}', "application/json"),
        (b"\x89PNG\r\n\x1a\nrest", "image/png"),
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
    ],
)
def test_predict_sends_images_bare_and_json_as_it_is(
    lectern: Run, canned: CannedGateway, body: bytes, media_type: str
) -> None:
    answer = {"model": "first", "version": 3, "predictions": [{"label": "5"}]}
    canned.answer("POST /v1/models/first/versions/production/VERB", answer)
    result = lectern("predict", "first", "VERB", "-", "--version", "production", stdin=body)
    assert json.loads(result.stdout) == answer
    assert canned.asked[0].body == body
    assert canned.asked[0].headers["Content-Type"] == media_type


@pytest.mark.parametrize("body", [b"hello", b"[" * 100_000])
def test_predict_refuses_what_is_neither_image_nor_json(lectern: Run, canned: CannedGateway, body: bytes) -> None:
    result = lectern("predict", "first", "VERB", "-", stdin=body)
    assert result.exit_code == 1
    assert "Standard input is neither a PNG or JPEG image nor JSON" in result.stderr
    assert canned.asked == []


def test_an_alias_is_set_and_removed(lectern: Run, canned: CannedGateway) -> None:
    canned.answer("PUT /v1/models/first/aliases/production", {"version": 3})
    canned.answer("DELETE /v1/models/first/aliases/production", {}, 204)
    assert lectern("models", "alias", "first", "production", "3").stdout == "first production is version 3 now.\n"
    assert lectern("models", "alias", "first", "production", "--delete").exit_code == 0
    assert [item.method for item in canned.asked] == ["PUT", "DELETE"]


def test_a_card_is_shown_with_its_metrics(lectern: Run, canned: CannedGateway) -> None:
    also = [{"format": "onnx", "payload_bytes": 1_234_000}]
    part = {"format": "torchscript", "payload_bytes": 41_900, "also": also}
    canned.answer("GET /v1/models/first/versions/production", {**CARD, "parts": {"PART": part}})
    result = lectern("models", "show", "first", "production")
    assert "accuracy 0.9722" in result.stdout
    assert "torchscript 42 kB, onnx 1,234 kB" in result.stdout


def test_upload_shows_what_is_sent_and_then_that_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal; elsewhere nothing is shown beside the result."""
    (tmp_path / "a.zip").write_bytes(bytes(1000))
    for terminal in (True, False):
        monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")
        with upload_progress({"train": tmp_path / "a.zip"}) as on_sent:
            on_sent(400)
            before = capsys.readouterr().err
            on_sent(600)
        shown = before + capsys.readouterr().err
        assert ("uploading" in shown, "reading" in shown) == (terminal, terminal)
        assert "reading" not in before


def test_a_family_is_shown_with_its_options(lectern: Run, canned: CannedGateway) -> None:
    depth = {"type": "integer", "default": 3, "description": "Layers."}
    family = {"id": "FAMILY", "title": "A net", "config": {"properties": {"depth": depth}}, "verbs": ["VERB"]}
    canned.answer("GET /v1/families/FAMILY", family)
    lines = lectern("families", "show", "FAMILY").stdout.splitlines()
    assert lines[0].split() == ["family", "FAMILY"]
    assert lines[-1].split() == ["config.depth", "3", "integer", "Layers."]


def test_a_family_is_shown_with_bounds_and_the_options_within_options(lectern: Run, canned: CannedGateway) -> None:
    spec = Catalog(("models",)).spec("cnn")
    family = {"id": "cnn", "config": spec.config.model_json_schema(), "training": spec.training.model_json_schema()}
    canned.answer("GET /v1/families/cnn", family)
    lines = lectern("families", "show", "cnn").stdout.splitlines()
    shown = {name: " ".join(rest) for name, *rest in map(str.split, filter(None, lines))}
    assert shown["config.activation"].startswith("relu relu, tanh, sigmoid, leaky_relu, elu, gelu Nonlinearity")
    assert shown["config.dropout"].startswith("0.0 number from 0 below 1 Share")
    assert shown["config.hidden_sizes"].startswith("[128] list of 0 to 32: integer from 1 to 16384 Units")
    assert shown["config.blocks[].pooling.size"].startswith(
        "[2, 2] integer from 1 to 64 or list of 2: integer from 1 to 64 Pixels"
    )
    assert shown["training.early_stopping"].startswith("options below or null Off when null.")
    assert shown["training.early_stopping.patience"].startswith("5 integer from 1 to 1000 Epochs")


def test_logs_are_followed_to_the_end(lectern: Run, canned: CannedGateway) -> None:
    lines = [("log", {"line": "one"}), state("exporting"), ("log", {"line": "two"}), state("succeeded")]
    canned.stream("GET /v1/jobs/job_1/events", *lines)
    assert lectern("jobs", "logs", "job_1", "--follow").stdout == "one\ntwo\n"


def test_a_version_is_downloaded_whole(lectern: Run, canned: CannedGateway, tmp_path: Path) -> None:
    canned.answers["GET /v1/models/first/versions/3/artifact"] = (200, "application/x-tar", b"parts")
    target = tmp_path / "first.tar"
    result = lectern("models", "download", "first", "3", "--output", str(target), "--json")
    assert json.loads(result.stdout) == {"model": "first", "version": "3", "file": str(target), "bytes": 5}
    assert target.read_bytes() == b"parts"


def test_a_download_replaces_nothing_unasked_and_leaves_nothing_when_it_fails(
    lectern: Run, canned: CannedGateway, tmp_path: Path
) -> None:
    canned.refuse("GET /v1/models/first/versions/9/artifact", 404, "version_not_found", "There is no version 9.")
    target = tmp_path / "first.tar"
    assert lectern("models", "download", "first", "9", "-o", str(target)).stderr == "lectern: There is no version 9.\n"
    assert list(tmp_path.iterdir()) == []
    target.write_text("mine")
    result = lectern("models", "download", "first", "3", "-o", str(target))
    assert (result.exit_code, target.read_text()) == (1, "mine")
    assert "--force" in result.stderr
    result = lectern("models", "download", "first", "3", "-o", str(tmp_path / "none" / "first.tar"))
    assert "cannot be written" in result.stderr


def test_a_worker_is_told_its_queues_by_options(monkeypatch: pytest.MonkeyPatch, lectern: Run) -> None:
    """They reach the process that this one becomes, as the variables that it reads."""
    became: list[dict[str, str]] = []
    for name in ("LECTERN_QUEUES", "LECTERN_WORKER_SLOTS", "PYTHONSAFEPATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)  # set and removed, so that what the command sets is taken back
    monkeypatch.setattr("app.cli.pieces.require", lambda _: None)
    monkeypatch.setattr("app.cli.pieces.os.execv", lambda *_: became.append(dict(os.environ)))
    assert lectern("worker", "--queues", "train.gpu", "--slots", "2").exit_code == 0
    (environment,) = became
    assert (environment["LECTERN_QUEUES"], environment["LECTERN_WORKER_SLOTS"]) == ("train.gpu", "2")


def test_an_answer_is_written_to_a_file_as_numbers_or_as_a_picture(
    lectern: Run, canned: CannedGateway, tmp_path: Path
) -> None:
    """What the name ends with says which; the terminal shows no more than where it is."""
    canned.answer("POST /v1/models/first/VERB", {"predictions": [1]})
    numbers, picture = tmp_path / "answer.json", tmp_path / "answer.PNG"
    result = lectern("predict", "first", "VERB", "-", "-o", str(numbers), stdin=b"{}")
    assert (result.stdout, json.loads(numbers.read_text())) == ("", {"predictions": [1]})
    canned.answers["POST /v1/models/first/VERB"] = (200, "image/png", b"drawn")
    assert lectern("predict", "first", "VERB", "-", "-o", str(picture), stdin=b"{}").exit_code == 0
    assert picture.read_bytes() == b"drawn"
    assert canned.asked[-1].headers["Accept"] == "image/png"
    result = lectern("predict", "first", "VERB", "-", "-o", str(picture), stdin=b"{}")
    assert (result.exit_code, "--force" in result.stderr) == (1, True)


def test_the_version_is_that_of_the_installation(lectern: Run) -> None:
    assert lectern("--version").stdout == f"lectern {version('lectern')}\n"

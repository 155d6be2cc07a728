"""The documentation is complete: what code names, the docs explain, and every link leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from app.problems import STATUS
from app.settings import GatewaySettings
from models.catalog import Catalog
from models.contract.errors import LecternError
from workers.settings import WorkerSettings

ROOT = Path(__file__).resolve().parents[2]
TARGET = re.compile(r"^(?P<name>[a-z][a-z-]*):(?P<rest>.*)$", re.MULTILINE)
VARIABLE = re.compile(r"\bLECTERN_[A-Z0-9_]*[A-Z0-9]\b")
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ |    (?=(?:make|pre-commit|lectern|\S+/lectern) ))(.*(?:(?<=\\)\n.*)*)", re.MULTILINE)
"""What a page has its readers type: after a prompt, or indented in a page without one, as far as its lines go on."""

QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
NOT_FOR_EVERY_SHELL = re.compile(r"[\[\]*?]|(?:^|\s)#")
INTERNAL = 500
OWN_DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"^##+ (.+)$", text, flags=re.MULTILINE)
    return {title.strip().strip("`"): body.strip() for title, body in zip(parts[1::2], parts[2::2], strict=True)}


def _errors(root: type[LecternError] = LecternError) -> Iterator[type[LecternError]]:
    yield root
    for error in root.__subclasses__():
        if error.__module__ == LecternError.__module__:
            yield from _errors(error)


@pytest.mark.parametrize("target", list(TARGET.finditer(_read("Makefile"))), ids=lambda target: target["name"])
def test_every_make_target_says_what_it_does_and_stands_in_the_readme(target: re.Match[str]) -> None:
    """`make help` shows the sentence after ``##``."""
    _, _, sentence = target["rest"].partition(" ## ")
    assert sentence.endswith("."), f"make {target['name']} has no help sentence"
    assert f"make {target['name']}" in _read("README.md")


@pytest.mark.parametrize("settings", [GatewaySettings, WorkerSettings])
def test_every_setting_stands_in_the_docs(settings: type[BaseModel]) -> None:
    """A setting is an environment variable LECTERN_<NAME>, with a sentence and its default."""
    text = _read("docs/settings.md")
    missing = [name for name in settings.model_fields if f"`LECTERN_{name.upper()}`" not in text]
    assert missing == []


def test_the_docs_name_the_variables_that_there_are() -> None:
    """A variable that code reads by name stands in the docs; one that was renamed or removed leaves them."""
    fields = {f"LECTERN_{name.upper()}" for name in (*GatewaySettings.model_fields, *WorkerSettings.model_fields)}
    code = [path.read_text(encoding="utf-8") for folder in ("app", "workers") for path in (ROOT / folder).rglob("*.py")]
    read = {name for text in code for name in VARIABLE.findall(text)}
    named = set(VARIABLE.findall(_read("docs/settings.md")))
    assert read - named == set()
    assert named - read - fields - {"LECTERN_DATA"} == set()


@pytest.mark.parametrize("error", list(_errors()), ids=lambda error: error.code)
def test_every_problem_has_a_section(error: type[LecternError]) -> None:
    """Each code has a section that says what it means and what to do."""
    sections = _sections(_read("docs/problems.md"))
    assert error.code in sections
    assert error.title in sections[error.code]
    assert "**What to do.**" in sections[error.code]
    status = STATUS[error]
    assert status == INTERNAL or f"(status {status})" in sections[error.code]


def test_the_docs_name_no_problem_that_does_not_exist() -> None:
    """A code that was renamed or removed leaves the docs, too."""
    codes = {error.code for error in _errors()}
    named = {title for title in _sections(_read("docs/problems.md")) if re.fullmatch(r"[a-z]+(_[a-z]+)+", title)}
    assert named <= codes


@pytest.mark.parametrize("family", Catalog(("models",)).names())
def test_every_family_stands_in_the_docs_with_its_paper(family: str) -> None:
    """A family's section names its paper, as the spec does."""
    sections = _sections(_read("docs/families.md"))
    assert family in sections
    assert Catalog(("models",)).spec(family).paper in sections[family]


@pytest.mark.parametrize("kind", Catalog(("models",)).kinds())
def test_every_dataset_kind_stands_in_the_docs_with_its_options(kind: str) -> None:
    """A kind has a section, and each of its options a row there or among those of the splits."""
    sections = _sections(_read("docs/datasets.md"))
    assert kind in sections
    options = Catalog(("models",)).kind(kind).options.model_fields
    assert [name for name in options if f"`{name}`" not in sections[kind] + sections["Splits"]] == []


@pytest.mark.parametrize("document", OWN_DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(document: Path) -> None:
    """A link to a file of the project names a file that is there."""
    text = CODE_BLOCK.sub("", document.read_text(encoding="utf-8"))
    targets = [match["target"].partition("#")[0] for match in LINK.finditer(text) if ":" not in match["target"]]
    assert [target for target in targets if target and not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", OWN_DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_mean_the_same_to_every_shell(document: Path) -> None:
    """The shell zsh refuses a pattern that names no file, and passes on a comment as arguments."""
    commands = COMMAND.findall(document.read_text(encoding="utf-8"))
    assert [command for command in commands if NOT_FOR_EVERY_SHELL.search(QUOTED.sub("", command))] == []

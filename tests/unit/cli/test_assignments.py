"""``key=value`` words: what is JSON is read as JSON, sections and dots lead into objects."""

from __future__ import annotations

import pytest
import typer

from app.cli.assignments import parse_options, parse_settings, parse_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 0.001),
        ("true", True),
        ("null", None),
        ("[128, 64]", [128, 64]),
        ('{"patience": 3}', {"patience": 3}),
        ('"3"', "3"),
        ("adam", "adam"),
        ("", ""),
        ("[1", "[1"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
    ],
)
def test_a_value_is_json_if_it_can_be(text: str, value: object) -> None:
    """What is no JSON, such as a bare word or NaN, is text."""
    assert parse_value(text) == value


def test_a_key_without_a_section_belongs_to_the_config() -> None:
    settings = parse_settings(["hidden_sizes=[128]", "config.dropout=0.5", "export.quantize=false"])
    assert settings == {"config": {"hidden_sizes": [128], "dropout": 0.5}, "export": {"quantize": False}}


def test_a_resumed_job_takes_bare_keys_as_training() -> None:
    assert parse_settings(["epochs=20"], default="training") == {"training": {"epochs": 20}}


def test_dots_lead_into_nested_objects() -> None:
    settings = parse_settings(["training.early_stopping.patience=3"])
    assert settings["training"] == {"early_stopping": {"patience": 3}}


def test_only_the_first_equals_sign_separates() -> None:
    assert parse_options(["formula=a=b"]) == {"formula": "a=b"}


@pytest.mark.parametrize("words", [["epochs"], ["=3"], ["a=1", "a.b=2"]])
def test_what_is_no_assignment_is_a_usage_error(words: list[str]) -> None:
    with pytest.raises(typer.BadParameter):
        parse_settings(words)

"""Lines of several programs in files, the last of them at hand."""

from __future__ import annotations

from pathlib import Path

from app.cli.log_files import LogFiles


def test_each_program_has_a_file_and_the_last_lines_are_kept_together(tmp_path: Path) -> None:
    with LogFiles(tmp_path / "logs") as logs:
        for name, line in (("redis", "one"), ("worker", "two"), ("redis", "three")):
            logs.emit(name, line)
    logs.emit("redis", "too late")
    assert (tmp_path / "logs" / "redis.log").read_text() == "one\nthree\n"
    assert list(logs.last(2)) == ["redis   | three", "redis   | too late"]

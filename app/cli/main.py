"""The command ``lectern``: assembles the commands, and turns what failed into a sentence and an exit status.

Exit status 0: done · 1: what was asked failed · 2: it was asked wrongly. Commands import what they need when
they run, so that ``lectern --help`` is quick.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from app.cli import datasets, demo, doctor, families, jobs, models, pieces, predict, train, up
from app.cli.output import CommandFailed, complain


class Commands(TyperGroup):
    """The commands behind one error boundary."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - the class above has a type of its own
        """Run a command; a failure that was foreseen ends with exit status 1 and one sentence."""
        try:
            return super().invoke(ctx)
        except CommandFailed as failure:
            complain(failure)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None


app = typer.Typer(
    name="lectern",
    cls=Commands,
    help="Train, export and serve deep-learning models on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(up.up)
app.command()(demo.demo)
app.command()(pieces.gateway)
app.command()(pieces.worker)
app.add_typer(datasets.app, name="datasets")
app.add_typer(families.app, name="families")
app.command()(train.train)
app.add_typer(jobs.app, name="jobs")
app.add_typer(models.app, name="models")
app.command()(predict.predict)
app.command()(doctor.doctor)


def main() -> None:
    """Run the command line; the console script calls this."""
    app()


if __name__ == "__main__":
    main()

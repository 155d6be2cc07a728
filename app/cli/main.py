"""The command ``lectern``: assembles the commands, and turns what failed into a sentence and an exit status.

Exit status 0: done · 1: what was asked failed · 2: it was asked wrongly. Commands import what they need when
they run, so that ``lectern --help`` is quick.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from app.cli import datasets, demo, doctor, families, jobs, keys, models, pieces, predict, train, up
from app.cli.output import CommandFailed, complain, say


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


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if wanted:
        from app.cli.checks.installation import own_version  # noqa: PLC0415 - only here it is asked for

        say(f"lectern {own_version()}")
        raise typer.Exit


app = typer.Typer(
    name="lectern",
    cls=Commands,
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
app.add_typer(keys.app, name="keys")
app.command()(doctor.doctor)


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train, export and serve deep-learning models on this machine."""


def main() -> None:
    """Run the command line; the console script calls this."""
    app()


if __name__ == "__main__":
    main()

"""The console command `carryover`: one file a command, see `carryover --help`."""

import sys

import typer

from carryover.commands.compare import compare
from carryover.commands.curve import curve
from carryover.commands.evaluate import evaluate
from carryover.commands.export import export
from carryover.commands.report import report
from carryover.commands.study.command import study
from carryover.commands.sweep.command import sweep
from carryover.commands.transcribe import transcribe
from carryover.commands.watch import watch

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
for command in (evaluate, transcribe, export, curve, compare, watch, report):
    app.command()(command)
for command in (sweep, study):  # their other arguments are train.py's
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(command)


def main() -> None:
    """Entry point of the console command; a wrong input ends in one line, not in a traceback."""
    try:
        app()
    except (FileNotFoundError, ValueError, ImportError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()


if __name__ == "__main__":
    main()

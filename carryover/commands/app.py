"""The console command `carryover`: one file a command, see `carryover --help`."""

import os
import sys

import typer

from carryover import exits
from carryover.commands.cache import cache
from carryover.commands.check.command import check
from carryover.commands.compare import compare
from carryover.commands.completion import TrainArguments
from carryover.commands.curve import curve
from carryover.commands.data.command import data
from carryover.commands.demo.command import demo
from carryover.commands.evaluate import evaluate
from carryover.commands.export.command import export
from carryover.commands.merge import merge
from carryover.commands.ngram import ngram
from carryover.commands.report import report
from carryover.commands.sequence.command import sequence
from carryover.commands.study.command import study
from carryover.commands.sweep.command import sweep
from carryover.commands.transcribe import transcribe
from carryover.commands.watch import watch

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
for command in (evaluate, transcribe, export, curve, compare, watch, report, data, cache, demo, ngram, merge):
    app.command()(command)
for command in (check, sweep, study, sequence):  # their other arguments are train.py's
    app.command(cls=TrainArguments, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
        command
    )


@app.callback()
def every(debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error")) -> None:
    if debug:
        os.environ[exits.DEBUG] = "1"


def main() -> None:
    """Entry point of the console command; a wrong input ends in one line, not in a traceback."""
    sys.exit(exits.run(app))


if __name__ == "__main__":
    main()

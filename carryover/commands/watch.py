"""`carryover watch RUN`"""

from pathlib import Path

import typer

from carryover.commands.load import RUN


def watch(
    folder: Path = RUN,
    once: bool = typer.Option(False, "--once", help="Print one frame and end, as it does where no terminal is"),
    every: float = typer.Option(5.0, min=0.5, help="Seconds between two looks"),
) -> None:
    """Show a running job: progress, loss and WER as curves, time left, flags; it may also not have begun or be over."""
    from carryover.report import watch

    watch.watch(folder, once, every)

"""`carryover export RUN`"""

from pathlib import Path

import typer

from carryover import files
from carryover.commands.load import RUN, load_run


def export(
    folder: Path = RUN,
    to: str = typer.Option("hf", help="Format: hf (transformers)"),
    out: Path = typer.Option(..., help="Folder to write"),
) -> None:
    """Write the run's best weights as transformers loads them (a sign model and a projector: as this project does)."""
    if to != "hf":
        raise typer.BadParameter(f"--to {to}: only hf is there so far")
    brain, _, _ = load_run(folder)
    with files.made_folder(out) as made:
        brain.export(made)
    typer.echo(f"Wrote {out}: {', '.join(sorted(p.name for p in out.iterdir()))}")

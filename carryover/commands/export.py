"""`carryover export RUN`"""

from pathlib import Path

import typer

from carryover import files
from carryover.commands.load import RUN, TRUST, load_run


def export(
    folder: Path = RUN,
    to: str = typer.Option("hf", help="Format: hf (transformers)"),
    out: Path = typer.Option(..., help="Folder to write"),
    trust: bool = TRUST,
) -> None:
    """Write the run's best weights as transformers loads them (a sign model and a projector: as this project does)."""
    if to != "hf":
        raise typer.BadParameter(f"--to {to}: only hf is there so far")
    from carryover.runs import checksums

    brain, _, _ = load_run(folder, trust)
    with files.made_folder(out) as made:
        brain.export(made)
    checksums.seal(out)
    typer.echo(f"Wrote {out}: {', '.join(sorted(p.name for p in out.iterdir()))}")

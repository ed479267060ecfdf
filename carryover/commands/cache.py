"""`carryover cache`"""

import time

import typer


def cache(
    clear: str = typer.Option(None, metavar="KEY", help="Remove the states of one row (its key), or of all: all"),
) -> None:
    """List the states of frozen models that are kept on disk, or remove them; runs compute them again."""
    from carryover import files
    from carryover.models import state_store
    from carryover.models.state_store import said_bytes

    folder = state_store.root()
    found = state_store.kinds(folder)
    if clear is not None:
        chosen = [kind for kind in found if clear in ("all", kind.folder.name)]
        if not chosen:
            keys = ", ".join(kind.folder.name for kind in found) or "nothing is kept"
            raise ValueError(f"--clear: {clear} is no key in {folder}; expected all or one of: {keys}")
        freed = sum(kind.bytes for kind in chosen)
        for kind in chosen:
            files.remove_folder(kind.folder)
        typer.echo(f"Removed {len(chosen)} of {len(found)} from {folder}: {said_bytes(freed)}")
        return
    typer.echo(f"{folder} (CARRYOVER_CACHE names another): {said_bytes(sum(kind.bytes for kind in found))}")
    if found:
        typer.echo("\n| key | size | precision | device | last used |\n|---|--:|---|---|---|")
    for kind in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(kind.used)) if kind.shards else "never"
        about = [str(kind.about.get(name, "?")) for name in ("precision", "device")]
        typer.echo(f"| {kind.folder.name} | {said_bytes(kind.bytes)} | {' | '.join(about)} | {when} |")

"""`carryover merge NEW... --base OLD`"""

import json
from pathlib import Path

import typer

from carryover.commands.options import numbers_in

HOW = ("arithmetic", "ties")


def merge(
    models: list[Path] = typer.Argument(metavar="NEW...", help="Fine-tuned from --base: runs, or models' folders"),
    base: Path = typer.Option(..., help="The model that all of them started from: a run, or a model's folder"),
    how: str = typer.Option("arithmetic", help="How changes are added up: arithmetic or ties"),
    factors: str = typer.Option(None, help="Of the changes, e.g. 0.5 or 0.3,0.7; default: 1 / models, of ties 1"),
    density: float = typer.Option(0.2, help="Of ties: the share of a model's changes that is kept"),
    out: Path = typer.Option(..., help="Folder to write the merged model into"),
) -> None:
    """Merge models that were fine-tuned from one, e.g. a language each, into one; nothing is trained.

    The merged model is loaded by transformers, and by carryover evaluate and transcribe. Settings and tokenizer are
    those of --base.
    """
    numbers = _numbers(how, factors, len(models))
    if not 0 < density <= 1:
        raise ValueError(f"--density {density:g}: expected a share above 0, at most 1")
    if out.exists():
        raise ValueError(f"--out {out} is there already; give a folder that is not there")
    from safetensors.torch import save_file

    from carryover import checksums, files
    from carryover.forgetting import merging
    from carryover.text import Pieces

    folder, others = _folder(base), [_folder(model) for model in models]
    old = _weights(folder)
    for other in others:
        _require_of_one_kind(folder, other)
    new = (_weights(other, like=(folder, old)) for other in others)
    if how == "ties":
        merged = merging.ties(old, new, numbers[0], density)
    else:
        merged = merging.arithmetic(old, new, numbers)
    made_of = {"how": how, "factors": numbers} | ({"density": density} if how == "ties" else {})
    made_of |= {"base": base.name, "models": [model.name for model in models]}
    with checksums.made(out, {"merged": made_of}) as partial:
        for path in folder.iterdir():
            wanted = path.suffix in (".json", ".txt") or path.name == Pieces.FILE
            if path.is_file() and wanted and path.name not in (checksums.NAME, "run.json"):
                files.copy(path, partial / path.name)
        save_file(merged, partial / "model.safetensors", metadata={"format": "pt"})
        files.write_json(partial / "merged.json", made_of)
    typer.echo(f"{out}: {how}, factors {', '.join(f'{x:g}' for x in numbers)}; carryover evaluate says what it can do")


def _numbers(how: str, factors: str | None, models: int) -> list[float]:
    """The factors that are asked for: of arithmetic one a model, of ties one.

    Raises
    ------
    ValueError
        For another way, another number of factors, and for what is no number.
    """
    if how not in HOW:
        raise ValueError(f"--how {how}: expected {' or '.join(HOW)}")
    wanted = models if how == "arithmetic" else 1
    if factors is None:
        return [1 / models] * models if how == "arithmetic" else [1.0]
    found = numbers_in(factors)
    if len(found) not in (1, wanted):
        raise ValueError(f"--factors '{factors}': expected a number, or {wanted} with commas between them")
    return found * wanted if len(found) == 1 else found


def _folder(source: Path) -> Path:
    """Where the model of a run or folder lies, whole.

    Raises
    ------
    ValueError, FileNotFoundError
        For a run without a model, and for what is no model with weights in one file of safetensors.
    """
    from carryover import checksums
    from carryover.models.kinds import require_ctc
    from carryover.runs import run_folder

    folder = source
    if (source / run_folder.AS_WRITTEN).exists():
        folder = source / "model"
        if not folder.is_dir():
            raise FileNotFoundError(f"{source}: this run has no model/ yet; repeat its command, which finishes it")
        run_folder.require_own_files(source)
    require_ctc(str(folder))  # or a Whisper
    if not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(f"{folder}: no model.safetensors; expected the weights in this one file")
    checksums.require_whole("model", folder)
    return folder


def _weights(folder: Path, like: tuple[Path, dict] | None = None) -> dict:
    """The tensors of a folder, by name; with `like` they have to have the names and shapes of that base's.

    Raises
    ------
    ValueError
        Naming a tensor that is missing, left over, of another shape or not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(folder / "model.safetensors")
    except SafetensorError as error:
        raise ValueError(f"{folder / 'model.safetensors'}: {error}; bring back a whole copy") from error
    if broken := sorted(name for name, tensor in found.items() if not bool(tensor.isfinite().all())):
        raise ValueError(f"{folder}: weights that are not finite: {', '.join(broken[:4])}; give a model that is whole")
    if like is None:
        return found
    base, old = like
    shapes = [{name: list(tensor.shape) for name, tensor in of.items()} for of in (found, old)]
    if differ := sorted(n for n in shapes[0].keys() | shapes[1].keys() if shapes[0].get(n) != shapes[1].get(n)):
        name = differ[0]
        raise ValueError(
            f"{folder}: {name} is {shapes[0].get(name, 'not there')}, in {base} {shapes[1].get(name, 'not there')} "
            f"({len(differ)} tensors differ); expected models that were fine-tuned from --base, with one alphabet"
        )
    return found


def _require_of_one_kind(base: Path, other: Path) -> None:
    """Raise ValueError where two models number their tokens differently."""
    from carryover.text import Pieces

    pieces = [path.read_bytes() if (path := of / Pieces.FILE).is_file() else None for of in (base, other)]
    if pieces[0] != pieces[1]:
        raise ValueError(f"{other / Pieces.FILE} is not {base / Pieces.FILE}; expected the same pieces")
    for name in ("vocab.json", "tokenizer.json"):
        found = [json.loads((of / name).read_text(encoding="utf-8")) for of in (base, other) if (of / name).is_file()]
        vocabularies = [of.get("model", {}).get("vocab") if name == "tokenizer.json" else of for of in found]
        if len(vocabularies) == 2 and vocabularies[0] != vocabularies[1]:
            raise ValueError(f"{other / name} numbers tokens otherwise than {base / name}; expected one tokenizer")

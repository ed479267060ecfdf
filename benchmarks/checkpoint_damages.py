"""Damages checkpoints in many ways and counts what is found: python benchmarks/checkpoint_damages.py [200]

Prints the table for docs/reliability.md. Three checkpoints are written, the newest is damaged, and the newest whole one
is asked for: it has to be the one before, and the damaged one has to lie aside, unchanged.
"""

import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch

from carryover.training.checkpoint import Checkpointer

RUN = {"run": "a", "settings": "1", "data": "2", "starting model": "3"}


def checkpointer(save: Path, belongs_to: dict = RUN) -> Checkpointer:
    """With a model of 100 weights and its optimizer."""
    model = torch.nn.Linear(10, 10)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.rand(2, 10)).sum().backward()
    optimizer.step()
    made = Checkpointer(save, belongs_to=belongs_to)
    made.add_module("model", model)
    made.add_optimizer("optimizer", optimizer)
    return made


def write(save: Path, updates=(1, 2, 3), belongs_to: dict = RUN) -> None:
    """Checkpoints of these updates."""
    made = checkpointer(save, belongs_to)
    for update in updates:
        made.recoverables["model"].weight.data += 1
        made.save_checkpoint({"update": update, "epoch": 1, "WER": 10.0 + update}, verbosity=10)


def _file(path: Path, draw: random.Random) -> Path:
    return draw.choice(sorted(path.iterdir()))


def missing_file(path, other, draw):
    _file(path, draw).unlink()


def flipped_bit(path, other, draw):
    file = _file(path, draw)
    data = bytearray(file.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    file.write_bytes(data)


def truncated(path, other, draw):
    file = _file(path, draw)
    file.write_bytes(file.read_bytes()[: draw.randrange(file.stat().st_size)])


def longer(path, other, draw):
    with open(_file(path, draw), "ab") as file:
        file.write(bytes(draw.randrange(1, 99)))


def zeros(path, other, draw):
    file = _file(path, draw)
    file.write_bytes(bytes(file.stat().st_size))


def foreign_file(path, other, draw):
    (path / draw.choice(["encoder.safetensors", "optimizer2.pt", "notes.txt"])).write_bytes(draw.randbytes(9))


def file_of_another_checkpoint(path, other, draw):
    name = draw.choice(["model.safetensors", "CKPT.yaml", "checksums.json"])
    shutil.copy(other / name, path / name)


def edited_meta(path, other, draw):
    file = path / "CKPT.yaml"
    text = file.read_text()
    file.write_text(draw.choice([text.replace("update: 3", "update: 9"), text.replace("13.0", "1.0"), "[1", ""]))


def of_another_run(path, other, draw):
    made = path.parent.parent / "other"
    write(made, (3,), RUN | {"run": "b"})
    shutil.rmtree(path)
    shutil.copytree(next(made.glob("CKPT*")), path)


def link(path, other, draw):
    file = path / "model.safetensors"
    file.rename(path.parent.parent / "elsewhere")
    file.symlink_to(path.parent.parent / "elsewhere")


DAMAGES = (
    missing_file, flipped_bit, truncated, longer, zeros, foreign_file, file_of_another_checkpoint, edited_meta,
    of_another_run, link,
)  # fmt: skip


def outcome(damage, seed: int, folder: Path) -> tuple[int, list[str]]:
    """(update that is used, what was said) after one damage of the newest checkpoint."""
    save = folder / "save"
    write(save)
    first, _, newest = sorted(save.glob("CKPT*"))
    damage(newest, first, random.Random(seed))
    names = sorted(p.name for p in newest.iterdir())
    found = checkpointer(save)
    last = found.last()
    found.load_checkpoint(last)
    aside = save / f"set_aside+{newest.name}"
    assert sorted(p.name for p in aside.iterdir()) == names, "the damaged one was not kept"
    return last.meta["update"], found.refused


def main(n: int) -> int:
    """Print the table; -> how many damages were not found."""
    right = Counter()
    for seed in range(n):
        damage = DAMAGES[seed % len(DAMAGES)]
        with tempfile.TemporaryDirectory() as folder:
            update, said = outcome(damage, seed, Path(folder))
        right[damage.__name__] += update == 2 and len(said) == 1
    print("| damage of the newest checkpoint | tried | found, said, set aside, the one before used |\n|---|---|---|")
    for k, damage in enumerate(DAMAGES):
        tried = len(range(k, n, len(DAMAGES)))
        print(f"| {damage.__name__.replace('_', ' ')} | {tried} | {right[damage.__name__]} |")
    return n - sum(right.values())


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200) > 0)

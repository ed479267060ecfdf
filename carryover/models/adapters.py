"""Adapters in folders of their own: written beside a merged export, read, several on one base, switched.

A folder holds peft's two files, and base.json, which says by a digest which weights the adapters were trained on. Of a
CTC model it holds the head that was trained with them, and the symbols of that head.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from carryover import checksums, files
from carryover.models import weights
from carryover.models.lora import ADAPTERS, CONFIG, INSIDE, LoRA, of_model
from carryover.models.trained import is_lora

FOLDER = "adapter"  # below an exported model
BASE = "base.json"
DIGEST, HEAD = "weights", "head"  # keys of base.json


@dataclass
class Stored:
    """What a folder holds.

    Attributes
    ----------
    folder : Path
    lora : LoRA
        As they were trained.
    state : dict
        Tensors of the adapters, by peft's names without the adapter's.
    base : str
        Digest of the weights that they were trained on, see `base_digest`.
    head_name : str or None
        The module that is kept with them; `head` has its tensors.
    """

    folder: Path
    lora: LoRA
    state: dict[str, torch.Tensor]
    base: str
    head_name: str | None
    head: dict[str, torch.Tensor]


def base_digest(model: torch.nn.Module, head: str | None = None) -> str:
    """SHA-256 of the weights below the adapters, by their names in the model without adapters.

    Parameters
    ----------
    head : str, optional
        A module that the adapters bring with them: it does not count.
    """
    found = {
        name.replace(".base_layer.", "."): p
        for name, p in model.named_parameters()
        # the vector of masked frames is heard in training alone, and many checkpoints lack it
        if not is_lora(name) and not name.endswith("masked_spec_embed") and not (head and name.startswith(f"{head}."))
    }
    return weights.digest(sorted(found.items()))


def save(model: torch.nn.Module, folder: Path, head: str | None = None) -> bool:
    """Write the adapters that are trained in a model into a folder, which peft loads; -> whether there are any.

    Parameters
    ----------
    model : torch.nn.Module
    folder : Path
        New.
    head : str, optional
        The module that was trained with them.
    """
    if (lora := of_model(model)) is None:
        return False
    folder.mkdir()
    lora.save(model, folder, head)
    files.write_json(folder / BASE, {DIGEST: base_digest(model, head), HEAD: head})
    return True


def find(path: Path) -> Path:
    """The adapter's folder that a path names: itself, or that of an exported model or of a run.

    Raises
    ------
    FileNotFoundError
        Where none of them holds adapters.
    ValueError
        Where the exported model that they are a part of is not as it was written.
    """
    for folder in (path, path / FOLDER, path / "model" / FOLDER):
        if (folder / ADAPTERS).is_file():
            checksums.require_whole("adapter", folder.parent)
            return folder
    raise FileNotFoundError(
        f"adapter: {path} holds no {ADAPTERS}; expected the folder {FOLDER}/ of a model that was trained with "
        "`lora`, or its run folder"
    )


def read(path: Path) -> Stored:
    """What a folder holds; see `find`.

    Raises
    ------
    FileNotFoundError
        For a file that is missing.
    ValueError
        For a file that cannot be read, another kind of adapter, and values that are not finite.
    """
    folder = find(path)
    if missing := [name for name in (CONFIG, BASE) if not (folder / name).is_file()]:
        raise FileNotFoundError(
            f"adapter: {folder} lacks {' and '.join(missing)}; adapters are used as `carryover export` wrote them, for "
            f"{BASE} says which base they belong to"
        )
    try:
        config, base = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (CONFIG, BASE))
        kind, targets, head = config["peft_type"], config["target_modules"], base[HEAD]
        rank, alpha, digest = config["r"], config["lora_alpha"], str(base[DIGEST])
        tensors = load_file(folder / ADAPTERS)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(
            f"adapter: {folder} cannot be read ({type(error).__name__}: {error}); bring back a whole copy, or export "
            "it again from its run"
        ) from None
    if kind != "LORA" or not isinstance(targets, list):
        raise ValueError(f"adapter: {folder} holds {kind} on {targets}; expected LORA on a list of layers")
    state = {name.removeprefix(INSIDE): tensor for name, tensor in tensors.items()}
    if broken := [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]:
        raise ValueError(f"adapter: {folder}: values of {broken[0]} are not finite; bring back a whole copy")
    own = {name: tensor for name, tensor in state.items() if head is None or not name.startswith(f"{head}.")}
    of_head = {name.removeprefix(f"{head}."): tensor for name, tensor in state.items() if name not in own}
    if head is not None and of_head.keys() != {"weight", "bias"}:
        raise ValueError(f"adapter: {folder / ADAPTERS} lacks the {head} that {BASE} names; bring back a whole copy")
    lora = LoRA(rank, alpha, targets, dora=config.get("use_dora", False))
    return Stored(folder, lora, own, digest, head, of_head)


class Bank:
    """Adapters in one model, by name; one of them is heard, or none.

    Parameters
    ----------
    model : torch.nn.Module
        The base, perhaps with adapters that it was trained with.
    """

    def __init__(self, model: torch.nn.Module):
        self.model = model
        self.stored: dict[str, Stored] = {}
        # torch sums a product of three axes in another order where the weight asks for a gradient, also under no_grad:
        # the base answers to the bit only if its weights ask as before, or as transformers loads them
        adapted = of_model(model) is not None
        self.asking = [p for n, p in model.named_parameters() if not is_lora(n) and (adapted or p.requires_grad)]

    def add(self, name: str, path: Path) -> Stored:
        """Read the adapters of a folder and put them into the model, under a name.

        Raises
        ------
        FileNotFoundError, ValueError
            As `read`; and for adapters of another base.
        """
        stored = read(path)
        here = base_digest(self.model, stored.head_name)
        if stored.base != here:
            raise ValueError(
                f"adapter: {stored.folder} belongs to another base: it was trained on weights {stored.base[:12]}, "
                f"these are {here[:12]}; give the model that it was trained on, or a run that started from it"
            )
        stored.lora.add(self.model, self._key(len(self.stored)))
        stored.lora.set(self.model, stored.state, stored.folder, self._key(len(self.stored)))
        self.stored[name] = stored
        return stored

    def use(self, name: str | None) -> None:
        """Have one of the adapters heard from now on; None: the base alone, which then answers as without them."""
        from peft.tuners.tuners_utils import BaseTunerLayer  # an extra; without adapters there is nothing to switch

        key = None if name is None else self._key(list(self.stored).index(name))
        for layer in self.model.modules():
            if isinstance(layer, BaseTunerLayer):
                layer.enable_adapters(key is not None)
                if key is not None:
                    layer.set_adapter([key], inference_mode=True)
        for p in self.asking:
            p.requires_grad_(key is None)  # with adapters they are as they were in training

    @staticmethod
    def _key(number: int) -> str:
        return f"adapter_{number}"  # a name of one's own could be a part of a layer's name

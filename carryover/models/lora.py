"""Low-rank adapters (LoRA) on linear layers of any torch model: a language model, Whisper, a CTC model."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from carryover.models.trained import is_lora

ADAPTERS, CONFIG = "adapter_model.safetensors", "adapter_config.json"  # peft's names


class NoLoRA:
    """The model stays as it is."""

    def add(self, model) -> torch.nn.ModuleDict:
        """-> what is trained of the model, by name: nothing."""
        return torch.nn.ModuleDict()

    def save(self, model, folder: Path) -> None:
        """Nothing to save."""

    def load(self, model, folder: Path) -> None:
        """Raise ValueError where a folder has adapters: what lies beside was trained with them."""
        if (Path(folder) / ADAPTERS).exists():
            raise ValueError(f"lora: {folder} holds adapters, which the weights beside them need; set lora as there")


class LoRA:
    """Low-rank adapters in a frozen model, y = W x + (alpha / rank) B A x (Hu et al. 2021, eq. 3), by peft.

    A and B are float32 whatever the model's dtype. No dropout of their own. Every other parameter is frozen.

    Parameters
    ----------
    rank, alpha : int, float
    targets : list of str
        Names of the linear layers that get one: the last part of their names in the model, e.g. ["q_proj", "v_proj"].

    Raises
    ------
    ModuleNotFoundError
        When peft is not installed.
    ValueError
        In `add`, where no layer of the model has one of these names.
    """

    def __init__(self, rank: int = 8, alpha: float = 16, targets: Sequence[str] = ("q_proj", "v_proj")):
        try:
            import peft  # an extra: only who asks for LoRA needs it
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("lora: needs peft: pip install -e '.[lora]'", name="peft") from error
        self.peft = peft
        self.config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), lora_dropout=0.0)

    def add(self, model):
        """Put adapters into the model; -> their A and B, by the layer's name."""
        names = [name for name, _ in model.named_modules()]
        if lacking := [t for t in self.config.target_modules if not any(f".{n}".endswith(f".{t}") for n in names)]:
            linear = {n.rpartition(".")[2] for n, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
            raise ValueError(
                f"lora: targets {', '.join(sorted(lacking))} are no layers of {type(model).__name__}; its linear "
                f"layers are {', '.join(sorted(linear))}"
            )
        self.peft.inject_adapter_in_model(self.config, model)
        found = {
            name.replace(".", "_"): torch.nn.ModuleDict({"A": layer.lora_A, "B": layer.lora_B}).float()
            for name, layer in model.named_modules()
            if isinstance(layer, self.peft.tuners.lora.LoraLayer)
        }
        return torch.nn.ModuleDict(found)

    def save(self, model, folder):
        """Write adapter_model.safetensors and adapter_config.json, which peft loads."""
        state = self.peft.get_peft_model_state_dict(model)
        # peft reads them under the names that they have inside its own wrapper
        state = {f"base_model.model.{name}": tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        save_file(state, folder / ADAPTERS)
        self.config.save_pretrained(folder)

    def load(self, model, folder):
        """Read the adapters of a folder; where it has none, these begin anew.

        Raises
        ------
        ValueError
            For adapters of another rank, alpha, targets or model.
        """
        if not (Path(folder) / ADAPTERS).exists():
            print(f"{folder} holds no adapters: those of `lora` begin anew")
            return
        theirs = json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8"))
        there = theirs["r"], theirs["lora_alpha"], sorted(theirs["target_modules"])
        here = self.config.r, self.config.lora_alpha, sorted(self.config.target_modules)
        if there != here:  # the same weights under another alpha are other adapters
            raise ValueError(
                f"lora: the adapters in {folder} have rank, alpha and targets {there}, here they are {here}; set lora "
                "as there"
            )
        state = {name.removeprefix("base_model.model."): t for name, t in load_file(Path(folder) / ADAPTERS).items()}
        own = self.peft.get_peft_model_state_dict(model)
        if {name: t.shape for name, t in own.items()} != {name: t.shape for name, t in state.items()}:
            raise ValueError(f"lora: the adapters in {folder} are of another model's layers")
        self.peft.set_peft_model_state_dict(model, state)


def merged(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of the model with its adapters added to the weights, as a library without peft loads it.

    The model itself where it has none.
    """
    if not any(is_lora(name) for name, _ in model.named_parameters()):
        return model
    model = copy.deepcopy(model)
    for name, layer in list(model.named_modules()):
        if hasattr(layer, "merge") and hasattr(layer, "base_layer"):  # peft's adapted layer
            layer.merge(safe_merge=True)
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, layer.base_layer)
    return model

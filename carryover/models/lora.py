"""Low-rank adapters (LoRA) on linear layers of any torch model: a language model, Whisper, a CTC model."""

import copy
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from carryover import files
from carryover.models.trained import is_lora

ADAPTERS, CONFIG = "adapter_model.safetensors", "adapter_config.json"  # peft's names
INSIDE = "base_model.model."  # before the names of tensors, in peft's files
DEFAULT = "default"  # name of the adapters that are trained
# queries and values of Whisper, wav2vec2, HuBERT and most language models; of w2v-BERT
USUAL = (("q_proj", "v_proj"), ("linear_q", "linear_v"))


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

    A and B are float32 whatever the model's dtype. No dropout of their own. Every other parameter is frozen, but of a
    CTC model the head.

    Parameters
    ----------
    rank, alpha : int, float
    targets : list of str, optional
        Names of the linear layers that get one: the last part of their names in the model, e.g. ["q_proj", "v_proj"].
        Without: the queries and values of all attention, under the model's own names; of WavLM the feed-forward layers,
        because its attention reads weights past their adapters.
    head : bool
        Of a CTC model: train its head, too, and keep it with the adapters; new symbols need that.
    dora : bool
        Train the length of each row of W + B A by itself (DoRA, Liu et al. 2024).

    Raises
    ------
    ModuleNotFoundError
        When peft is not installed.
    ValueError
        For a rank or alpha that is none; in `add`, where no layer of the model has one of these names, or hears none.
    """

    def __init__(
        self,
        rank: int = 8,
        alpha: float = 16,
        targets: Sequence[str] | None = None,
        head: bool = True,
        dora: bool = False,
    ):
        try:
            import peft  # an extra: only who asks for LoRA needs it
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("lora: needs peft: pip install -e '.[lora]'", name="peft") from error
        if not isinstance(rank, int) or rank < 1 or not alpha > 0:
            raise ValueError(f"lora: rank {rank} and alpha {alpha}; expected an integer from 1 on and a number above 0")
        if isinstance(targets, str):
            raise ValueError(f"lora: targets {targets!r}; expected a list of names, [{targets}]")
        self.peft, self.head = peft, head
        targets = None if targets is None else list(targets)
        self.config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, lora_dropout=0.0, use_dora=dora)

    def add(self, model, name: str = DEFAULT):
        """Put adapters of a name into the model; -> their A and B, by the layer's name."""
        if self.config.target_modules is None:
            self.config.target_modules = set(default_targets(model))
        require_targets(model, self.config.target_modules)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")  # several names are wanted
            self.peft.inject_adapter_in_model(self.config, model, name)
        found = {}
        for at, layer in model.named_modules():
            if isinstance(layer, self.peft.tuners.lora.LoraLayer) and name in layer.lora_A:
                found[at.replace(".", "_")] = parts = torch.nn.ModuleDict({"A": layer.lora_A, "B": layer.lora_B})
                if self.config.use_dora:
                    parts["magnitude"] = layer.lora_magnitude_vector
                parts.float()
        return torch.nn.ModuleDict(found)

    def save(self, model, folder, head: str | None = None):
        """Write adapter_model.safetensors and adapter_config.json, which peft loads.

        Parameters
        ----------
        head : str, optional
            Name of a module that was trained with the adapters and is kept with them.
        """
        state = self.peft.get_peft_model_state_dict(model, adapter_name=DEFAULT)
        config = copy.copy(self.config)
        if head is not None:
            state |= {f"{head}.{name}": tensor for name, tensor in model.get_submodule(head).state_dict().items()}
            config.modules_to_save = [head]
        # peft reads them under the names that they have inside its own wrapper
        state = {f"{INSIDE}{name}": tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        with files.beside(folder / ADAPTERS) as partial:
            save_file(state, partial)
        config.save_pretrained(folder)

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
        there = theirs["r"], theirs["lora_alpha"], sorted(theirs["target_modules"]), theirs.get("use_dora", False)
        here = self.config.r, self.config.lora_alpha, sorted(self.config.target_modules), self.config.use_dora
        if there != here:  # the same weights under another alpha are other adapters
            raise ValueError(
                f"lora: the adapters in {folder} have rank, alpha, targets and dora {there}, here they are {here}; set "
                "lora as there"
            )
        state = {name.removeprefix(INSIDE): t for name, t in load_file(Path(folder) / ADAPTERS).items()}
        self.set(model, state, folder)

    def set(self, model, state: dict[str, torch.Tensor], folder: str | Path, name: str = DEFAULT) -> None:
        """Put values into the adapters of a name; ValueError, naming the folder, where they are of other layers."""
        own = self.peft.get_peft_model_state_dict(model, adapter_name=name)
        if {key: t.shape for key, t in own.items()} != {key: t.shape for key, t in state.items()}:
            raise ValueError(f"lora: the adapters in {folder} are of another model's layers")
        self.peft.set_peft_model_state_dict(model, state, adapter_name=name)


def of_model(model: torch.nn.Module) -> LoRA | None:
    """The LoRA whose adapters are trained in a model; None where it has none."""
    config = getattr(model, "peft_config", {}).get(DEFAULT)
    if config is None:
        return None
    return LoRA(config.r, config.lora_alpha, sorted(config.target_modules), dora=config.use_dora)


def default_targets(model: torch.nn.Module) -> tuple[str, ...]:
    """Where adapters stand unless the YAML says: see `LoRA`; ValueError for a model that has none of these layers."""
    if _is_wavlm(model):
        return ("intermediate_dense", "output_dense")
    last = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    for names in USUAL:
        if last.issuperset(names):
            return names
    raise ValueError(f"lora: give targets for {type(model).__name__}; its linear layers are {_linear(model)}")


def require_targets(model: torch.nn.Module, targets) -> None:
    """Raise ValueError where a layer is not there, or its adapter would not be heard."""
    names = [name for name, _ in model.named_modules()]
    if lacking := [t for t in targets if not any(f".{n}".endswith(f".{t}") for n in names)]:
        raise ValueError(
            f"lora: targets {', '.join(sorted(lacking))} are no layers of {type(model).__name__}; its linear "
            f"layers are {_linear(model)}"
        )
    past = [t for t in targets if t.rpartition(".")[2] in ("q_proj", "k_proj", "v_proj", "out_proj")]
    if past and _is_wavlm(model):
        raise ValueError(
            f"lora: targets {', '.join(sorted(past))}: the attention of WavLM reads these weights past their adapters, "
            "which would learn nothing; give targets: [intermediate_dense, output_dense]"
        )


def _is_wavlm(model) -> bool:
    return getattr(getattr(model, "config", None), "model_type", "") == "wavlm"


def _linear(model) -> str:
    found = {name.rpartition(".")[2] for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    return ", ".join(sorted(found))


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

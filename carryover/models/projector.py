"""The bridge of a speech LLM: frames of an audio encoder become vectors that a language model reads as embeddings.

`SwiGLU`, `MLP` and `Linear` share one face:

    projector(states, frames)  (B, T, D), (B,) -> (B, T', E), (B,): T' vectors for T frames, see `Projector.lengths`
    between(encoder, language_model, ...)  the projector that fits between two models
    save(projector, folder, made_for), load(projector, folder, made_for)  projector.safetensors beside config.json
"""

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers.utils import cached_file

from carryover import files
from carryover.data.home import as_tilde
from carryover.models.weights import differences, digest, load_weights

WEIGHTS, CONFIG = "projector.safetensors", "config.json"

# Shapes: B batch, T frames, T' vectors, k frames a vector, D width of the encoder, E width of the language model


class Projector(torch.nn.Module):
    """Stacks k frames, maps them by `self.map` (a subclass gives it), and normalises: y = g * x / rms(x).

    Why the output is normalised, and g begins as the root mean square of the language model's embeddings: a
    transformer adds to each vector what its layers find, in amounts that fit the embeddings it was trained with. A
    vector 50 times as long drowns what is added, one of a 50th is drowned by it, and the gradient through the first
    layer's norm falls with 1/|x|: in both cases the frozen model reads nothing and little comes back to learn from.

    Parameters
    ----------
    input_width : int
        D, width of the encoder's states.
    output_width : int
        E, width of the language model's embeddings.
    frames : int
        k, frames that become one vector: 2 makes 25 vectors a second of Whisper's 50.
    scale : float
        Root mean square of the language model's embeddings, which g begins with; g, (E,), is learned.

    Raises
    ------
    ValueError
        For a width, k or scale that is not above 0.
    """

    def __init__(self, input_width: int, output_width: int, frames: int = 2, scale: float = 1.0):
        super().__init__()
        numbers = {"input_width": input_width, "output_width": output_width, "frames": frames, "scale": scale}
        for name, value in numbers.items():
            if not value > 0:
                raise ValueError(f"projector: {name} is {value}; expected a number above 0")
        self.input_width, self.output_width, self.frames = input_width, output_width, frames
        self.norm = torch.nn.RMSNorm(output_width, eps=1e-12)
        torch.nn.init.constant_(self.norm.weight, scale)

    @classmethod
    def between(cls, encoder, language_model, **shape) -> "Projector":
        """The projector from `encoder.width` to `language_model.width`, at the scale of the latter's embeddings."""
        return cls(encoder.width, language_model.width, scale=language_model.scale, **shape)

    @property
    def config(self) -> dict:
        """What the weights fit: kind and shape."""
        return {
            "projector": type(self).__name__, "input_width": self.input_width, "output_width": self.output_width,
            "frames": self.frames, "shapes": {name: list(p.shape) for name, p in self.named_parameters()},
        }  # fmt: skip

    def lengths(self, frames: torch.Tensor) -> torch.Tensor:
        """Vectors of utterances of `frames` frames: T' = ceil(T / k); what the last one lacks is zero."""
        return (frames + self.frames - 1) // self.frames

    def forward(self, states: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """-> vectors (B, T', E) and their numbers (B,); vectors behind an utterance's own mean nothing.

        Each vector sees its own k frames and nothing else, and frames behind an utterance's end are set to zero: so
        padding and batch-mates change nothing.

        Parameters
        ----------
        states : torch.Tensor
            (B, T, D), padded with whatever; of a frozen encoder in its own type, e.g. bfloat16.
        frames : torch.Tensor
            (B,) of each utterance.

        Raises
        ------
        ValueError
            When the states are not D wide.
        """
        if states.shape[-1] != self.input_width:
            raise ValueError(
                f"projector: the encoder's states are {states.shape[-1]} wide, but it takes {self.input_width}; make "
                "it for this encoder (`between` does) or give the encoder that it was made for"
            )
        inside = torch.arange(states.shape[1], device=states.device) < frames[:, None]  # (B, T)
        states = torch.where(inside[..., None], states, 0.0).to(self.norm.weight.dtype)  # no product: nan * 0 is nan
        states = torch.nn.functional.pad(states, (0, 0, 0, -states.shape[1] % self.frames))
        stacked = states.reshape(len(states), -1, self.frames * self.input_width)  # (B, T, D) -> (B, T', k D)
        return self.norm(self.map(stacked).float()), self.lengths(frames)

    def map(self, stacked: torch.Tensor) -> torch.Tensor:
        """(B, T', k D) -> (B, T', E)."""
        raise NotImplementedError


class SwiGLU(Projector):
    """down(silu(gate x) * up x), without biases (Shazeer 2020, eq. 6).

    Parameters: 2 k D H + H E in the three matrices, and E in the norm. From Whisper large (D = 1280, k = 2) over H =
    5120, gate and up have 13 107 200 each; to E = 4096 down has 20 971 520, the three 47 185 920, with the norm
    47 190 016; to E = 2048 (SmolLM3-3B) 10 485 760, 36 700 160 and 36 702 208. Who says 13 M has counted one of them.

    Parameters
    ----------
    hidden : int
        H; others as `Projector`.
    """

    def __init__(self, input_width: int, output_width: int, hidden: int, frames: int = 2, scale: float = 1.0):
        super().__init__(input_width, output_width, frames, scale)
        self.gate = torch.nn.Linear(frames * input_width, hidden, bias=False)
        self.up = torch.nn.Linear(frames * input_width, hidden, bias=False)
        self.down = torch.nn.Linear(hidden, output_width, bias=False)

    def map(self, stacked):
        return self.down(torch.nn.functional.silu(self.gate(stacked)) * self.up(stacked))


class MLP(Projector):
    """Two layers with biases and GELU between them: k D H + H + H E + E parameters, and E in the norm.

    Parameters
    ----------
    hidden : int
        H; others as `Projector`.
    """

    def __init__(self, input_width: int, output_width: int, hidden: int, frames: int = 2, scale: float = 1.0):
        super().__init__(input_width, output_width, frames, scale)
        self.up = torch.nn.Linear(frames * input_width, hidden)
        self.down = torch.nn.Linear(hidden, output_width)

    def map(self, stacked):
        return self.down(torch.nn.functional.gelu(self.up(stacked)))


class Linear(Projector):
    """One matrix with bias: k D E + E parameters, and E in the norm; arguments as `Projector`."""

    def __init__(self, input_width: int, output_width: int, frames: int = 2, scale: float = 1.0):
        super().__init__(input_width, output_width, frames, scale)
        self.linear = torch.nn.Linear(frames * input_width, output_width)

    def map(self, stacked):
        return self.linear(stacked)


def identity(source: str, revision: str | None = None, from_scratch: bool = False, model=None) -> dict:
    """Source, revision and the SHA-256 of each weight file of a model that a projector is made for; `~` for the home.

    Parameters
    ----------
    source : str
        Folder, or hub name of a model that has been loaded.
    from_scratch : bool
        Its weights are random and in no file: those of `model` are hashed, as they are in memory.
    model : torch.nn.Module, optional
    """
    if from_scratch:
        sha = digest(model.state_dict().items())
        return {"source": as_tilde(source), "revision": revision, "sha256": {"random weights": sha}}
    folder = Path(source)
    if not folder.is_dir():
        folder = Path(cached_file(source, "config.json", revision=revision)).parent
    digests = {}
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return {"source": as_tilde(source), "revision": revision, "sha256": digests}


def save(projector: Projector, folder: str | Path, made_for: dict) -> None:
    """Write projector.safetensors and config.json.

    Parameters
    ----------
    made_for : dict
        What the projector is worth nothing without: sources, revisions and hashes of the frozen models, the prompts.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with files.beside(folder / WEIGHTS) as partial:
        save_file({name: t.detach().cpu().contiguous() for name, t in projector.state_dict().items()}, partial)
    config = {"projector": projector.config, "made_for": made_for}
    files.write_json(folder / CONFIG, config)


def load(projector: Projector, folder: str | Path, made_for: dict) -> None:
    """Read the weights that `save` wrote into a projector of the same shape, made for the same models.

    Raises
    ------
    FileNotFoundError
        When the folder lacks one of the two files.
    ValueError
        Naming what differs: another shape, another encoder or language model (by the hash of its weights), other
        prompts. A projector speaks one encoder's states to one language model; between others it is noise.
    """
    folder = Path(folder)
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).exists():
            raise FileNotFoundError(f"projector: {folder} holds no {name}; give the model/ folder of a finished run")
    found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    wanted = {"projector": projector.config, "made_for": made_for}
    differs = list(differences(found, json.loads(json.dumps(wanted))))
    if differs:
        raise ValueError(
            f"projector: {folder} was made for other models or another shape: {'; '.join(differs)}. Give the "
            f"models named in {folder / CONFIG}, or train a projector for these"
        )
    load_weights(projector, folder / WEIGHTS)

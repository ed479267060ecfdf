"""CTC over sequences of feature vectors (landmarks of a signer): convolutions over time, then a transformer."""

import inspect
import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_model
from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder

from carryover import files
from carryover.models.trained import Parts, set_trained
from carryover.models.weights import load_weights

# Shapes: B batch, F input frames, T output frames, D values an input frame, C = d_model channels, V units


class SequenceCTC(torch.nn.Module):
    """Features (B, F, D) -> logits (B, T, V): projection, strided convolutions, SpeechBrain's TransformerEncoder, head.

    The encoder normalises before each block and once at its end, and takes positions as rotations of queries and keys
    (RoPE, Su et al. 2021): no parameters, no longest clip, and torch's fused attention.

    An utterance of n input frames has ceil(n / stride) output frames, stride the product of `strides` (see `frames`).

    Padding changes nothing: each step looks at one frame, or its input is zero (a convolution) or masked (attention)
    where there is only padding. SpeechBrain's Conformer could not be used here: its convolution module masks what
    comes out, while the bias of the bottleneck before it makes padded frames non-zero, which the depthwise
    convolution carries into valid ones; nor could a batch norm, whose statistics would hold the padding.

    Parameters
    ----------
    width : int
        D, values an input frame.
    units : int
        V, symbols of the tokenizer, blank among them.
    d_model : int
        C, channels between the layers; a multiple of 2 * `heads`.
    layers : int
        Of the encoder.
    heads : int
        Of the attention.
    d_ffn : int
        Inner channels of the encoder's feed-forward blocks.
    kernel_size : int
        Frames that a convolution looks at; odd, so that it looks as far ahead as back.
    strides : sequence of int
        One convolution each: [2, 2] are two of them, and a quarter of the frames.
    dropout : float
        After the convolutions, and in the encoder's attention, feed-forward blocks and residuals.

    Attributes
    ----------
    config : dict
        The arguments above.
    new_units : list of int
        Always empty (the face of wav2vec2.CTCModel): the units are those of the model that is carried over.

    Raises
    ------
    ValueError
        Naming the argument that is out of its range.
    """

    def __init__(
        self,
        width: int,
        units: int,
        d_model: int = 256,
        layers: int = 6,
        heads: int = 4,
        d_ffn: int = 1024,
        kernel_size: int = 5,
        strides: tuple[int, ...] = (2, 2),
        dropout: float = 0.1,
    ):
        super().__init__()
        self.config = {
            "width": width, "units": units, "d_model": d_model, "layers": layers, "heads": heads, "d_ffn": d_ffn,
            "kernel_size": kernel_size, "strides": list(strides), "dropout": dropout,
        }  # fmt: skip
        _check(**self.config)
        self.new_units = []
        self.projection = torch.nn.Sequential(torch.nn.Linear(width, d_model), torch.nn.LayerNorm(d_model))
        self.convolutions = torch.nn.ModuleList(
            torch.nn.Conv1d(d_model, d_model, kernel_size, stride, padding=kernel_size // 2) for stride in strides
        )
        self.norms = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.LayerNorm(d_model), torch.nn.GELU(), torch.nn.Dropout(dropout))
            for _ in strides
        )
        # RoPEMHA divides by sqrt(d_model) where Vaswani et al. have sqrt(d_model / heads): the training loss of a small
        # model on made-up sequences is the same to 3 % after 300 updates either way, so it stays
        self.encoder = TransformerEncoder(
            num_layers=layers, nhead=heads, d_ffn=d_ffn, d_model=d_model, dropout=dropout, activation=torch.nn.GELU,
            normalize_before=True, attention_type="RoPEMHA",
        )  # fmt: skip
        self.head = torch.nn.Linear(d_model, units)

    def forward(self, inputs: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """-> logits (B, T, V), frames (B,); logits behind an utterance's frames mean nothing.

        Parameters
        ----------
        inputs : torch.Tensor
            (B, F, D), padded with whatever.
        lengths : torch.Tensor
            (B,) frames of each utterance, at least 1.

        Raises
        ------
        ValueError
            When a frame has not `width` values, or an utterance has no frame.
        """
        if inputs.shape[-1] != self.config["width"]:
            raise ValueError(
                f"features: {inputs.shape[-1]} values a frame, but the model takes width {self.config['width']}; "
                "prepare the features as its training did (points, coordinates, differences)"
            )
        if bool((lengths < 1).any()):
            raise ValueError(f"lengths: {lengths.tolist()} frames; an utterance has at least 1, refuse it when reading")
        padding = _padding(lengths, inputs.shape[1])
        x = self.projection(inputs.masked_fill(padding, 0.0))  # (B, F, C); not a product: padding may hold nan
        x = x.masked_fill(padding, 0.0)
        for done, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True), start=1):
            x = norm(convolution(x.transpose(1, 2)).transpose(1, 2))
            padding = _padding(self.frames(lengths, done), x.shape[1])
            x = x.masked_fill(padding, 0.0)
        x, _ = self.encoder(x, src_key_padding_mask=padding[..., 0])  # (B, T, C)
        return self.head(x), self.frames(lengths)

    def frames(self, lengths: torch.Tensor, convolutions: int | None = None) -> torch.Tensor:
        """Output frames of inputs of these lengths: ceil(n / stride), stride the product of the convolutions' strides.

        A convolution of kernel k, stride s and padding (k - 1) / 2 makes floor((n - 1) / s) + 1 = ceil(n / s) of n
        frames, and ceil(ceil(n / a) / b) = ceil(n / (a b)).

        Parameters
        ----------
        lengths : torch.Tensor
            (B,) input frames.
        convolutions : int, optional
            Behind only so many of them.
        """
        stride = math.prod(self.config["strides"][:convolutions])
        return (lengths + stride - 1) // stride

    def fewest_inputs(self, frames: torch.Tensor) -> torch.Tensor:
        """Input frames (B,) of the shortest utterances that have this many output frames (B,), 1 at least."""
        return (frames.clamp(min=1) - 1) * math.prod(self.config["strides"]) + 1

    def new_parameters(self) -> dict[str, torch.Tensor | None]:
        """What the carried-over model does not have, by parameter name: nothing, for the units do not grow."""
        return {}

    def settings(self) -> dict:
        """What decides its outputs besides its weights: see carryover.models.frozen."""
        return self.config

    def save(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors, which `from_folder` reads."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / "config.json", self.config)
        with files.beside(folder / "model.safetensors") as partial:
            save_model(self, str(partial))

    @classmethod
    def from_folder(cls, folder: str | Path, dropout: float | None = None) -> "SequenceCTC":
        """The model that `save` wrote, its weights included; torch's random generator stays as it was.

        Parameters
        ----------
        folder : str or Path
            E.g. results/sign_teacher/1234/model.
        dropout : float, optional
            Instead of the folder's own.

        Raises
        ------
        FileNotFoundError
            When config.json or model.safetensors is missing.
        ValueError
            When config.json is of another kind of model.
        RuntimeError
            When the weights are not of the shape that config.json says.
        """
        config = _read_config(Path(folder))
        config |= {} if dropout is None else {"dropout": dropout}
        # or a student would start from other weights because a teacher was loaded before it
        with torch.random.fork_rng(devices=[]):
            model = cls(**config)
        load_weights(model, Path(folder) / "model.safetensors")
        return model


def parts(model: SequenceCTC) -> Parts:
    """Stem (projection and convolutions), encoder and head."""
    named = {
        "stem": [model.projection, model.convolutions, model.norms],
        "encoder": [*model.encoder.layers, model.encoder.norm],
        "head": [model.head],
    }
    return Parts(named, model.encoder.layers)


def load(source: str | None, width: int, units: int, dropout: float, train: str = "all", **shape) -> SequenceCTC:
    """A model of random weights in the YAML's shape, or another run's with its weights.

    Parameters
    ----------
    source : str or None
        None: random weights. Otherwise a run's model/ folder, whose shape must be the YAML's.
    width, units : int
        Values an input frame, and symbols of the tokenizer.
    dropout : float
        Also replaces that of the source: it is a matter of training, not of the weights.
    train : str
        As `carryover.models.trained.set_trained`: all, head, encoder_top_2, ...
    **shape
        The other arguments of SequenceCTC.

    Raises
    ------
    FileNotFoundError, RuntimeError
        As `SequenceCTC.from_folder`.
    ValueError
        When the source has another width, number of units or shape; all keys that differ are named.
    """
    if source is None:
        model = SequenceCTC(width, units, dropout=dropout, **shape)
        set_trained(parts(model), train)
        print(f"model: random weights, {sum(p.numel() for p in model.parameters()):,} parameters, {units} units")
        return model
    found = _read_config(Path(source))
    asked = inspect.signature(SequenceCTC).bind(width, units, dropout=dropout, **shape)
    asked.apply_defaults()
    expected = asked.arguments | {"strides": list(asked.arguments["strides"]), "dropout": found["dropout"]}
    hints = {
        "width": "prepare the features as for that model",
        "units": "give the vocabulary that was saved with it, this head does not grow",
    }
    wrong = [
        f"{key} is {found[key]} there and {value} here ({hints.get(key, 'change the key, or set model to null')})"
        for key, value in expected.items()
        if found[key] != value
    ]
    if wrong:
        raise ValueError(f"model: {source} does not fit: {'; '.join(wrong)}")
    model = SequenceCTC.from_folder(source, dropout)
    set_trained(parts(model), train)
    print(f"{source}: {sum(p.numel() for p in model.parameters()):,} parameters carried over, {units} units, none new")
    return model


def _read_config(folder: Path) -> dict:
    """The arguments that `SequenceCTC.save` wrote, or an error that says what is wrong with the folder."""
    missing = [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"model: {folder} has no {' and no '.join(missing)}; expected the model/ folder of a finished run, e.g. "
            "results/sign_teacher/1234/model"
        )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    expected = set(inspect.signature(SequenceCTC).parameters)
    if set(config) != expected:
        raise ValueError(
            f"model: {folder / 'config.json'} holds {', '.join(sorted(config)[:8]) or 'nothing'}; expected "
            f"{', '.join(sorted(expected))}, as a run of recipes/sign_ctc.py writes them"
        )
    return config


def _padding(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """(B, size, 1), True at frames behind an utterance's last one."""
    return (torch.arange(size, device=lengths.device) >= lengths[:, None])[..., None]


def _check(width, units, d_model, layers, heads, d_ffn, kernel_size, strides, dropout) -> None:
    """Raise ValueError for an argument that is out of its range."""
    least = {"width": (width, 1), "units": (units, 2), "layers": (layers, 1), "heads": (heads, 1), "d_ffn": (d_ffn, 1)}
    for name, (value, smallest) in least.items():
        if value < smallest:
            raise ValueError(f"{name}: {value}; give {smallest} or more")
    if d_model < 1 or d_model % (2 * heads):
        raise ValueError(f"d_model: {d_model} is no multiple of 2 * heads = {2 * heads}; positions rotate pairs of it")
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size: {kernel_size}; give an odd number, e.g. 3 or 5")
    if not strides or min(strides) < 1:
        raise ValueError(f"strides: {strides}; give a number of 1 or more for each convolution, e.g. [2, 2]")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: {dropout}; give a probability of at least 0 and below 1")

"""Every key of the YAMLs: its type, range and choices; a value that does not fit is found before anything costs time.

One row a key. What a key means is said by its comment in the YAMLs; docs/reference takes type and range from here.
"""

import datetime
import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# YAML 1.1's words, which PyYAML reads as booleans and ruamel (YAML 1.2) as text; in quotes they are understood, too
BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
PRECISIONS, DTYPES, SPLITS = ("fp32", "bf16", "fp16"), ("float32", "bfloat16"), ("train", "valid", "test")
SCHEDULES = (
    "noam", "linear", "cosine", "cosine_with_restarts", "cosine_with_min_lr", "polynomial", "constant",
    "constant_with_warmup", "inverse_sqrt", "warmup_stable_decay",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """What a key can hold, besides objects (a tag is checked by what it makes).

    Attributes
    ----------
    types : tuple of type
        bool, int, float (which takes integers, too), str, list, dict; none: an object alone.
    low, high : float, optional
        Smallest and largest number, both allowed; of the parts of a list or mapping, where there is one.
    above, below : float, optional
        The same, not allowed themselves.
    words : tuple of str
        Text that is taken; empty: any, where `types` has str.
    pattern : str
        What else is taken, as a regular expression.
    null : bool
        Whether the key may be empty.
    part : Kind, optional
        Of each part of a list or value of a mapping.
    """

    types: tuple[type, ...] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    words: tuple[str, ...] = ()
    pattern: str = ""
    null: bool = False
    part: "Kind | None" = None

    @property
    def range(self) -> str:
        """E.g. "0 to below 1"."""
        low = f"above {self.above}" if self.above is not None else f"{self.low}" if self.low is not None else ""
        high = f"below {self.below}" if self.below is not None else f"{self.high}" if self.high is not None else ""
        return f"{low} to {high}" if low and high else f"{low} or more" if low and self.above is None else low

    @property
    def expected(self) -> str:
        """What can be given, in words: "an integer, 1 or more, or epoch"."""
        said, part = [], f" ({self.part.expected})" if self.part else ""
        if bool in self.types:
            said.append("True or False")
        if int in self.types or float in self.types:
            said.append(("a number" if float in self.types else "an integer") + f", {self.range}" * bool(self.range))
        words = " or ".join(filter(None, [", ".join(self.words[:-1]), *self.words[-1:]]))
        said += [words] if words else ["text"] if str in self.types else []
        said += [f"{name}{part}" for kind, name in ((list, "a list"), (dict, "a mapping")) if kind in self.types]
        said += ["an object (!new:, !name: or !apply:)"] if not self.types else []
        return " or ".join([*said, "null"] if self.null else said)

    def takes(self, value) -> bool:
        """Whether a plain value fits."""
        if value is None:
            return self.null
        if isinstance(value, bool):  # which Python takes for an integer
            return bool in self.types
        if isinstance(value, (int, float)):
            return self._number(value)
        if isinstance(value, str):
            known = value in self.words or bool(self.pattern and re.fullmatch(self.pattern, value))
            return str in self.types and (known or not (self.words or self.pattern))
        if isinstance(value, (list, tuple)):
            return list in self.types and all(self._part(one) for one in value)
        return isinstance(value, Mapping) and dict in self.types and all(self._part(one) for one in value.values())

    def _part(self, value) -> bool:
        return self.part is None or tag_of(value) is not None or self.part.takes(value)

    def _number(self, value: float) -> bool:
        return (
            (float in self.types or (int in self.types and isinstance(value, int)))
            and is_finite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


FLAG, TEXT, TEXT_OR_NULL, OBJECT = Kind((bool,)), Kind((str,)), Kind((str,), null=True), Kind()
COUNT, FROM_0, COUNT_OR_NULL = Kind((int,), low=1), Kind((int,), low=0), Kind((int,), low=1, null=True)
NOT_NEGATIVE, POSITIVE = Kind((float,), low=0), Kind((float,), above=0)
HOURS = ("hours such as 10h",)
SAMPLE = Kind((int, str), low=1, null=True, words=HOURS, pattern=r"\d+(\.\d+)?h")
SHARE, DROPOUT = Kind((float,), low=0, high=1), Kind((float,), low=0, below=1)
UPDATES = Kind((int, str), low=1, words=("epoch",))
SEED = Kind((int,), low=0, high=2**32 - 1)  # numpy's

KEYS: dict[str, Kind] = {
    # the models
    "model": TEXT_OR_NULL, "from_scratch": FLAG, "encoder": TEXT, "encoder_revision": TEXT_OR_NULL,
    "encoder_dtype": Kind((str,), words=DTYPES), "encoder_from_scratch": FLAG, "language_model": TEXT,
    "language_model_revision": TEXT_OR_NULL, "language_model_dtype": Kind((str,), words=DTYPES), "lora": OBJECT,
    "train": Kind((str,), words=("all", "none", "encoder", "decoder", "head", "all_but_stem", "lora",
                                 "encoder_top_N (N from 1)"), pattern=r"encoder_top_[1-9]\d*"),
    "freeze_encoder": FLAG, "frames": COUNT, "hidden": COUNT, "start_from": TEXT_OR_NULL, "d_model": COUNT,
    "layers": COUNT, "heads": COUNT, "d_ffn": COUNT, "kernel_size": COUNT, "strides": Kind((list,), part=COUNT),
    "teacher": TEXT_OR_NULL, "temperature": POSITIVE,
    # the corpus
    "corpus": OBJECT, "data_folder": TEXT_OR_NULL, "language": TEXT_OR_NULL, "old_language": TEXT_OR_NULL,
    "old_data_folder": TEXT_OR_NULL, "old_splits": Kind((list,), part=Kind((str,), words=SPLITS), null=True),
    "alphabet": TEXT, "glosses": Kind((str, list), part=TEXT), "layout": OBJECT, "fps": POSITIVE,
    "differences": Kind((int,), low=0, high=2),
    "sample": Kind((int, str, dict), low=1, null=True, words=HOURS, pattern=r"\d+(\.\d+)?h", part=SAMPLE),
    "sample_seed": SEED, "workers": COUNT, "check_audio": Kind((str,), words=("decoded", "headers")),
    "metadata_limits": Kind(null=True), "max_train_samples": COUNT_OR_NULL,
    "max_eval_samples": COUNT_OR_NULL, "max_seconds": POSITIVE, "other_tests": Kind((dict,), part=TEXT),
    # length and batches
    "max_updates": COUNT_OR_NULL, "epochs": COUNT, "batch_size": COUNT, "grad_accumulation_factor": COUNT,
    "batch_seconds": Kind((float,), above=0, null=True), "eval_batch_size": COUNT, "group_by_length": FLAG,
    "early_stopping_patience": FROM_0, "overfit": COUNT_OR_NULL,
    # rate and regularisation
    "lr": NOT_NEGATIVE, "lr_of": Kind((dict,), part=NOT_NEGATIVE), "lr_schedule": Kind((str,), words=SCHEDULES),
    "warmup": NOT_NEGATIVE, "weight_decay": NOT_NEGATIVE, "no_decay_for_vectors": FLAG, "max_grad_norm": NOT_NEGATIVE,
    "loss_weights": Kind((dict,), part=NOT_NEGATIVE), "label_smoothing": DROPOUT, "dropout": DROPOUT,
    "attention_dropout": DROPOUT, "activation_dropout": DROPOUT, "layerdrop": DROPOUT, "encoder_layerdrop": DROPOUT,
    "decoder_layerdrop": DROPOUT, "augment_prob": SHARE, "mask_time_prob": SHARE, "mask_time_length": COUNT,
    "mask_feature_prob": SHARE, "mask_feature_length": COUNT,
    # against forgetting
    "forgetting": Kind((list,), null=True), "lambda": NOT_NEGATIVE, "fisher_samples": COUNT, "distillation": OBJECT,
    # validation, test and decoding
    "valid_every": UPDATES, "test_before": FLAG, "valid_beams": COUNT, "test_beams": COUNT, "generation_length": COUNT,
    "tokens_per_second": POSITIVE, "task": Kind((str,), words=("transcribe", "translate")), "prompt": TEXT,
    "system_prompt": TEXT_OR_NULL, "plain_template": TEXT_OR_NULL, "template_options": Kind((dict,), null=True),
    "pad_token": TEXT_OR_NULL,
    # precision and speed
    "precision": Kind((str,), words=PRECISIONS), "eval_precision": Kind((str,), words=PRECISIONS),
    "num_workers": FROM_0, "keep_states": Kind((str,), words=("float32", "float16"), null=True),
    "nonfinite_patience": FROM_0, "gradient_checkpointing": FLAG,
    "attention": Kind((str,), words=("eager", "sdpa", "flash_attention_2"), null=True),
    # run, files and logs
    "seed": SEED, "pretrain_seed": SEED, "run_first": TEXT_OR_NULL, "output_root": TEXT, "output_folder": TEXT,
    "log_every": UPDATES, "save_every": UPDATES, "save_limit": COUNT_OR_NULL,
    "stop_signals": Kind((list,), part=TEXT),
    # what is made of them
    "modules": Kind((dict,)),
    **dict.fromkeys(
        ("brain", "optimizer", "schedule", "tracker", "normaliser", "target_text", "tokenizer", "whisper", "ctc",
         "collate", "log_mel", "limits", "augmentation", "features", "acoustic", "decoder", "recogniser",
         "audio_encoder", "kept", "chat", "reader", "projector", "tasks", "made_for"),
        OBJECT,
    ),
}  # fmt: skip


def understood(key: str, value):
    """The value as its key means it: YAML 1.1's words are booleans where a switch stands."""
    if KEYS.get(key) is FLAG and isinstance(value, str):
        return BOOLEANS.get(value.lower(), value)
    return value


def faults(values: Mapping) -> list[str]:
    """What does not fit, one line a key: the key, the value found, what is expected.

    Parameters
    ----------
    values : mapping
        Top level of a YAML, parsed by ruamel, references resolved. Values with a tag are taken as they are, and so
        are keys that the table does not have.
    """
    found = []
    for key, value in values.items():
        kind = KEYS.get(key)
        if kind is None or tag_of(value) is not None or kind.takes(value):
            continue
        advice = ""
        free = str in kind.types and not (kind.words or kind.pattern)
        if free and isinstance(value, (bool, int, float, datetime.date)):
            advice = "; put it in quotes if it is meant as text"
        elif int in kind.types and isinstance(value, float) and value.is_integer():
            advice = f"; write {int(value)}"
        found.append(f"{key}: {_shown(value)}; expected {kind.expected}{advice}")
    return found


def misspelt(names: Iterable[str], read: Iterable[str], referred: Iterable[str]) -> list[str]:
    """Keys that a YAML lacks or that nothing reads, one line each, with the nearest.

    Parameters
    ----------
    names : iterable of str
        Keys of the YAML's top level.
    read : iterable of str
        Keys that the run reads by name.
    referred : iterable of str
        Keys that a `!ref` of the YAML names: a YAML may have its own for that.
    """
    names, read = list(names), set(read)
    strange = [name for name in names if name not in KEYS and name not in read and name not in set(referred)]
    lacking = sorted(read - set(names))
    lines = []
    for name in strange:
        near = difflib.get_close_matches(name, [*lacking, *(key for key in KEYS if key not in names)], 1, 0.7)
        hint = (
            f"did you mean {near[0]}?" if near else "take it out, refer to it (!ref), or name it in the Brain's `reads`"
        )
        lines.append(f"{name}: nothing reads this key; {hint}")
        lacking = [key for key in lacking if key not in near]
    for key in lacking:
        what = f": {KEYS[key].expected}" if key in KEYS else ""
        lines.append(f"{key}: the YAML lacks this key, which is read{what}; take it from a YAML of hparams/")
    return lines


def is_finite(number: float) -> bool:
    """Whether a number, or an integer of any length, is one that a float can hold."""
    return abs(number) <= sys.float_info.max


def tag_of(node) -> str | None:
    """The tag of a value that ruamel.yaml has read, such as "!new:..."; None of a plain one, which may be no node."""
    return getattr(getattr(node, "tag", None), "value", None)


def _shown(value) -> str:
    return f"'{value}'" if isinstance(value, str) else "null" if value is None else str(value)

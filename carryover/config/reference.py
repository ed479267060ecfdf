"""What a YAML's keys mean: groups and meanings of all keys, and the values and comments that one YAML has for them."""

import importlib.metadata
import re
import shutil
import textwrap

from carryover.config import settings
from carryover.config.keys import KEYS

KEY = re.compile(r"^([A-Za-z_]\w*):(?: +(.*))?$")
COMMENT = re.compile(r"""((?:[^"'#]|"[^"]*"|'[^']*'|\S#)*?)(?:(?:^|\s+)#\s*(.*))?$""")
BLOCK, ITEMS = "several lines", "list of several lines"  # of a value that begins on the line after its key
RULER = re.compile(r"^# ?-{4,}")

OPTIONS = {
    "--KEY VALUE": "any key of the YAML; a value is replaced as a whole",
    "--preset NAME[,NAME]": "a named set of values, see docs/guides/tuning.md",
    "--profile 24GB": "micro-batch for a card's memory: 16GB, 24GB, 40GB, 80GB, auto",
    "--batch auto": "the largest micro-batch that fits into the GPU's memory, by trial; the effective batch stays",
    "--overfit N": "prove that N utterances can be learned by heart",
    "--train_only": "train and validate, but test and export nothing: what is compared before one is chosen",
    "--deterministic": "torch's deterministic algorithms",
    "--device cuda:1": "SpeechBrain's run option: cpu, cuda, cuda:1",
    "--help": "this text; with a YAML, its keys too",
    "--version": "carryover's version",
}
USAGE = "python train.py hparams/NAME.yaml [--key value ...]"

GROUPS = {
    "Model": (
        "model", "from_scratch", "encoder", "encoder_revision", "encoder_dtype", "encoder_from_scratch",
        "language_model", "language_model_revision", "language_model_dtype", "lora", "train", "freeze_encoder",
        "frames", "hidden", "start_from", "d_model", "layers", "heads",
        "d_ffn", "kernel_size", "strides", "teacher", "temperature",
    ),
    "Data": (
        "corpus", "data_folder", "language", "old_language", "old_data_folder", "old_splits", "alphabet",
        "glosses", "layout", "fps", "differences", "sample", "sample_seed", "workers", "check_audio",
        "metadata_limits",
        "max_train_samples", "max_eval_samples", "max_seconds", "target_text", "limits",
    ),
    "Length and batches": (
        "max_updates", "epochs", "batch_size", "batch_seconds", "grad_accumulation_factor", "eval_batch_size",
        "group_by_length", "early_stopping_patience", "overfit",
    ),
    "Rate and regularisation": (
        "lr", "lr_of", "lr_schedule", "warmup", "weight_decay", "no_decay_for_vectors", "max_grad_norm",
        "loss_weights", "label_smoothing", "dropout", "attention_dropout", "activation_dropout", "layerdrop",
        "encoder_layerdrop", "decoder_layerdrop", "augment_prob", "augmentation", "mask_time_prob",
        "mask_time_length", "mask_feature_prob", "mask_feature_length",
    ),
    "Against forgetting": ("forgetting", "lambda", "fisher_samples", "distillation"),
    "Validation, test and decoding": (
        "valid_every", "test_before", "valid_beams", "test_beams", "generation_length", "tokens_per_second", "task",
        "normaliser", "decoder", "prompt", "system_prompt", "plain_template", "template_options", "pad_token", "tasks",
    ),
    "Precision and speed": (
        "precision", "eval_precision", "gradient_checkpointing", "attention", "num_workers", "keep_states",
        "nonfinite_patience",
    ),
    "Run, files and logs": (
        "seed", "pretrain_seed", "run_first", "output_root", "output_folder", "log_every", "save_every", "save_limit",
        "stop_signals",
        "tracker",
    ),
}  # fmt: skip
OTHERS = "Objects"

# What a key means where the YAMLs' comments, which suppose their place, do not say it in full.
MEANINGS = {
    "model": "What training starts from: a folder, or a name on the model hub.",
    "from_scratch": "Take the shape of `model` alone, with random weights.",
    "encoder": "The audio encoder: a folder, or a name on the model hub.",
    "encoder_revision": "Commit of the encoder on the hub.",
    "encoder_dtype": "float32, bfloat16 or float16: in which its frozen weights are kept.",
    "language_model": "The language model: a folder, or a name on the model hub.",
    "language_model_revision": "Commit of the language model on the hub.",
    "language_model_dtype": "float32, bfloat16 or float16: in which its frozen weights are kept.",
    "lora": "Low-rank adapters: in a Whisper, a CTC model, or a speech LLM's language model. The rest is frozen, but "
    "of CTC the head, and of a speech LLM the projector (docs/guides/adapters.md).",
    "hidden": "Inner width of the projector.",
    "frames": "Frames of the encoder that become one vector; at least 1.",
    "prompt": "What is said to the language model; {audio} is where the recording stands.",
    "system_prompt": "The system's turn of the chat; null: none.",
    "tasks": "The prompts and answers that are trained.",
    "decoder": "Frames to text: greedy, or beam search with a language model.",
    "augmentation": "What augmentation does.",
    "distillation": "Soft targets of another model (the sign student).",
    "features": "Recording to what the model takes.",
    "sample": "Utterances or hours (10h) to draw; a larger sample holds the smaller one. null: all.",
    "alphabet": "Symbols of CTC; old ones keep their rows.",
    "teacher": "The model/ folder of the run whose posteriors the student learns from.",
    "language": "Code of the language that is learned, e.g. nl, de, gsg.",
    "data_folder": "Folder of the corpus of the new language.",
    "old_language": "Code of the language that is known already, tested before and after; null: none.",
    "old_data_folder": "Folder of the old language's corpus.",
    "old_splits": "Splits of the old language that are prepared: of train, valid, test.",
    "corpus": "The function of local/ that yields the corpus's utterances.",
    "layers": "Layers of the transformer; at least 1.",
    "heads": "Attention heads; they divide d_model.",
    "d_model": "Width of the transformer.",
    "d_ffn": "Width of its feed-forward layers.",
    "layout": "Which landmarks a frame has.",
    "lr": "Peak of the learning rate; above 0 (0 learns nothing).",
    "lr_of": "Peaks of single modules, by name.",
    "lr_schedule": "linear, cosine, cosine_with_restarts, cosine_with_min_lr, polynomial, constant, "
    "constant_with_warmup, inverse_sqrt, warmup_stable_decay or noam.",
    "warmup": "Updates in which the rate rises to its peak; below 1: a share of all updates.",
    "weight_decay": "Decoupled weight decay; 0 or more.",
    "dropout": "0 to below 1.",
    "attention_dropout": "Of the attention's weights; 0 to below 1.",
    "activation_dropout": "Within the feed-forward layers; 0 to below 1.",
    "layerdrop": "Probability that a layer is left out; 0 to below 1.",
    "encoder_layerdrop": "Probability that a layer of the encoder is left out; 0 to below 1.",
    "decoder_layerdrop": "Probability that a layer of the decoder is left out; 0 to below 1.",
    "label_smoothing": "Share of the target's probability spread over all tokens, in training; 0 to below 1.",
    "augment_prob": "Share of batches (landmarks: utterances) that are augmented; 0 to 1.",
    "mask_time_prob": "SpecAugment inside the model: share of frames that are masked; 0 to 1.",
    "mask_time_length": "Output frames of one masked span.",
    "mask_feature_prob": "The same over features; 0 to 1.",
    "mask_feature_length": "Features of one masked span.",
    "max_updates": "Optimizer updates; null: `epochs` decide.",
    "epochs": "Passes over the data; counts only with `max_updates: null`.",
    "batch_size": "Utterances of a micro-batch.",
    "batch_seconds": "Seconds that fill a micro-batch of similar utterances, padding counted; null: `batch_size` does.",
    "grad_accumulation_factor": "Micro-batches of one update; effective batch = batch_size x this.",
    "eval_batch_size": "Utterances of a batch in validation and test.",
    "log_every": "Updates between two lines of the log, or epoch.",
    "valid_every": "Updates between two validations, or epoch.",
    "save_every": "Updates between two checkpoints, or epoch; a better WER is saved in any case.",
    "stop_signals": "Signals that finish the update, save and stop the run; with a status of 128 + number.",
    "precision": "fp32, bf16 or fp16, of training (autocast; the weights stay float32).",
    "eval_precision": "The same, of validation and test.",
    "gradient_checkpointing": "Compute what trained layers computed again in the backward pass, instead of keeping it.",
    "attention": "How attention is computed: eager, sdpa or flash_attention_2; null: as transformers chooses.",
    "num_workers": "Processes that read data; 0: the training's own.",
    "lambda": "Weight of the penalty; 0 or more. A method's preset sets its own.",
    "fisher_samples": "Clips of the old language that importance is estimated from.",
    "forgetting": "List of methods against forgetting; see [the tutorial](../tutorials/without_forgetting.md).",
    "seed": "Of weights, dropout and the order of data.",
    "pretrain_seed": "Seed of the run that is run first; one number lets several seeds share it.",
    "run_first": "A YAML that is run first if its result is not there.",
    "output_root": "Folder of all runs.",
    "output_folder": "The run's folder; it holds one run.",
    "task": "transcribe, or translate (into English).",
    "valid_beams": "Beams in validation; 1: greedy.",
    "test_beams": "Beams in the test; 1: greedy.",
    "generation_length": "Longest answer, in tokens after the prompt; at most 444 for Whisper.",
    "brain": "The recipe: a class of recipes/.",
    "modules": "All that is trained or saved.",
    "optimizer": "Class of the optimizer, with its settings.",
    "schedule": "The learning rate over updates.",
    "tokenizer": "Text to symbols and back.",
    "collate": "Utterances to a batch.",
    "limits": "What the model cannot take; such clips are refused at preparation, with a reason.",
    "train": "What is trained: all, decoder, encoder, encoder_top_N, head, ...",
}


def entries(text: str) -> dict[str, tuple[str, str]]:
    """The top-level keys of a YAML's text: key -> (value as written, comment with its continuation lines)."""
    found, key = {}, None
    for line in text.splitlines():
        if match := KEY.match(line):
            key = match[1]
            value, comment = COMMENT.match(match[2] or "").groups()
            found[key] = (value.strip(), (comment or "").strip())
        elif RULER.match(line):
            key = None
        elif key and line.strip().startswith("#") and line.startswith(" ") and found[key][1]:
            value, comment = found[key]
            joint = "" if comment.endswith("-") else " "  # a name that is broken at its hyphen
            found[key] = (value, comment + joint + line.strip().lstrip("# "))
        elif key and line.strip() and not line.strip().startswith("#"):
            value, comment = found[key]
            if not value:
                value = ITEMS if line.strip().startswith("- ") else BLOCK
            elif value not in (ITEMS, BLOCK) and not value.endswith("..."):
                value += " ..."
            found[key] = (value, comment)
    return {k: v for k, v in found.items() if not k.startswith("__")}


def grouped(names: list[str]) -> dict[str, list[str]]:
    """Keys by their group; those that no group names, mostly objects, come last."""
    found = {group: [key for key in members if key in names] for group, members in GROUPS.items()}
    known = {key for members in found.values() for key in members}
    found[OTHERS] = sorted(key for key in names if key not in known)
    return {group: members for group, members in found.items() if members}


def usage() -> str:
    """What train.py takes beside a YAML's keys."""
    width = max(map(len, OPTIONS))
    return "\n".join([USAGE, "", *(f"  {option:<{width}}  {means}" for option, means in OPTIONS.items())])


def help_text(path: str, text: str) -> str:
    """The keys of a YAML for a terminal: value as written, meaning, what can be given, and the YAML's own comment.

    Parameters
    ----------
    path : str
        The YAML's name, as it is said.
    text : str
        Its text.
    """
    found = entries(text)
    about = "\n".join(line.lstrip("# ") for line in text.split("\n\n")[0].splitlines() if line.startswith("#"))
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    lines = [usage(), "", path, "", about]
    for group, members in grouped(list(found)).items():
        lines += ["", group]
        for key in members:
            value, comment = found[key]
            lines.append("  " + textwrap.shorten(f"--{key} {value}", width - 2, placeholder=" ..."))
            kind = KEYS[key].expected if key in KEYS and KEYS[key].types else ""
            said = (comment or MEANINGS.get(key, "")) + f" [{kind}]" * bool(kind)
            lines += textwrap.wrap(said, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def asked(argv: list[str]) -> str | None:
    """What `--help` or `--version` among train.py's arguments asks for; None without them."""
    if "--version" in argv:
        return f"carryover {importlib.metadata.version('carryover')}"
    if "--help" not in argv and "-h" not in argv:
        return None
    if argv[0].startswith("-"):
        return usage()
    return help_text(argv[0], settings.read(argv[0]))

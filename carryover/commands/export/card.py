"""The model card of an export (README.md): the hub's metadata, then what the run's files say of the model."""

import re
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from carryover import files
from carryover.commands.export import usage
from carryover.commands.export.asked import Asked
from carryover.report import methods
from carryover.report.summary import Summary, summarise
from carryover.runs.privacy import clean_value
from carryover.stats import error_rates

LIBRARIES = {"hf": "transformers", "ctranslate2": "ctranslate2", "onnx": "onnx"}
# IDs of corpora on the hub whose readers this project has; of others the card's text has the name
ON_THE_HUB = {
    "fleurs": "google/fleurs", "librispeech": "openslr/librispeech_asr", "mls": "facebook/multilingual_librispeech",
    "voxpopuli": "facebook/voxpopuli",
}  # fmt: skip
SHOWN = (
    "model", "from_scratch", "train", "lora", "lr", "lr_of", "lr_schedule", "warmup", "max_updates", "epochs",
    "batch_size", "batch_seconds", "grad_accumulation_factor", "optimizer", "weight_decay", "max_grad_norm",
    "label_smoothing",
    "loss_weights", "dropout", "augment_prob", "precision", "forgetting", "lambda", "target_text", "test_beams",
    "generation_length", "seed",
)  # fmt: skip
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
TASK = "automatic-speech-recognition"
CARRYOVER = """@software{carryover,
  title = {carryover: {SpeechBrain} recipes that carry a speech model over without losing what it knew},
  author = {{The carryover maintainers}}
}"""


def write(folder: Path, run: Path, brain, asked: Asked, parity: str) -> None:
    """Write README.md into an export.

    Parameters
    ----------
    folder : Path
        Of the export.
    run : Path
        Its run folder.
    brain : carryover.training.brain.RecipeBrain
    asked : Asked
    parity : str
        What the check found, in a sentence.
    """
    files.write(folder / "README.md", text(summarise(run), brain, asked, parity))


def text(run: Summary, brain, asked: Asked, parity: str) -> str:
    """The card of a run's export; parameters as of `write`."""
    base = base_model(str(run.settings.get("model") or ""), bool(run.settings.get("from_scratch")))
    tests = tested(run)
    parts = [
        f"---\n{metadata(run, base, tests, brain, asked).to_yaml()}\n---",
        f"# {title(run)}",
        about(run, base, asked),
        "## Use",
        usage.of(brain, asked),
        "## Results",
        results(run, tests),
        "## Data",
        data(run),
        "## Training",
        methods.describe([run]).text(),
        settings(run),
        "## Parity",
        f"{parity}.",
        "## Limits",
        limits(run, tests, brain),
        "## How to cite",
        citation(run),
    ]
    return "\n\n".join(parts) + "\n"


def title(run: Summary) -> str:
    """Name of the model: its experiment's, language and seed."""
    return f"{run.experiment}, {run.language}, seed {run.seed}"


def base_model(source: str, from_scratch: bool) -> str | None:
    """The hub's name of what was fine-tuned; None for a folder, and where only the shape was taken."""
    hub = HUB_NAME.fullmatch(source) and not Path(source).exists()
    return source if hub and not from_scratch else None


def tested(run: Summary) -> list[dict]:
    """The last test of each set with the weights as they came and with the exported ones."""
    kept = {(e.get("language"), e.get("weights")): e for e in run.tests if e.get("weights") in ("before", "best")}
    return list(kept.values())


def metadata(run: Summary, base: str | None, tests: list[dict], brain, asked: Asked) -> ModelCardData:
    """The hub's metadata, with the WER and CER of each test set of the exported weights."""
    found = []
    for test in (t for t in tests if t["weights"] == "best"):
        corpus = _corpus(run, test["language"])
        for name, ends in (("WER", "interval"), ("CER", "interval_CER")):
            found.append(
                EvalResult(
                    task_type=TASK, task_name="Speech recognition", dataset_type=ON_THE_HUB.get(corpus, corpus),
                    dataset_name=f"{corpus}, {test['language']}, test", dataset_split="test",
                    dataset_config=test["language"], metric_type=name.lower(), metric_name=f"{name}, percent",
                    metric_value=round(float(test[name]), 2),
                    metric_args={"interval_95": [round(float(x), 2) for x in test[ends]], "normaliser": run.normaliser},
                )
            )  # fmt: skip
    corpora = sorted({ON_THE_HUB[c] for c in (_corpus(run, name) for name in run.counts) if c in ON_THE_HUB})
    kind = type(brain).__name__.removesuffix("Brain").lower()
    return ModelCardData(
        language=_code(run.language), license=asked.licence, library_name=LIBRARIES[asked.to],
        base_model=base, datasets=corpora or None, metrics=["wer", "cer"], pipeline_tag=TASK,
        tags=["carryover", "speech", kind, *([asked.quantization] if asked.quantization else [])],
        model_name=title(run), eval_results=found or None,
    )  # fmt: skip


def about(run: Summary, base: str | None, asked: Asked) -> str:
    """First paragraph."""
    came = f"fine-tuned from {base}" if base else "trained"
    after = f", after {run.old_language}" if run.old_language else ""
    made = f"A model for {run.language}{after}, {came} with carryover's `{run.experiment}`"
    return f"{made}; the weights of the best validation WER, in the format {asked.name}."


def results(run: Summary, tests: list[dict]) -> str:
    """Table of the tests with their intervals."""
    if not tests:
        return "No test was logged."
    return error_rates.before_after(tests, run.normaliser)


def data(run: Summary) -> str:
    """Table of utterances and hours of each language."""
    lines = ["| language | corpus | split | utterances | hours |", "|---|---|---|---|---|"]
    for language, found in run.counts.items():
        for split, n in found["valid"].items():
            hours = found["hours"].get(split)
            cells = [language, _corpus(run, language), split, n, "-" if hours is None else f"{float(hours):.2f}"]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    rejected = {name: found["refused"] for name, found in run.counts.items() if found["refused"]}
    said = "; ".join(f"{n} utterances of {name} were rejected" for name, n in rejected.items())
    return "\n".join(lines) + (f"\n\n{said}." if said else "")


def settings(run: Summary) -> str:
    """Table of what a reader would set again."""
    lines = ["| key | value |", "|---|---|"]
    for key in SHOWN:
        value = run.objects.get(key, run.settings.get(key))
        if value is None or value == "":
            continue
        shown = clean_value(key, str(value))
        lines.append(f"| {key} | `{' '.join(shown.split())}` |".replace("|`", "`"))
    return "\n".join([*lines, f"| updates made | {run.last_update} |"])


def limits(run: Summary, tests: list[dict], brain) -> str:
    """What the model was not made for, by what its run's files say."""
    found = [
        f"One training run (seed {run.seed}): its spread over seeds is not known from it.",
        "Only the test sets above were measured; recordings of another kind (noise, telephone, other speakers and "
        "subjects) can be recognised far worse.",
    ]
    if "synthetic" in {_corpus(run, name) for name in run.counts}:
        found.append("It was trained and tested on synthetic speech, and says nothing about real speech.")
    by = {(t["language"], t["weights"]): float(t["WER"]) for t in tests}
    for language in dict.fromkeys(t["language"] for t in tests):
        before, after = by.get((language, "before")), by.get((language, "best"))
        if language != run.language and before is not None and after is not None and after > before:
            found.append(
                f"It has forgotten some of {language}: {after - before:.1f} points of WER more than before training."
            )
    if brain.window is not None:
        found.append(
            f"It hears {brain.window:g} s at a time and writes at most {brain.hparams.generation_length} tokens of "
            "them; cut longer recordings where nobody speaks."
        )
    return "\n".join(f"- {line}" for line in found)


def citation(run: Summary) -> str:
    """BibTeX of what the methods paragraph cites."""
    found = "\n\n".join([CARRYOVER, methods.describe([run]).bibtex().strip()]).strip()
    return f"Cite the corpus, the model that was fine-tuned, and what this run used:\n\n```bibtex\n{found}\n```"


def _corpus(run: Summary, language: str) -> str:
    return str(run.counts.get(language, {}).get("corpus") or "") or "own recordings"


def _code(language: str) -> str | None:
    """The language's code as the hub has it: "sv" for sv-SE."""
    return language.replace("_", "-").split("-")[0].lower() or None

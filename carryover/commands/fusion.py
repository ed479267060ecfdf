"""A CTC run with an n-gram model of its training text: weights tuned on validation, then tested beside greedy."""

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from speechbrain import Stage
from tqdm import tqdm

from carryover import files
from carryover.commands.manifests import Manifests
from carryover.data import manifest
from carryover.decoding import BeamSearch, Greedy
from carryover.report.tables import cells
from carryover.stats import error_rates
from carryover.stats.systems import Estimate
from carryover.text import Characters, Pieces, ngram
from carryover.training.ctc_brain import CTCRecipeBrain


@dataclass(frozen=True)
class Heard:
    """Posteriors of a set: log-probabilities (T, V) of each utterance, on the CPU, and its row."""

    log_probs: Sequence[torch.Tensor]
    rows: Sequence[dict]

    def scored(self, decoder, normaliser) -> list[dict]:
        """Rows of predictions by a decoder."""
        return [
            error_rates.score(row, decoder(one[None], torch.tensor([len(one)]))[0], normaliser)
            for one, row in zip(self.log_probs, self.rows, strict=True)
        ]


def require_spelling(brain, folder: Path) -> None:
    """Raise ValueError for a run that writes no characters or pieces by CTC."""
    if not isinstance(brain, CTCRecipeBrain) or not isinstance(brain.hparams.tokenizer, (Characters, Pieces)):
        raise ValueError(f"{folder}: an n-gram model helps where words are spelled by CTC; this recipe does not")


def texts(brain, manifests: Manifests, language: str, more: Iterable[Path] = ()) -> list[str]:
    """Training transcripts of a language and the lines of other files, as targets are normalised."""
    written = [row["text"] for row in manifest.load(manifests.path(language, "train")).values()]
    for file in more:
        written += file.read_text(encoding="utf-8").splitlines()
    return [brain.hparams.target_text(text, language) for text in written]


def hear(brain, path: Path, batch_size: int, most: int | None = None) -> Heard:
    """What the model makes of a manifest, of `most` utterances drawn from it, always the same."""
    dataset = brain.read(path)
    if most is not None and most < len(dataset):
        kept = set(random.Random(1).sample(sorted(dataset.data), most))
        dataset = dataset.filtered_sorted(key_test={"id": lambda ID: ID in kept})
    log_probs, rows = [], []
    brain.eval_mode()
    loader = brain.make_dataloader(dataset, Stage.TEST, ckpt_prefix=None, batch_size=batch_size)
    for batch in tqdm(loader, desc=f"Hearing {path.stem}", unit="batch", leave=False):
        with torch.no_grad(), brain.evaluation_ctx:
            output = brain.compute_forward(batch.to(brain.device), Stage.TEST)
        for one, frames in zip(output.log_probs.float().cpu(), output.lengths.tolist(), strict=True):
            log_probs.append(one[: int(frames)].clone())
        rows += batch.row
    return Heard(log_probs, rows)


def tuned(heard: Heard, decoder: BeamSearch, alphas: Sequence[float], betas: Sequence[float], normaliser) -> list[dict]:
    """alpha, beta and WER of every pair on validation, the best first; of equals the smaller weights."""
    found = []
    pairs = list(itertools.product(alphas, betas))
    for alpha, beta in tqdm(pairs, desc="Tuning on validation", unit="pair"):
        decoder.weigh(alpha, beta)
        rates = error_rates.totals(heard.scored(decoder, normaliser))
        found.append({"alpha": alpha, "beta": beta, "WER": rates["WER"], "CER": rates["CER"]})
    return sorted(found, key=lambda one: (one["WER"], one["alpha"], one["beta"]))


def fuse(
    brain, manifests: Manifests, language: str, out: Path, *,
    order: int, more: Sequence[Path], alphas: Sequence[float], betas: Sequence[float], beams: int, most: int,
) -> dict:  # fmt: skip
    """Make the model, tune, test; -> what `ngram.json` of `out` holds.

    Raises
    ------
    FileNotFoundError, ValueError
        Without manifests, for those that `Manifests` refuses, and for texts without words.
    """
    hparams, lm = brain.hparams, out / "lm.arpa"
    sentences = texts(brain, manifests, language, more)
    models = ngram.estimate(sentences, order)
    sets = {split: manifests.path(language, split) for split in ("valid", "test")}
    files.write(lm, ngram.arpa(models))
    greedy = Greedy(hparams.tokenizer)
    fused = BeamSearch(hparams.tokenizer, lm=str(lm), beam_size=beams)
    valid = hear(brain, sets["valid"], hparams.eval_batch_size, most)
    grid = tuned(valid, fused, alphas, betas, hparams.normaliser)
    best = grid[0]
    fused.weigh(best["alpha"], best["beta"])
    test, results = hear(brain, sets["test"], hparams.eval_batch_size), {}
    for name, decoder in (("greedy", greedy), ("ngram", fused)):
        rows = test.scored(decoder, hparams.normaliser)
        error_rates.write_predictions(out / f"predictions_test_{language}_{name}.csv", rows)
        results[name] = error_rates.totals(rows) | error_rates.interval(rows).logged()
    words = {word for sentence in sentences for word in sentence.split()}
    spoken = [word for row in test.rows for word in hparams.normaliser(row["text"], language).split()]
    found = {
        "language": language, "order": order, "beams": beams, "sentences": len(sentences), "words": len(words),
        "ngrams": [len(model) for model in models], "test_words_unknown": sum(word not in words for word in spoken),
        "alpha": best["alpha"], "beta": best["beta"], "normaliser": hparams.normaliser.name,
        "valid": {"utterances": len(valid.rows), "ngram": best,
                  "greedy": error_rates.totals(valid.scored(greedy, hparams.normaliser))},
        "grid": grid, "test": results,
    }  # fmt: skip
    files.write_json(out / "ngram.json", found)
    return found


def table(found: dict) -> str:
    """Markdown of `fuse`'s result."""
    valid, test = found["valid"], found["test"]
    lines = ["| decoder | WER, validation | WER, test [95 %] | CER, test [95 %] |\n|---|--:|--:|--:|"]
    for name, key in (("greedy", "greedy"), (f"{found['order']}-grams, {found['beams']} beams", "ngram")):
        rates = (
            cells.rate(Estimate(test[key][rate], *test[key][ends]))
            for rate, ends in (("WER", "interval"), ("CER", "interval_CER"))
        )
        lines.append(f"| {name} | {valid[key]['WER']:.2f} | {' | '.join(rates)} |")
    worse = " Greedy is no worse on validation: keep it." if valid["greedy"]["WER"] <= valid["ngram"]["WER"] else ""
    return (
        "\n".join(lines) + f"\n\nWER and CER in percent, normalised by {found['normaliser']}. alpha "
        f"{found['alpha']:g}, beta {found['beta']:g}, chosen among {len(found['grid'])} pairs on "
        f"{valid['utterances']} validation utterances.{worse} The model has {found['words']} words of "
        f"{found['sentences']} training sentences; {found['test_words_unknown']} of {test['ngram']['words']} words "
        "of the test set are unknown to it."
    )  # fmt: skip

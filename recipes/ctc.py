"""CTC fine-tuning of wav2vec2-type models: pre-training on one language, adaptation to the next without forgetting."""

from dataclasses import dataclass
from pathlib import Path

import torch

from carryover.data import manifest
from carryover.data.batching import with_lengths
from carryover.losses import ctc
from carryover.training.brain import Stage
from carryover.training.ctc_brain import CTCRecipeBrain
from carryover.training.output import Output

UNKNOWN = "symbols that are not in the alphabet"

# Shapes: B batch, S samples, T output frames, L symbols of a target, V symbols in all


class CTCBrain(CTCRecipeBrain):
    """Fine-tunes `modules.acoustic`, a models.wav2vec2.CTCModel.

    Read from `hparams` besides CTCRecipeBrain's: features, augmentation.
    """

    def __init__(self, modules=None, opt_class=None, hparams=None, run_opts=None, checkpointer=None):
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        if self.hparams.old_language:
            self.require_alphabet(Path(self.hparams.output_folder) / "manifests" / self.hparams.old_language)

    @property
    def model(self):
        return self.modules.acoustic

    def features(self, batch, stage):
        """-> what the model takes (B, S) or (B, F, 160), each utterance by itself, the lengths (B,), augmented."""
        wavs, lengths = recorded, _ = with_lengths(*batch.wav)
        if stage == Stage.TRAIN:
            augmented, heard = with_lengths(*self.hparams.augmentation(*batch.wav))
            # sped-up speech can become too short for its transcript, which would then be impossible
            if bool((self.hparams.check.frames(heard) >= batch.frames_needed.to(heard.device)).all()):
                wavs, lengths = augmented, heard
        inputs = [self.hparams.features(wav[:n]) for wav, n in zip(wavs, lengths.tolist(), strict=True)]
        padded = torch.nn.utils.rnn.pad_sequence(inputs, batch_first=True)
        sizes = torch.tensor([len(x) for x in inputs], device=padded.device)
        return padded, sizes, wavs is not recorded  # the augmentation hands back what it leaves alone

    # ---- the old language ----

    def require_alphabet(self, folder: Path) -> None:
        """Raise ValueError where more than 1 % of the old language's utterances hold symbols that the model lacks.

        Single strange letters occur in every corpus and are listed in rejected.csv; more are another alphabet.
        """
        done = manifest.read_done(folder) or {"rejected": {}, "counts": {}}
        unknown, utterances = done["rejected"].get(UNKNOWN, 0), sum(done["counts"].values())
        require_few(unknown, utterances, f"{UNKNOWN} (see {folder / 'rejected.csv'})")

    def known(self, old_set):
        if not self.old_units():
            raise ValueError(
                "forgetting: the model that is carried over has no head, so it knows nothing of the old language; "
                "pre-train it on that first (hparams/dutch_pretrain.yaml), or hold all weights alike (--preset l2sp)"
            )
        new = set(self.modules.acoustic.new_units)
        found = old_set.filtered_sorted(key_test={"tokens": lambda tokens: new.isdisjoint(tokens.tolist())})
        strange, what = len(old_set) - len(found), "symbols that are new to the old model"
        require_few(strange, len(old_set), what)
        if strange:
            print(f"Left out of the importance: {strange} of {len(old_set)} utterances, which hold {what}")
        return found

    def new_parameters(self):
        found = self.modules.acoustic.new_parameters()
        return {f"acoustic.{name}": rows for name, rows in found.items()}

    def old_units(self) -> list[int]:
        """Units that the old model has."""
        new = set(self.modules.acoustic.new_units)
        return [unit for unit in range(len(self.hparams.tokenizer.symbols)) if unit not in new]

    def old_output(self, batch):
        """New units are impossible, so nothing is learned of them."""
        *inputs, _ = self.features(batch, Stage.TEST)
        logits, frames = self.modules.acoustic(*inputs)
        logits = logits.float()
        logits[..., self.modules.acoustic.new_units] = -1e9  # -inf makes the gradient of CTC nan
        return Output(logits.log_softmax(dim=-1), frames, inputs)

    def outputs(self, batch):
        *inputs, _ = self.features(batch, Stage.TEST)
        logits, frames = self.modules.acoustic(*inputs)  # (B, T, V)
        heard = torch.arange(logits.shape[1], device=logits.device) < frames[:, None]
        return logits[..., self.old_units()].float() * heard[..., None]

    # ---- export ----

    def export(self, folder):
        self.modules.acoustic.hf.save_pretrained(folder)
        self.hparams.tokenizer.save(folder)
        self.hparams.features.extractor.save_pretrained(folder)


def require_few(strange: int, utterances: int, what: str) -> None:
    """Raise ValueError where more than 1 % of the old language's utterances hold `what`."""
    if strange > 0.01 * utterances:
        raise ValueError(
            f"old_language: {strange} of {utterances} utterances hold {what}; the old model cannot have learned them: "
            "check old_language and old_data_folder, or pre-train with these symbols in the alphabet"
        )


@dataclass
class Limits:
    """What this model can take: `limits(utterance)` is the reason to refuse a clip at preparation, or None.

    Attributes
    ----------
    acoustic : carryover.models.wav2vec2.CTCModel
    features : callable
        Waveform -> inputs of the model.
    tokenizer : carryover.text.Characters or Pieces
    target_text : callable
        Targets as they are learned; a transcript that it empties is refused.
    seconds : float
        Longest clip: attention grows with the square of it.
    """

    acoustic: object
    features: object
    tokenizer: object
    target_text: object
    seconds: float = 20.0

    def __repr__(self):  # part of a manifest's settings: another alphabet or model makes it anew
        return (
            f"Limits({self.target_text.name}, {len(self.tokenizer.symbols)} symbols, "
            f"{int(self.frames(torch.tensor([160_000])))} frames in 10 s, {self.seconds} s)"
        )

    def frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Output frames (B,) of waveforms of `samples` (B,)."""
        return self.acoustic.frames(self.features.lengths(samples))

    def metadata(self, utterance: manifest.Utterance) -> str | None:
        """What can be said before the audio is opened."""
        text = self.target_text(utterance.text)
        if not text:
            return f"transcript is empty after normalisation: {utterance.text!r}"
        unknown = self.tokenizer.unknown(text)
        if unknown:
            return f"{UNKNOWN}: {' '.join(sorted(unknown))} in {text!r}"
        return None

    def recording(self, utterance: manifest.Utterance) -> str | None:
        """What can be said of a clip without its transcript."""
        samples = round(utterance.duration * 16_000)
        if samples < self.features.shortest:
            return f"audio is shorter than {self.features.shortest} samples, which make one frame: {samples}"
        if utterance.duration > self.seconds:
            return f"audio is longer than max_seconds {self.seconds:g} s: {utterance.duration:.2f} s"
        return None

    def __call__(self, utterance: manifest.Utterance) -> str | None:
        if reason := self.metadata(utterance) or self.recording(utterance):
            return reason
        needed = ctc.frames_needed(self.tokenizer.encode(self.target_text(utterance.text)))
        frames = int(self.frames(torch.tensor([round(utterance.duration * 16_000)])))
        if needed > frames:
            return f"target needs more frames than the audio has: {needed} (symbols and repeats) of {frames}"
        return None

"""CTC fine-tuning of wav2vec2-type models: pre-training on one language, adaptation to the next without forgetting."""

from pathlib import Path

import torch

from carryover.data import manifest
from carryover.data.batching import with_lengths
from carryover.losses import ctc
from carryover.models.limits import UNKNOWN
from carryover.training.brain import Stage
from carryover.training.ctc_brain import CTCRecipeBrain

# Shapes: B batch, S samples, T output frames, L symbols of a target, V symbols in all


class CTCBrain(CTCRecipeBrain):
    """Fine-tunes `modules.acoustic`, a models.wav2vec2.CTCModel; the loss is a mean over utterances of -log p.

    Read from `hparams` besides CTCRecipeBrain's: features, augmentation, distillation.
    """

    def __init__(self, modules=None, opt_class=None, hparams=None, run_opts=None, checkpointer=None):
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        self.hparams.distillation.require(self.old_units())
        if self.hparams.old_language:
            self.require_alphabet(Path(self.hparams.output_folder) / "manifests" / self.hparams.old_language)

    def compute_forward(self, batch, stage):
        """-> log-probabilities (B, T, V); `self.frames` (B,) of them are heard."""
        self.inputs = self.features(batch, stage)
        self.logits, self.frames = self.modules.acoustic(*self.inputs)
        return self.logits.float().log_softmax(dim=-1)

    def compute_objectives(self, log_probs, batch, stage):
        """-> {"ctc": mean over utterances of -log p(y|x)}, in training also what the old model says, "kd"."""
        targets, lengths = self.targets(batch)
        blank = self.hparams.tokenizer.blank
        terms = {"ctc": -ctc.log_likelihood(log_probs, self.frames, targets, lengths, blank).mean()}
        if stage != Stage.TRAIN:
            return terms
        batch.blanks = ctc.blank_ratio(log_probs.detach(), self.frames, blank)
        ids = None if self.augmented else batch.id
        return terms | self.hparams.distillation.terms(self.inputs, self.logits, self.frames, self.old_units(), ids)

    def features(self, batch, stage):
        """-> what the model takes (B, S) or (B, F, 160), each utterance by itself, and the lengths (B,).

        `self.augmented` says whether it is something else than the manifest's recordings.
        """
        wavs, lengths = recorded, _ = with_lengths(*batch.wav)
        if stage == Stage.TRAIN:
            augmented, heard = with_lengths(*self.hparams.augmentation(*batch.wav))
            # sped-up speech can become too short for its transcript, which would then be impossible
            if bool((self.hparams.limits.frames(heard) >= batch.frames_needed.to(heard.device)).all()):
                wavs, lengths = augmented, heard
        self.augmented = wavs is not recorded  # the augmentation hands back what it leaves alone
        inputs = [self.hparams.features(wav[:n]) for wav, n in zip(wavs, lengths.tolist(), strict=True)]
        padded = torch.nn.utils.rnn.pad_sequence(inputs, batch_first=True)
        return padded, torch.tensor([len(x) for x in inputs], device=padded.device)

    # ---- the old language ----

    def begin(self, old_set):
        super().begin(old_set)
        self.hparams.distillation.begin(self.modules.acoustic)

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
                "penalty: the model that is carried over has no head, so it knows nothing of the old language; "
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

    def old_log_probs(self, batch):
        """-> (B, T, V) as the old model has them: new units are impossible, so nothing is learned of them."""
        logits, self.frames = self.modules.acoustic(*self.features(batch, Stage.TEST))
        logits = logits.float()
        logits[..., self.modules.acoustic.new_units] = -1e9  # -inf makes the gradient of CTC nan
        return logits.log_softmax(dim=-1)

    def outputs(self, batch):
        logits, frames = self.modules.acoustic(*self.features(batch, Stage.TEST))  # (B, T, V)
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

"""CTC over landmark sequences of signers: the overfit gate, a teacher, and a student distilled from it."""

import torch
from speechbrain.utils.data_pipeline import provides, takes

from carryover.data import landmarks
from carryover.data.batching import with_lengths
from carryover.losses import ctc
from carryover.models.sequence_model import SequenceCTC, load
from carryover.text.glosses import Glosses
from carryover.training.brain import Stage
from carryover.training.ctc_brain import CTCRecipeBrain

# Shapes: B batch, F input frames, P points, C coordinates, D features a frame, T output frames, L glosses, V units


class SignBrain(CTCRecipeBrain):
    """Trains `modules.recogniser`, a carryover.models.sequence_model.SequenceCTC; loss: mean over utterances of -log p.

    Read from `hparams` besides CTCRecipeBrain's: layout, fps (of files that do not tell), features, augmentation,
    distillation.
    """

    endings = landmarks.ENDINGS

    def compute_forward(self, batch, stage):
        """-> log-probabilities (B, T, V); `self.frames` (B,) of them are signed."""
        self.inputs = self.features(batch, stage)
        self.logits, self.frames = self.modules.recogniser(*self.inputs)
        return self.logits.float().log_softmax(dim=-1)

    def compute_objectives(self, log_probs, batch, stage):
        """-> {"ctc": mean over utterances of -log p(y|x)}, in training also what a teacher says, "kd"."""
        blank = self.hparams.tokenizer.blank
        terms = {"ctc": -ctc.log_likelihood(log_probs, self.frames, *self.targets(batch), blank).mean()}
        if stage != Stage.TRAIN:
            return terms
        batch.blanks = ctc.blank_ratio(log_probs.detach(), self.frames, blank)
        units, ids = list(range(log_probs.shape[-1])), None if self.augmented else batch.id
        return terms | self.hparams.distillation.terms(self.inputs, self.logits, self.frames, units, ids)

    def features(self, batch, stage):
        """-> features (B, F, D), each utterance by itself, and the lengths (B,)."""
        padded, lengths = with_lengths(*batch.points)  # (B, F, P, C)
        sequences = [x[:n] for x, n in zip(padded, lengths.tolist(), strict=True)]
        self.augmented = stage == Stage.TRAIN and self.hparams.augmentation.changes
        if self.augmented:
            # sped-up signing can become too short for its glosses, which would then be impossible
            fewest = self.modules.recogniser.fewest_inputs(batch.frames_needed).tolist()
            sequences = [self.hparams.augmentation(x, n) for x, n in zip(sequences, fewest, strict=True)]
        inputs = [self.hparams.features(x) for x in sequences]
        padded = torch.nn.utils.rnn.pad_sequence(inputs, batch_first=True)
        return padded, torch.tensor([len(x) for x in inputs], device=padded.device)

    def inspect(self, path):
        return landmarks.inspect(path, self.hparams.layout, self.hparams.fps)

    def begin(self, old_set):
        super().begin(old_set)
        self.hparams.distillation.begin(self.modules.recogniser)

    def old_log_probs(self, batch):
        return self.compute_forward(batch, Stage.TEST)

    # ---- reading, export ----

    def recording(self):
        @takes("audio")
        @provides("points")
        def points(path):
            return torch.from_numpy(landmarks.read(path, self.hparams.layout).array)

        return points

    def export(self, folder):
        self.modules.recogniser.save(folder)
        self.hparams.tokenizer.save(folder)


def recogniser(source: str | None, tokenizer: Glosses, **shape) -> SequenceCTC:
    """The model that is trained: of random weights, or another run's with the same glosses.

    Parameters and errors are those of `carryover.models.sequence_model.load`, whose `units` are the tokenizer's.
    """
    if source is not None:
        _require_same_glosses("model", source, tokenizer)
    return load(source, units=len(tokenizer), **shape)


def teacher(folder: str, tokenizer: Glosses) -> SequenceCTC:
    """The model of another run, for its posteriors.

    Raises
    ------
    ValueError
        When its units are other glosses than the student's, or stand in another order.
    """
    _require_same_glosses("teacher", folder, tokenizer)
    return SequenceCTC.from_folder(folder)


def _require_same_glosses(key: str, folder: str, tokenizer: Glosses) -> None:
    theirs = Glosses.from_folder(folder)
    if theirs.symbols != tokenizer.symbols:
        differ = sorted(set(theirs.symbols) ^ set(tokenizer.symbols))
        raise ValueError(
            f"{key}: {folder} has {len(theirs)} units and this corpus {len(tokenizer)}; "
            + (f"only one of them has {', '.join(differ[:6])}" if differ else "they stand in another order")
            + f": train the {key} on the same corpus, or give its glosses.txt as this run's glosses"
        )

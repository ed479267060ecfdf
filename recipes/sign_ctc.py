"""CTC over landmark sequences of signers: the overfit gate, a teacher, and a student distilled from it."""

import torch
from speechbrain.utils.data_pipeline import provides, takes

from carryover.data import landmarks
from carryover.data.batching import with_lengths
from carryover.models.sequence_model import SequenceCTC, load
from carryover.text import Glosses
from carryover.training import describe
from carryover.training.brain import Stage
from carryover.training.ctc_brain import CTCRecipeBrain

# Shapes: B batch, F input frames, P points, C coordinates, D features a frame, T output frames, L glosses, V units


class SignBrain(CTCRecipeBrain):
    """Trains `modules.recogniser`, a models.sequence_model.SequenceCTC.

    Read from `hparams` besides CTCRecipeBrain's: layout, fps (of files that do not tell), features, augmentation,
    distillation (what a teacher says, the term "kd").
    """

    reads = (
        *CTCRecipeBrain.reads, "augmentation", "distillation", "features", "fps", "layout", "model", "train",
    )  # fmt: skip

    endings = landmarks.ENDINGS

    @property
    def model(self):
        return self.modules.recogniser

    def compute_objectives(self, output, batch, stage):
        """-> {"ctc": mean over utterances of -log p(y|x)}, in training also what a teacher says, "kd"."""
        terms = super().compute_objectives(output, batch, stage)
        if stage != Stage.TRAIN:
            return terms
        return terms | self.hparams.distillation.terms(output.inputs, output.log_probs, output.lengths)

    def features(self, batch, stage):
        """-> features (B, F, D), each utterance by itself, the lengths (B,), augmented."""
        padded, lengths = with_lengths(*batch.points)  # (B, F, P, C)
        sequences = [x[:n] for x, n in zip(padded, lengths.tolist(), strict=True)]
        augmented = stage == Stage.TRAIN and self.hparams.augmentation.changes
        if augmented:
            # sped-up signing can become too short for its glosses, which would then be impossible
            fewest = self.modules.recogniser.fewest_inputs(batch.frames_needed).tolist()
            sequences = [self.hparams.augmentation(x, n) for x, n in zip(sequences, fewest, strict=True)]
        inputs = [self.hparams.features(x) for x in sequences]
        padded = torch.nn.utils.rnn.pad_sequence(inputs, batch_first=True)
        return padded, torch.tensor([len(x) for x in inputs], device=padded.device), augmented

    def inspect(self, path):
        return landmarks.inspect(path, self.hparams.layout, self.hparams.fps)

    def begin(self):
        self.hparams.distillation.begin(self.modules.recogniser)

    def outputs(self, batch):
        *inputs, _ = self.features(batch, Stage.TEST)
        logits, frames = self.modules.recogniser(*inputs)  # (B, T, V)
        signed = torch.arange(logits.shape[1], device=logits.device) < frames[:, None]
        return logits.float() * signed[..., None]

    # ---- reading, export ----

    def recording(self):
        @takes("audio")
        @provides("points")
        def points(path):
            return torch.from_numpy(landmarks.read(path, self.hparams.layout).array)

        return points

    def describe(self):
        h, shape = self.hparams, self.modules.recogniser.config
        model = [
            f"The model has convolutions over time with strides {' and '.join(map(str, shape['strides']))} and "
            f"{shape['layers']} transformer layers of width {shape['d_model']}, over {len(h.tokenizer)} units.",
            describe.started_from(h.model, random=False),
            describe.trained(h.train, self.modules.recogniser),
            *describe.augmentation(h.augmentation.prob if h.augmentation.changes else 0, "the utterances"),
        ]
        return {"model": model, "loss": [*super().describe()["loss"], *h.distillation.describe(h.loss_weights["kd"])]}

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
    """The model of another run, frozen, for its posteriors.

    Raises
    ------
    ValueError
        When its units are other glosses than the student's, or stand in another order.
    """
    _require_same_glosses("teacher", folder, tokenizer)
    return SequenceCTC.from_folder(folder).eval().requires_grad_(False)


def _require_same_glosses(key: str, folder: str, tokenizer: Glosses) -> None:
    theirs = Glosses.from_folder(folder)
    if theirs.symbols != tokenizer.symbols:
        differ = sorted(set(theirs.symbols) ^ set(tokenizer.symbols))
        raise ValueError(
            f"{key}: {folder} has {len(theirs)} units and this corpus {len(tokenizer)}; "
            + (f"only one of them has {', '.join(differ[:6])}" if differ else "they stand in another order")
            + f": train the {key} on the same corpus, or give its glosses.txt as this run's glosses"
        )

"""What the CTC recipes share of their Brain: targets, decoding, likelihood, blanks in the log; the model is theirs."""

from carryover.data.batching import with_lengths
from carryover.decoding import Greedy
from carryover.losses import ctc
from carryover.training.brain import RecipeBrain, Stage

# Shapes: B batch, T output frames, L symbols of a target, V symbols in all


class CTCRecipeBrain(RecipeBrain):
    """A recipe whose loss is a mean over utterances of -log p, and whose `compute_forward` keeps `self.frames` (B,).

    Read from `hparams` besides RecipeBrain's: tokenizer, target_text, decoder.
    """

    def old_log_probs(self, batch):
        """-> log-probabilities (B, T, V) without augmentation; `self.frames` (B,) of them are heard or signed."""
        raise NotImplementedError

    def transcribe(self, batch, stage, predictions):
        """-> list of B strings: greedy in validation, the YAML's decoder in test."""
        decoder = self.hparams.decoder if stage == Stage.TEST else Greedy(self.hparams.tokenizer)
        return decoder(predictions, self.frames)

    def target(self):
        return ctc.targets(self.hparams.tokenizer, self.hparams.target_text)

    def targets(self, batch):
        """-> symbols (B, L), padded, and their numbers (B,)."""
        return with_lengths(*batch.tokens)

    def units(self, batch):
        return len(batch.id)

    def log_likelihood(self, batch, labels, generator):
        log_probs, blank = self.old_log_probs(batch), self.hparams.tokenizer.blank
        return ctc.label_likelihood(log_probs, self.frames, *self.targets(batch), blank, labels, generator)

    def batch_statistics(self, batch):
        blanks, frames = batch.blanks
        return super().batch_statistics(batch) | {"blanks": blanks, "output_frames": frames}

    def summary(self, window):
        return super().summary(window) | {"blank_ratio": window["blanks"] / window["output_frames"]}

"""What the CTC recipes share of their Brain: loss, targets, decoding, likelihood, blanks in the log."""

from pathlib import Path

from carryover.data.batching import with_lengths
from carryover.decoding import Greedy
from carryover.losses import ctc
from carryover.training.brain import RecipeBrain, Stage
from carryover.training.output import Output

# Shapes: B batch, T output frames, L symbols of a target, V symbols in all


class CTCRecipeBrain(RecipeBrain):
    """A recipe whose loss is a mean over utterances of -log p, by a model (inputs, lengths) -> logits, frames.

    A recipe gives `features` (batch, stage -> inputs, lengths, augmented) and `model`, one of its modules. Read from
    `hparams` besides RecipeBrain's: tokenizer, target_text, decoder.
    """

    reads = (*RecipeBrain.reads, "tokenizer", "decoder")

    @property
    def model(self):
        """What makes logits (B, T, V) and their numbers (B,) of inputs and their lengths."""
        raise NotImplementedError

    def forward(self, inputs):
        logits, frames = self.model(*inputs)
        return Output(logits.float().log_softmax(dim=-1), frames, inputs)

    def compute_forward(self, batch, stage):
        """-> Output with log-probabilities (B, T, V)."""
        *inputs, augmented = self.features(batch, stage)
        output = self.forward(tuple(inputs))
        output.augmented = augmented
        return output

    def compute_objectives(self, output, batch, stage):
        """-> {"ctc": mean over utterances of -log p(y|x)}."""
        log_p = ctc.log_likelihood(output.log_probs, output.lengths, *self.targets(batch), self.hparams.tokenizer.blank)
        return {"ctc": -log_p.mean()}

    def transcribe(self, output, batch, stage):
        """-> list of B strings: greedy in validation, the YAML's decoder in test."""
        decoder = self.hparams.decoder if stage == Stage.TEST else Greedy(self.hparams.tokenizer)
        return decoder(output.log_probs, output.lengths)

    def tokens(self, batch):
        output = self.compute_forward(batch, Stage.TEST)
        return ctc.greedy(output.log_probs, output.lengths, self.hparams.tokenizer.blank)

    def target(self):
        return ctc.targets(self.hparams.tokenizer, self.hparams.target_text)

    def read(self, path):
        """Dataset of a manifest; valid and test sets may hold texts that the symbols cannot write."""
        training = Path(path).name.startswith("train")
        target = ctc.targets(self.hparams.tokenizer, self.hparams.target_text, training)
        return self.dataset(self.rows(path), [self.recording(), target])

    def targets(self, batch):
        """-> symbols (B, L), padded, and their numbers (B,)."""
        return with_lengths(*batch.tokens)

    def units(self, batch):
        return len(batch.id)

    def old_output(self, batch):
        """-> Output of what the old model can write, without augmentation."""
        return self.compute_forward(batch, Stage.TEST)

    def log_likelihood(self, batch, labels, generator):
        output, blank = self.old_output(batch), self.hparams.tokenizer.blank
        targets = self.targets(batch)
        return ctc.label_likelihood(output.log_probs, output.lengths, *targets, blank, labels, generator)

    def batch_statistics(self, output, batch):
        blanks, frames = ctc.blank_ratio(output.log_probs.detach(), output.lengths, self.hparams.tokenizer.blank)
        return super().batch_statistics(output, batch) | {"blanks": blanks, "output_frames": frames}

    def summary(self, window):
        return super().summary(window) | {"blank_ratio": window["blanks"] / window["output_frames"]}

    def describe(self):
        loss = "The loss is connectionist temporal classification @[graves2006connectionist], a mean over utterances."
        return {"loss": [loss]}

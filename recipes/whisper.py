"""Whisper fine-tuning: encoder-decoder, NLL with label smoothing, the prompt pinned wherever the model is used."""

import torch
from speechbrain.utils.data_pipeline import provides, takes

from carryover import losses
from carryover.data.batching import with_lengths
from carryover.data.packing import Packing
from carryover.models import whisper
from carryover.training.brain import RecipeBrain, Stage

# Shapes: B batch, S samples, F mel frames, P encoder positions, U decoder inputs, V vocabulary, D width


class WhisperBrain(RecipeBrain):
    """Fine-tunes `modules.whisper`, a transformers WhisperForConditionalGeneration, with CTC (`modules.ctc`) beside.

    Read from `hparams` besides RecipeBrain's: tokenizer, log_mel, augmentation, target_text, label_smoothing,
    generation_length, valid_beams, test_beams.
    """

    def __init__(self, modules=None, opt_class=None, hparams=None, run_opts=None, checkpointer=None):
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        model, tokenizer = self.modules.whisper, self.hparams.tokenizer
        whisper.set_generation_ids(model, tokenizer)
        positions, prompt = model.config.max_target_positions, len(tokenizer.prompt(self.hparams.language))
        if prompt + self.hparams.generation_length > positions:
            raise ValueError(
                f"generation_length: {self.hparams.generation_length} tokens and a prompt of {prompt} do not fit into "
                f"the model's {positions} decoder positions; give at most {positions - prompt}"
            )

    def compute_forward(self, batch, stage):
        """-> log-probabilities (B, U, V) of the next token after each decoder input."""
        self.encode(batch, stage)
        tokens, _ = batch.tokens
        return self.logits(tokens).log_softmax(dim=-1)

    def encode(self, batch, stage):
        """-> encoder states (B, P, D), kept for the decoder, CTC and generate."""
        encoder = self.modules.whisper.model.encoder
        self.encoder_states = encoder(self.features(batch, stage)).last_hidden_state
        return self.encoder_states

    def logits(self, tokens):
        """-> logits (B, U, V) of the token after each decoder input; tokens (B, U + 1) with prompt and end."""
        model = self.modules.whisper
        hidden = model.model.decoder(input_ids=tokens[:, :-1], encoder_hidden_states=self.encoder_states)
        return model.proj_out(hidden.last_hidden_state).float()

    def compute_objectives(self, log_probs, batch, stage):
        """-> {"nll": mean over the target tokens: text and end, neither prompt nor padding}, in training also "ctc"."""
        tokens, _ = batch.tokens
        mask = self.target_mask(batch)
        if stage != Stage.TRAIN:
            return {"nll": losses.nll(log_probs, tokens[:, 1:], mask)}
        n = mask.sum(dim=1)  # text and end of each clip
        ctc = self.modules.ctc(self.encoder_states, self.frames, tokens[:, 4:], n - 1, int(n.sum()))
        return {"nll": losses.nll(log_probs, tokens[:, 1:], mask, self.hparams.label_smoothing)} | ctc

    def transcribe(self, batch, stage, predictions):
        """-> list of B strings, greedy in validation, greedy or beam in test."""
        beams = self.hparams.test_beams if stage == Stage.TEST else self.hparams.valid_beams
        model, tokenizer = self.modules.whisper, self.hparams.tokenizer
        ids = whisper.generate(
            model, tokenizer, self.encoder_states, batch.language, self.hparams.generation_length, beams
        )
        return [tokenizer.decode(row) for row in ids]

    def hear(self, batch):
        self.encode(batch, Stage.TEST)
        return self.transcribe(batch, Stage.TEST, None)

    def features(self, batch, stage):
        """-> log-mel (B, n_mels, F) of the whole window, augmented in training."""
        wavs, relative = batch.wav  # (B, S)
        if stage == Stage.TRAIN:
            augmented, relative_augmented = self.hparams.augmentation(wavs, relative)
            # slowed-down speech can outgrow the window; its transcript would then say more than is heard
            if round(relative_augmented.max().item() * augmented.shape[1]) <= self.hparams.log_mel.samples:
                wavs, relative = augmented, relative_augmented
        wavs, lengths = with_lengths(wavs, relative)
        hop = self.hparams.log_mel.samples // self.modules.whisper.config.max_source_positions
        self.frames = (lengths + hop - 1) // hop  # encoder positions that hold sound
        return self.hparams.log_mel.to(wavs.device)(wavs, lengths)

    def target_mask(self, batch):
        """-> (B, U) True where the loss counts: from the first token after the prompt to the end token."""
        tokens, lengths = with_lengths(*batch.tokens)
        position = torch.arange(1, tokens.shape[1], device=tokens.device)
        return (position >= 4) & (position < lengths[:, None])

    def units(self, batch):
        return int(self.target_mask(batch).sum())

    # ---- the old language ----

    def new_parameters(self):
        # the head beside the decoder begins anew in every run
        return {f"ctc.{name}": None for name, _ in self.modules.ctc.named_parameters()}

    def log_likelihood(self, batch, labels, generator):
        tokens, _ = batch.tokens
        mask = self.target_mask(batch)
        if labels == "sampled":
            if len(tokens) > 1:
                raise ValueError("labels: sampled transcripts are drawn one clip at a time; batch_size: 1")
            model, end, limit = self.modules.whisper, self.hparams.tokenizer.eot, self.hparams.generation_length
            prompt = self.hparams.tokenizer.prompt(batch.language[0])
            drawn = whisper.sample(model, self.encode(batch, Stage.TEST).detach(), prompt, end, limit, generator)
            tokens = torch.tensor([drawn], device=tokens.device)
            mask = (torch.arange(1, tokens.shape[1], device=tokens.device) >= len(prompt))[None]
            log_probs = self.logits(tokens).log_softmax(dim=-1)
        else:
            log_probs = self.compute_forward(batch, Stage.TEST)
        log_p = log_probs.gather(-1, tokens[:, 1:, None]).squeeze(-1).masked_fill(~mask, 0.0)  # (B, U)
        return log_p.sum(dim=1), mask.sum(dim=1)

    def outputs(self, batch):
        self.encode(batch, Stage.TEST)
        tokens, _ = batch.tokens
        return self.logits(tokens) * self.target_mask(batch)[..., None]

    def batch_statistics(self, batch):
        seconds = sum(row["duration"] for row in batch.row)
        window = self.hparams.log_mel.seconds
        frames = len(batch.row) * window
        return {"audio_seconds": seconds, "frames": frames, "padded_frames": frames - seconds}

    def target(self):
        tokenizer, target_text = self.hparams.tokenizer, self.hparams.target_text

        @takes("text", "language")
        @provides("target", "tokens")
        def target(text, language):
            yield (target := target_text(text))
            yield torch.tensor(tokenizer.encode(target, language))

        return target

    def export(self, folder):
        model = self.modules.whisper
        model.generation_config.max_length = model.config.max_target_positions
        # transformers' pipeline decodes with 5 beams unless told otherwise: 3.0 % WER there, 5.7 % in the test
        model.generation_config.num_beams = self.hparams.test_beams
        model.save_pretrained(folder)
        self.hparams.tokenizer.hf.save_pretrained(folder)
        self.hparams.log_mel.extractor.save_pretrained(folder)


def packing(tokenizer: whisper.Tokenizer, model) -> Packing:
    """Training clips share the model's window; see carryover.data.packing."""
    return Packing(tokenizer.encode, whisper.LogMel.of(model).samples, model.config.max_target_positions)

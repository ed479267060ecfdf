"""Whisper fine-tuning: encoder-decoder, NLL with label smoothing, the prompt pinned wherever the model is used."""

import torch
from speechbrain.utils.data_pipeline import provides, takes

from carryover import losses
from carryover.data.batching import with_lengths
from carryover.data.packing import Packing
from carryover.models import adapters, usual_rates, whisper, whisper_words
from carryover.models.lora import merged, of_model
from carryover.models.whisper_check import require_fitting
from carryover.training import describe
from carryover.training.brain import RecipeBrain, Stage
from carryover.training.output import Output

# Shapes: B batch, S samples, F mel frames, P encoder positions, U decoder inputs, V vocabulary, D width


class WhisperBrain(RecipeBrain):
    """Fine-tunes `modules.whisper`, a transformers WhisperForConditionalGeneration, with CTC (`modules.ctc`) beside.

    Read from `hparams` besides RecipeBrain's: tokenizer, log_mel, augmentation, target_text, label_smoothing,
    generation_length, valid_beams, test_beams.
    """

    exports = ("hf", "ctranslate2", "onnx")
    times_words = True
    reads = (
        *RecipeBrain.reads, "augment_prob", "augmentation", "from_scratch", "generation_length", "label_smoothing",
        "log_mel", "model", "task", "test_beams", "tokenizer", "train", "valid_beams",
    )  # fmt: skip

    def __init__(self, modules=None, opt_class=None, hparams=None, run_opts=None, checkpointer=None):
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        model, tokenizer = self.modules.whisper, self.hparams.tokenizer
        require_fitting(model, tokenizer)
        whisper.set_generation_ids(model, tokenizer)
        self.expected: list[int] = []  # ids that come before each prompt, see `expect`
        positions, prompt = model.config.max_target_positions, tokenizer.prompt_length
        if prompt + self.hparams.generation_length > positions:
            raise ValueError(
                f"generation_length: {self.hparams.generation_length} tokens and a prompt of {prompt} do not fit into "
                f"the model's {positions} decoder positions; give at most {positions - prompt}"
            )

    def forward(self, inputs):
        """Features (B, n_mels, F), frames (B,), tokens (B, prompt + U), counts (B,) -> Output of text and end."""
        features, frames, tokens, counts = inputs
        states = self.encoder(features).last_hidden_state  # (B, P, D)
        log_probs = self.decode(states, tokens, self.first(tokens))
        return Output(log_probs, counts, inputs, states, frames)

    def compute_forward(self, batch, stage):
        """-> Output with log-probabilities (B, U, V) of each token of text and end."""
        features, frames, augmented = self.features(batch, stage)
        tokens, lengths = with_lengths(*batch.tokens)
        output = self.forward((features, frames, tokens, lengths - self.first(tokens)))
        output.augmented = augmented
        return output

    @property
    def window(self):
        return self.hparams.log_mel.seconds

    @property
    def encoder(self):
        return self.modules.whisper.model.encoder

    def first(self, tokens):
        """Position of the first token that is written: one number where all prompts are alike, else (B,)."""
        tokenizer = self.hparams.tokenizer
        return tokenizer.prompt_lengths(tokens) if self.hparams.collate.prompts_differ else tokenizer.prompt_length

    def decode(self, states, tokens, first):
        """-> log-probabilities (B, U, V) of the tokens from position `first` on; tokens (B, .) with prompt and end."""
        return self.logits(states, tokens, first).log_softmax(dim=-1)

    def logits(self, states, tokens, first):
        """`decode` before the softmax."""
        model = self.modules.whisper
        read = tokens[:, :-1]
        # one row of positions for all: of one each, threads add up the gradient of an embedding in any order
        positions = torch.arange(read.shape[1], device=read.device)[None]
        # without use_cache=False it copies all keys and values for a next token that never comes: 2 % of an update
        hidden = model.model.decoder(
            input_ids=read, position_ids=positions, encoder_hidden_states=states, use_cache=False
        )
        return model.proj_out(from_position(hidden.last_hidden_state, first - 1)).float()

    def targets(self, batch):
        """-> tokens (B, U) of text and end, padded."""
        tokens, _ = batch.tokens
        return from_position(tokens, self.first(tokens))

    def compute_objectives(self, output, batch, stage):
        """-> {"nll": mean over the target tokens: text and end, neither prompt nor padding}, in training also "ctc"."""
        targets, mask = self.targets(batch), output.mask
        if stage != Stage.TRAIN:
            return {"nll": losses.nll(output.log_probs, targets, mask)}
        n = output.lengths  # text and end of each clip
        spoken, counts = without_times(targets, n - 1, self.hparams.tokenizer.first_time)
        ctc = self.modules.ctc(output.states, output.state_lengths, spoken, counts, int(n.sum()))
        return {"nll": losses.nll(output.log_probs, targets, mask, self.hparams.label_smoothing)} | ctc

    def transcribe(self, output, batch, stage):
        """-> list of B strings, greedy in validation, greedy or beam in test."""
        beams = self.hparams.test_beams if stage == Stage.TEST else self.hparams.valid_beams
        return [self.hparams.tokenizer.decode(row) for row in self.generate(output.states, batch, beams)]

    def generate(self, states, batch, beams):
        """Encoder states (B, P, D) -> list of B lists of ids."""
        model, tokenizer, length = self.modules.whisper, self.hparams.tokenizer, self.hparams.generation_length
        return whisper.generate(model, tokenizer, states, batch.language, length, beams, self.expected)

    def heard(self, batch):
        """-> Output of recordings without targets: the encoder's states alone."""
        features, frames, _ = self.features(batch, Stage.TEST)
        return Output(None, frames, features, self.encoder(features).last_hidden_state, frames)

    def hear(self, batch):
        return self.transcribe(self.heard(batch), batch, Stage.TEST)

    # ---- what `carryover transcribe` can be asked for ----

    @property
    def languages(self):
        return self.hparams.tokenizer.languages

    def language_log_probs(self, batch):
        return whisper.language_log_probs(self.modules.whisper, self.hparams.tokenizer, self.heard(batch).states)

    def words(self, batch):
        model, tokenizer = self.modules.whisper, self.hparams.tokenizer
        states, (_, samples) = self.heard(batch).states, with_lengths(*batch.wav)
        seconds = (samples / self.hparams.log_mel.SAMPLE_RATE).tolist()
        found = self.generate(states, batch, self.hparams.test_beams)
        each = zip(states, map(tokenizer.text_ids, found), batch.language, seconds, strict=True)
        words = [whisper_words.aligned(model, tokenizer, *one) for one in each]
        return list(zip(map(tokenizer.decode, found), words, strict=True))

    def expect(self, text):
        """As text that came before, which is how Whisper is told of names and terms."""
        tokenizer, most = self.hparams.tokenizer, self.modules.whisper.config.max_target_positions
        ids = tokenizer.before(text)
        room = min(most - tokenizer.prompt_length - self.hparams.generation_length, tokenizer.positions_before(most))
        if len(ids) > room:
            raise ValueError(
                f"--hotwords: {len(ids)} tokens, and the decoder has room for {room} beside a prompt and "
                f"generation_length: {self.hparams.generation_length}; give fewer words"
            )
        self.expected = ids

    def tokens(self, batch):
        features, _, _ = self.features(batch, Stage.TEST)
        model, tokenizer = self.modules.whisper, self.hparams.tokenizer
        states = self.encoder(features).last_hidden_state
        ids = whisper.generate(model, tokenizer, states, batch.language, self.hparams.generation_length)
        return [tokenizer.text_ids(row) for row in ids]

    def features(self, batch, stage):
        """-> log-mel (B, n_mels, F) of the whole window, encoder positions that hold sound (B,), augmented."""
        wavs, relative = recorded, _ = batch.wav  # (B, S)
        if stage == Stage.TRAIN:
            augmented, relative_augmented = self.hparams.augmentation(wavs, relative)
            # slowed-down speech can outgrow the window; its transcript would then say more than is heard
            if round(relative_augmented.max().item() * augmented.shape[1]) <= self.hparams.log_mel.samples:
                wavs, relative = augmented, relative_augmented
        heard, lengths = with_lengths(wavs, relative)
        hop = self.hparams.log_mel.samples // self.modules.whisper.config.max_source_positions
        frames = (lengths + hop - 1) // hop
        return self.hparams.log_mel.to(heard.device)(heard, lengths), frames, wavs is not recorded

    def units(self, batch):
        _, lengths = with_lengths(*batch.tokens)
        return int((lengths - self.first(batch.tokens.data)).sum())

    def usual_rate(self):
        adapted = of_model(self.modules.whisper) is not None  # those are trained at other rates
        return None if self.hparams.from_scratch or adapted else usual_rates.whisper(self.parameter_counts()[1])

    # ---- the old language ----

    def new_parameters(self):
        # the head beside the decoder begins anew in every run
        return {f"ctc.{name}": None for name, _ in self.modules.ctc.named_parameters()}

    def log_likelihood(self, batch, labels, generator):
        if labels == "sampled":
            if len(batch) > 1:
                raise ValueError("labels: sampled transcripts are drawn one clip at a time")
            model, end, limit = self.modules.whisper, self.hparams.tokenizer.eot, self.hparams.generation_length
            prompt = self.hparams.tokenizer.prompt(batch.language[0])
            features, _, _ = self.features(batch, Stage.TEST)
            states = self.encoder(features).last_hidden_state
            drawn = whisper.sample(model, states.detach(), prompt, end, limit, generator)
            tokens = torch.tensor([drawn], device=states.device)
            log_probs, targets = self.decode(states, tokens, len(prompt)), tokens[:, len(prompt) :]
            mask = torch.ones_like(targets, dtype=torch.bool)
        else:
            output = self.compute_forward(batch, Stage.TEST)
            log_probs, targets, mask = output.log_probs, self.targets(batch), output.mask
        log_p = log_probs.gather(-1, targets[..., None]).squeeze(-1).masked_fill(~mask, 0.0)  # (B, U)
        return log_p.sum(dim=1), mask.sum(dim=1)

    def outputs(self, batch):
        features, _, _ = self.features(batch, Stage.TEST)
        tokens, lengths = with_lengths(*batch.tokens)
        states = self.encoder(features).last_hidden_state
        first = self.first(tokens)
        logits = self.logits(states, tokens, first)  # (B, U, V)
        counted = torch.arange(logits.shape[1], device=logits.device) < (lengths - first)[:, None]
        return logits * counted[..., None]

    def batch_statistics(self, output, batch):
        seconds = sum(row["duration"] for row in batch.row)
        frames = len(batch.row) * self.window
        return {"audio_seconds": seconds, "frames": frames, "padded_frames": frames - seconds}

    def target(self):
        tokenizer, target_text = self.hparams.tokenizer, self.hparams.target_text

        @takes("text", "language")
        @provides("target", "tokens")
        def target(text, language):
            yield (target := target_text(text, language))
            yield torch.tensor(tokenizer.encode(target, language))

        return target

    def cut_off(self, rows):
        tokenizer, target_text, most = self.hparams.tokenizer, self.hparams.target_text, self.hparams.generation_length
        texts = (target_text(row["text"], row["language"]) for row in rows)
        # a token is a byte at least, and most texts need not be taken apart
        lengths = (len(tokenizer.ids(text)) + 1 for text in texts if len(text.encode()) >= most)
        return [length for length in lengths if length > most]

    def describe(self):
        h = self.hparams
        model = [
            "The model is a Whisper encoder-decoder @[radford2023robust].",
            describe.started_from(h.model, h.from_scratch),
            describe.trained(h.train, self.modules.whisper),
            *describe.augmentation(h.augment_prob, "the batches"),
        ]
        loss = "The loss is the negative log-likelihood of the transcript's tokens, given the prompt"
        if h.label_smoothing:
            loss += f", with label smoothing of {h.label_smoothing:g} @[szegedy2016rethinking]"
        if any(True for _ in self.modules.ctc.parameters()):
            loss += (
                "; in training the encoder has a head for connectionist temporal classification beside the decoder "
                f"@[graves2006connectionist, watanabe2017hybrid], with weight {h.loss_weights['ctc']:g}"
            )
        beams = "greedy" if h.test_beams == 1 else f"a beam search of width {h.test_beams}"
        return {"model": model, "loss": [f"{loss}.", describe.targets(h.target_text), f"Test decoding is {beams}."]}

    @property
    def adaptable(self):
        return self.modules.whisper

    def export(self, folder):
        model, tokenizer = merged(self.modules.whisper), self.hparams.tokenizer
        # else a pipeline that is told nothing guesses the language of each clip
        model.generation_config.language = f"<|{tokenizer.code(self.hparams.language)}|>"
        model.generation_config.task = tokenizer.task
        # as in the test: a loop that is cut there is cut in a pipeline, too
        model.generation_config.max_length = tokenizer.prompt_length + self.hparams.generation_length
        # transformers' pipeline decodes with 5 beams unless told otherwise: 3.0 % WER there, 5.7 % in the test
        model.generation_config.num_beams = self.hparams.test_beams
        model.save_pretrained(folder)
        tokenizer.hf.save_pretrained(folder)
        self.hparams.log_mel.extractor.save_pretrained(folder)
        adapters.save(self.modules.whisper, folder / adapters.FOLDER)


def from_position(values: torch.Tensor, first: int | torch.Tensor) -> torch.Tensor:
    """(B, T, ...) -> (B, U, ...): from a position on, or each row from its own (B,), its end repeated as padding."""
    if isinstance(first, int):  # the gradient of the rows' own positions costs several percent of an update
        return values[:, first:]
    n = values.shape[1] - int(first.min())
    at = (first[:, None] + torch.arange(n, device=first.device)).clamp(max=values.shape[1] - 1)
    return values[torch.arange(len(values), device=first.device)[:, None], at]


def without_times(tokens: torch.Tensor, counts: torch.Tensor, first_time: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (B, U) of which `counts` (B,) are text and times -> the same of the text alone."""
    text = (tokens < first_time) & (torch.arange(tokens.shape[1], device=tokens.device) < counts[:, None])
    order = (~text).int().argsort(dim=1, stable=True)
    return tokens.gather(1, order), text.sum(dim=1)


def packing(
    tokenizer: whisper.Tokenizer,
    model,
    single: float = 0.0,
    gap: float = 0.0,
    timestamps: float = 0.0,
    previous_text: float = 0.0,
) -> Packing:
    """Training clips share the model's window, but for a share of windows with one; see carryover.data.packing.

    A model that is tuned on single clips without times forgets how to write them and to go on after earlier text;
    then decoding of long recordings breaks (huggingface/transformers#30148). Shares of windows keep both.
    """
    if timestamps:
        tokenizer.require_times()
    samples, positions = whisper.LogMel.of(model).samples, model.config.max_target_positions
    return Packing(tokenizer.encode_segments, samples, positions, single, gap, timestamps, previous_text)

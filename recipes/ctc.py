"""CTC fine-tuning of wav2vec2-type models: pre-training on one language, adaptation to the next without forgetting."""

from pathlib import Path

import torch

from carryover.data import manifest
from carryover.data.audio import SAMPLE_RATE
from carryover.data.batching import with_lengths
from carryover.decoding import Greedy
from carryover.decoding.alignment import aligned
from carryover.models import adapters, ctc_head, usual_rates
from carryover.models.limits import UNKNOWN
from carryover.models.lora import merged, of_model
from carryover.training import describe
from carryover.training.brain import Stage
from carryover.training.ctc_brain import CTCRecipeBrain
from carryover.training.output import Output

FAMILIES = {
    "wav2vec2": "wav2vec 2.0 @[baevski2020wav2vec]",
    "hubert": "HuBERT @[hsu2021hubert]",
    "wavlm": "WavLM @[chen2022wavlm]",
    "wav2vec2-bert": "w2v-BERT 2.0 @[barrault2023seamless]",
    "whisper": "Whisper encoder @[radford2023robust], run on each clip's own frames,",
}

# Shapes: B batch, S samples, T output frames, L symbols of a target, V symbols in all


class CTCBrain(CTCRecipeBrain):
    """Fine-tunes `modules.acoustic`, a models.wav2vec2.CTCModel.

    Read from `hparams` besides CTCRecipeBrain's: features, augmentation.
    """

    exports = ("hf", "onnx")
    times_words = True
    reads = (
        *CTCRecipeBrain.reads, "augment_prob", "augmentation", "batch_seconds", "features", "from_scratch", "limits",
        "mask_feature_prob", "mask_time_prob", "model", "old_language", "train",
    )  # fmt: skip

    def __init__(self, modules=None, opt_class=None, hparams=None, run_opts=None, checkpointer=None):
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        if self.hparams.old_language:
            self.require_alphabet(Path(self.hparams.output_folder) / "manifests" / self.hparams.old_language)

    @property
    def model(self):
        return self.modules.acoustic

    @property
    def batch_seconds(self):
        return self.hparams.batch_seconds

    def features(self, batch, stage):
        """-> what the model takes (B, S) or (B, F, 160), each utterance by itself, the lengths (B,), augmented."""
        wavs, lengths = recorded, _ = with_lengths(*batch.wav)
        if stage == Stage.TRAIN:
            augmented, heard = with_lengths(*self.hparams.augmentation(*batch.wav))
            # sped-up speech can become too short for its transcript, which would then be impossible, and slowed-down
            # speech can outgrow the window of a Whisper
            enough = self.hparams.limits.frames(heard) >= batch.frames_needed.to(heard.device)
            if bool(enough.all()) and int(heard.max()) <= self.hparams.features.longest:
                wavs, lengths = augmented, heard
        inputs = [self.hparams.features(wav[:n]) for wav, n in zip(wavs, lengths.tolist(), strict=True)]
        padded = torch.nn.utils.rnn.pad_sequence(inputs, batch_first=True)
        sizes = torch.tensor([len(x) for x in inputs], device=padded.device)
        return padded, sizes, wavs is not recorded  # the augmentation hands back what it leaves alone

    def words(self, batch):
        output, (_, samples) = self.compute_forward(batch, Stage.TEST), with_lengths(*batch.wav)
        texts, seconds = self.transcribe(output, batch, Stage.TEST), (samples / SAMPLE_RATE).tolist()
        each = zip(output.log_probs, output.lengths.tolist(), texts, seconds, strict=True)
        return [(text, aligned(one[:n], text, self.hparams.tokenizer, length)) for one, n, text, length in each]

    def usual_rate(self):
        size, adapted = self.parameter_counts()[1], of_model(self.modules.acoustic.hf) is not None
        if self.hparams.from_scratch or adapted or size < 5e7:  # little is known of smaller ones
            return None
        return usual_rates.SPEECH_ENCODER

    # ---- the old language ----

    def require_alphabet(self, folder: Path) -> None:
        """Raise ValueError where more than 1 % of the old language's utterances hold symbols that the model lacks.

        Single strange letters occur in every corpus and are listed in rejected.csv; more are another alphabet.
        """
        done = manifest.read_done(folder) or {"rejected": {}, "counts": {}}
        unknown = done["rejected"].get(UNKNOWN, 0) + done.get("remarks", {}).get(UNKNOWN, 0)
        where = f"{folder / 'rejected.csv'} and {manifest.REMARKS}"
        require_few(unknown, sum(done["counts"].values()), f"{UNKNOWN} (see {where})")

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

    # ---- adapters ----

    @property
    def adaptable(self):
        return self.modules.acoustic.hf

    def base_head(self):
        acoustic = self.modules.acoustic
        if not acoustic.head_adapted:
            return acoustic.hf.lm_head, self.hparams.tokenizer
        return acoustic.base_head, ctc_head.old_symbols(self.hparams.model)

    def head_of(self, stored):
        if stored.head_name is None:
            return None
        head = torch.nn.Linear(*reversed(stored.head["weight"].shape))
        head.load_state_dict(stored.head)
        return head.to(self.device), ctc_head.symbols_of(stored.folder, head.out_features)

    def use_head(self, head, tokenizer):
        if head is None:
            raise ValueError(
                f"adapter: without one {self.hparams.model} has no head that was trained, so it writes nothing; give "
                "adapters for each language"
            )
        h, was = self.hparams, self.hparams.tokenizer
        if tokenizer.symbols != was.symbols:
            if not isinstance(h.decoder, Greedy):
                raise ValueError(
                    f"adapter: it writes other symbols than this run, whose decoder ({type(h.decoder).__name__}) was "
                    "made for its own; use a run with decoder: !new:carryover.decoding.Greedy"
                )
            h.decoder, h.tokenizer, h.limits.tokenizer = Greedy(tokenizer), tokenizer, tokenizer
        self.modules.acoustic.hf.lm_head = head

    # ---- export, description ----

    def describe(self):
        h, kind = self.hparams, self.modules.acoustic.hf.config.model_type
        model = [
            f"The model is a {FAMILIES[kind]} with a linear layer over {len(h.tokenizer.symbols)} symbols.",
            describe.started_from(h.model, h.from_scratch),
            describe.trained(h.train, self.modules.acoustic),
        ]
        if h.mask_time_prob or h.mask_feature_prob:
            share = f"{100 * h.mask_time_prob:g} % of the frames and {100 * h.mask_feature_prob:g} % of the channels"
            model.append(f"In training {share} of its inputs are masked @[park2019specaugment].")
        model += describe.augmentation(h.augment_prob, "the batches")
        return {"model": model} | {"loss": [*super().describe()["loss"], describe.targets(h.target_text)]}

    def export(self, folder):
        hf, head = self.modules.acoustic.hf, "lm_head" if self.modules.acoustic.head_adapted else None
        merged(hf).save_pretrained(folder)
        self.hparams.tokenizer.save(folder)
        self.hparams.features.extractor.save_pretrained(folder)
        if adapters.save(hf, folder / adapters.FOLDER, head) and head:
            self.hparams.tokenizer.save(folder / adapters.FOLDER)


def require_few(strange: int, utterances: int, what: str) -> None:
    """Raise ValueError where more than 1 % of the old language's utterances hold `what`."""
    if strange > 0.01 * utterances:
        raise ValueError(
            f"old_language: {strange} of {utterances} utterances hold {what}; the old model cannot have learned them: "
            "check old_language and old_data_folder, or pre-train with these symbols in the alphabet"
        )

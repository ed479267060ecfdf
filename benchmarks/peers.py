"""The loops that others fine-tune Whisper with: transformers' Seq2SeqTrainer, SpeechBrain's recipe. See training.py."""

import tempfile
from pathlib import Path

import torch
from speechbrain import Brain
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.nnet.losses import nll_loss
from transformers import (
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)


def run_hf_trainer(model_folder, rows, args, turns, name):
    """As in transformers' examples for speech: features made beforehand, a collator that pads labels."""
    model = WhisperForConditionalGeneration.from_pretrained(model_folder)
    if args.train == "decoder":
        model.freeze_encoder()
    extractor = WhisperFeatureExtractor.from_pretrained(model_folder)
    data = [
        {"input_features": torch.tensor(extractor(wav.numpy(), sampling_rate=16000).input_features[0]), "labels": ids}
        for wav, ids in rows
    ]

    class Callback(TrainerCallback):
        def on_step_end(self, *args, **kwargs):
            turns.done(name)

    def collate(examples):
        labels = [torch.tensor(e["labels"][1:]) for e in examples]  # the model puts the first token there itself
        labels = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
        return {"input_features": torch.stack([e["input_features"] for e in examples]), "labels": labels}

    class Sequential(Seq2SeqTrainer):
        def _get_train_sampler(self, dataset=None):
            return torch.utils.data.SequentialSampler(data)

    with tempfile.TemporaryDirectory() as folder:
        options = Seq2SeqTrainingArguments(
            folder, per_device_train_batch_size=args.batch, max_steps=args.updates, learning_rate=1e-5,
            warmup_steps=args.updates // 10, report_to=[], save_strategy="no", logging_steps=10**6, disable_tqdm=True,
            max_grad_norm=2.0, weight_decay=0.01, optim="adamw_torch_fused", remove_unused_columns=False,
            use_cpu=args.device == "cpu", bf16=args.precision == "bf16", dataloader_num_workers=args.workers,
        )  # fmt: skip
        trainer = Sequential(model, options, collate, data, callbacks=[Callback()])
        turns.done(name, counts=False)
        trainer.train()


def run_speechbrain(model_folder, rows, args, turns, name):
    """As recipes/CommonVoice/ASR/transformer/train_with_whisper.py of SpeechBrain has it."""
    from speechbrain.integrations.huggingface.whisper import Whisper

    class Finished(Exception):
        pass

    class ASR(Brain):
        def compute_forward(self, batch, stage):
            wavs, _ = batch.wav
            tokens, _ = batch.tokens_bos
            _, logits, _ = self.modules.whisper(wavs, tokens)
            return logits.log_softmax(dim=-1)

        def compute_objectives(self, log_probs, batch, stage):
            tokens, lengths = batch.tokens_eos
            return nll_loss(log_probs, tokens, length=lengths)

        def on_fit_batch_end(self, batch, outputs, loss, should_step):
            turns.done(name)
            if self.optimizer_step >= args.updates:
                raise Finished

    whisper = Whisper(
        model_folder, str(Path(model_folder) / "unused"), freeze=False, freeze_encoder=args.train == "decoder",
        language="nl",
    )  # fmt: skip
    examples = [
        {"id": str(i), "wav": wav, "tokens_bos": torch.tensor(ids[:-1]), "tokens_eos": torch.tensor(ids[1:])}
        for i, (wav, ids) in enumerate(rows)
    ]
    loader = torch.utils.data.DataLoader(
        examples, batch_size=args.batch, collate_fn=PaddedBatch, num_workers=args.workers
    )
    options = {"device": args.device, "precision": args.precision, "noprogressbar": True, "max_grad_norm": 2.0}
    brain = ASR({"whisper": whisper}, lambda p: torch.optim.AdamW(p, lr=1e-5, weight_decay=0.01, fused=True),
                run_opts=options)  # fmt: skip
    turns.done(name, counts=False)
    try:
        brain.fit(range(10**6), loader)
    except Finished:
        pass


PEERS = {"hf_trainer": run_hf_trainer, "speechbrain": run_speechbrain}

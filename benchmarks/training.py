"""Fine-tuning Whisper with a frozen encoder, side by side: ours, ours with kept states, and what others use.

    python benchmarks/training.py                               # whisper-tiny's size, random weights, embedded corpus
    python benchmarks/training.py --model FOLDER --data FOLDER  # real weights; clips and manifest.tsv
    python benchmarks/training.py --peer hf_trainer --peer speechbrain --json found.json

    ours          recipes/whisper.py, train: decoder, keep_states: null
    kept          the same with keep_states: float32; making the states is timed by itself
    hf_trainer    transformers' Seq2SeqTrainer, model.freeze_encoder(), log-mel features made beforehand (not timed)
    speechbrain   SpeechBrain's Whisper wrapper, freeze_encoder=True, as in its CommonVoice recipe

Everything trained, several clips a window: packing.py.

Same weights, clips, batches and order, AdamW, float32, no augmentation. Each is its library's own loop in a thread of
its own; they take turns, one update each, so that a busy machine slows all alike. The first two updates of each are
left out. With one thread, time is the processor time of the thread, which others on the machine do not add to; wall
time stands beside it. Intervals: 95 %, bootstrap over rounds. Then a validation with states kept and without.
"""

import argparse
import json
import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from speechbrain import Brain, Stage
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.nnet.losses import nll_loss
from transformers import (
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from carryover.config import settings
from carryover.data import audio
from carryover.data.preparation import prepare
from carryover.forgetting.method import Method

ROOT = Path(__file__).parents[1]
TINY = {
    "d_model": 384, "encoder_layers": 4, "decoder_layers": 4, "encoder_attention_heads": 6,
    "decoder_attention_heads": 6, "encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536,
    "max_source_positions": 1500, "max_target_positions": 448, "num_mel_bins": 80,
}  # fmt: skip
DROPPED = 2  # updates of each variant that warm it up


class Turns:
    """Lets loops in threads take turns, and measures each turn: {name: [(processor seconds, wall seconds)]}."""

    def __init__(self, names: list[str]):
        self.waiting, self.turn = list(names), threading.Condition()
        self.seconds = {name: [] for name in names}
        self._started = {}

    def wait(self, name: str) -> None:
        """Until it is this one's turn."""
        with self.turn:
            self.turn.wait_for(lambda: self.waiting[0] == name)
        self._started[name] = time.thread_time(), time.perf_counter()

    def done(self, name: str, counts: bool = True) -> None:
        """An update is done: the next one's turn, until it is this one's again."""
        cpu, wall = self._started[name]
        if counts:
            self.seconds[name].append((time.thread_time() - cpu, time.perf_counter() - wall))
        with self.turn:
            self.waiting.append(self.waiting.pop(0))
            self.turn.notify_all()
        self.wait(name)

    def leave(self, name: str) -> None:
        with self.turn:
            self.waiting.remove(name)
            self.turn.notify_all()

    def run(self, loop: Callable[[str], None], threads: int = 1) -> None:
        """Have `loop(name)` run for each name, in a thread of its own, until all have ended.

        Raises
        ------
        RuntimeError
            Where one of them ended in an error, which does not keep the others waiting.
        """
        failed = {}

        def turn(name: str) -> None:
            torch.set_num_threads(threads)
            self.wait(name)
            try:
                loop(name)
            except Exception as error:
                failed[name] = error
            finally:
                self.leave(name)

        running = [threading.Thread(target=turn, args=(name,)) for name in list(self.waiting)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        for name, error in failed.items():
            raise RuntimeError(f"{name} ended early") from error


# ---- ours ----


class Turn(Method):
    """The hook that gives the turn away: a method against forgetting that does nothing else."""

    name = "turn"

    def __init__(self, turns: Turns, of: str):
        self.turns, self.of, self.begun = turns, of, time.thread_time()

    def begin(self, learner, old_set):
        self.making = time.thread_time() - self.begun  # what comes before the first update: states that are kept
        self.turns.done(self.of, counts=False)

    def after_update(self):
        self.turns.done(self.of)


def make_ours(args, model: str, folder: Path, name: str, keep: str, train: str = "decoder", **more: str):
    """A Brain of hparams/whisper_ft.yaml and its training and validation sets."""
    overrides = {
        "model": model, "language": "nl", "old_language": "null", "output_folder": str(folder / name),
        "train": train, "keep_states": keep, "batch_size": str(args.batch), "max_updates": str(args.updates),
        "warmup": "0.1", "lr": "1.0e-5", "stop_signals": "[]", "log_every": "100000", "label_smoothing": "0.0",
        "valid_every": "100000", "save_every": "100000", "ctc": "!new:carryover.losses.ctc.NoCTC",
        "loss_weights": "{nll: 1.0}", "generation_length": "40",
    }  # fmt: skip
    overrides |= more
    if args.data:
        overrides |= {"corpus": "!name:local.table.utterances", "data_folder": args.data}
    else:
        overrides |= {"corpus": "!name:local.synthetic.utterances {hours: 0.1}", "data_folder": str(folder / "data")}
    text = (ROOT / "hparams" / "whisper_ft.yaml").read_text(encoding="utf-8")
    hparams = settings.load(text, overrides)
    hparams["forgetting"] = []
    manifests = folder / name / "manifests"
    prepare(hparams["corpus"], hparams["data_folder"], manifests, "nl", ("train", "valid"), hparams["limits"])
    options = {"device": "cpu", "noprogressbar": True}
    brain = hparams["brain"](hparams["modules"], hparams["optimizer"], hparams, options, None)
    sets = [brain.read(manifests / f"{split}.csv") for split in ("train", "valid")]
    for dataset, n in zip(sets, (args.clips, args.valid), strict=True):
        dataset.data_ids = dataset.data_ids[:n]
        dataset.data = {ID: dataset.data[ID] for ID in dataset.data_ids}
    return brain, sets


def run_ours(brain, sets, args, turns, name):
    brain.methods = [Turn(turns, name)]
    brain.fit(
        range(1, 2), sets[0], train_loader_kwargs={"batch_size": brain.hparams.batch_size, "shuffle": False},
        valid_loader_kwargs={"batch_size": args.batch},
    )  # fmt: skip
    return brain.methods[0].making


# ---- peers ----


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
            folder, per_device_train_batch_size=args.batch, max_steps=args.updates, learning_rate=1e-5, use_cpu=True,
            warmup_steps=args.updates // 10, report_to=[], save_strategy="no", logging_steps=10**6, disable_tqdm=True,
            max_grad_norm=2.0, weight_decay=0.01, optim="adamw_torch_fused", remove_unused_columns=False,
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
        model_folder,
        str(Path(model_folder) / "unused"),
        freeze=False,
        freeze_encoder=args.train == "decoder",
        language="nl",
    )
    examples = [
        {"id": str(i), "wav": wav, "tokens_bos": torch.tensor(ids[:-1]), "tokens_eos": torch.tensor(ids[1:])}
        for i, (wav, ids) in enumerate(rows)
    ]
    loader = torch.utils.data.DataLoader(examples, batch_size=args.batch, collate_fn=PaddedBatch)
    options = {"device": "cpu", "noprogressbar": True, "max_grad_norm": 2.0}
    brain = ASR({"whisper": whisper}, lambda p: torch.optim.AdamW(p, lr=1e-5, weight_decay=0.01, fused=True),
                run_opts=options)  # fmt: skip
    turns.done(name, counts=False)
    try:
        brain.fit(range(10**6), loader)
    except Finished:
        pass


PEERS = {"hf_trainer": run_hf_trainer, "speechbrain": run_speechbrain}


# ---- measuring ----


def ratio(of: np.ndarray, to: np.ndarray) -> list[float]:
    """Mean of one over mean of the other, and its 95 % interval over rounds."""
    n = min(len(of), len(to))
    drawn = np.random.default_rng(0).integers(0, n, (10_000, n))
    many = of[:n][drawn].mean(axis=1) / to[:n][drawn].mean(axis=1)
    return [round(float(x), 3) for x in (of[:n].mean() / to[:n].mean(), *np.percentile(many, [2.5, 97.5]))]


def make_tiny(folder: Path, source: Path) -> str:
    """whisper-tiny's shape with random weights and the tokenizer of another model."""
    torch.manual_seed(0)
    config = WhisperConfig.from_pretrained(source, **TINY)
    WhisperForConditionalGeneration(config).save_pretrained(folder / "tiny")
    WhisperFeatureExtractor().save_pretrained(folder / "tiny")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, folder / "tiny")
    return str(folder / "tiny")


def validations(brains: dict, sets: dict, args) -> dict:
    """Seconds of validations in turns, with kept states (made by a first one) and without; the same hypotheses?"""
    seconds, said = {name: [] for name in brains}, {}
    for repetition in range(args.repetitions + 1):
        for name, brain in brains.items():
            loader = brain.make_dataloader(sets[name], Stage.VALID, ckpt_prefix=None, batch_size=args.batch)
            start = time.process_time(), time.perf_counter()
            _, rows = brain.evaluation.score(loader, Stage.VALID)
            spent = time.process_time() - start[0], time.perf_counter() - start[1]
            said[name] = [row["hypothesis"] for row in rows]
            if repetition:
                seconds[name].append(spent)
    cpu, wall = ({name: np.array(s)[:, k] for name, s in seconds.items()} for k in (0, 1))
    return {
        "clips": len(said["kept"]), "same_hypotheses": said["kept"] == said["ours"],
        "seconds": {name: round(float(s.mean()), 2) for name, s in cpu.items()},
        "faster": ratio(cpu["ours"], cpu["kept"]), "faster_wall": ratio(wall["ours"], wall["kept"]),
    }  # fmt: skip


def measure(args, folder: Path) -> dict:
    """All variants in turns."""
    os.environ["CARRYOVER_CACHE"] = str(folder / "cache")
    model = args.model or make_tiny(folder, Path(args.tokenizer))
    ours = {name: make_ours(args, model, folder, name, keep) for name, keep in (("ours", "null"), ("kept", args.keep))}
    dataset = ours["ours"][1][0]
    items = [dataset[i] for i in range(len(dataset))]
    rows = [(audio.read(item["row"]["audio"]), item["tokens"].tolist()) for item in items]
    names = [*ours, *args.peer]
    turns, making = Turns(names), {}

    def loop(name):
        if name in ours:
            making[name] = run_ours(*ours[name], args, turns, name)
        else:
            PEERS[name](model, rows, args, turns, name)

    turns.run(loop, args.threads)
    seconds = {name: np.array(turns.seconds[name])[DROPPED:] for name in names}
    column = 0 if args.threads == 1 else 1
    audio_seconds = sum(len(wav) for wav, _ in rows) / 16000 / len(rows) * args.batch
    epoch = len(rows) / args.batch  # updates

    def whole(name, epochs):
        return making["kept"] * (name == "kept") + epochs * epoch * seconds[name][:, column].mean()

    found = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {args.threads} thread(s)",
        "model": Path(args.model).name if args.model else "whisper-tiny's size, random weights", "batch": args.batch,
        "clips": len(rows), "updates": args.updates, "keep_states": args.keep, "audio_seconds_an_update": audio_seconds,
        "making_seconds_a_clip": making["kept"] / len(rows), "variants": {},
    }  # fmt: skip
    for name in names:
        cpu, wall = seconds[name].T
        found["variants"][name] = {
            "seconds_an_update": float(seconds[name][:, column].mean()), "wall": float(wall.mean()),
            "audio_seconds_a_second": audio_seconds / float(seconds[name][:, column].mean()),
            "kept_is_faster": ratio(seconds[name][:, column], seconds["kept"][:, column]),
            "kept_is_faster_wall": ratio(wall, seconds["kept"][:, 1]),
            "whole_run_3_epochs": round(whole(name, 3) / whole("kept", 3), 2),
            "whole_run_10_epochs": round(whole(name, 10) / whole("kept", 10), 2),
        }  # fmt: skip
    if args.valid:
        torch.set_num_threads(args.threads)
        brains = {name: brain for name, (brain, _) in ours.items()}
        found["validation"] = validations(brains, {name: sets[1] for name, (_, sets) in ours.items()}, args)
    return found


def table(found: dict) -> str:
    """Markdown."""
    lines = [
        f"{found['model']}, batches of {found['batch']} ({found['audio_seconds_an_update']:.1f} s of audio), "
        f"{found['updates']} updates each in turns; {found['machine']}; states kept in {found['keep_states']}, "
        f"made in {found['making_seconds_a_clip']:.2f} s a clip\n",
        "| | s an update | audio s a second | kept is faster by | by wall time | over 3 epochs | over 10 |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, v in found["variants"].items():
        by, wall = ("{:.2f} [{:.2f}, {:.2f}]".format(*v[key]) for key in ("kept_is_faster", "kept_is_faster_wall"))
        lines.append(
            f"| {name} | {v['seconds_an_update']:.2f} | {v['audio_seconds_a_second']:.1f} | {by} | {wall} "
            f"| {v['whole_run_3_epochs']:.2f} | {v['whole_run_10_epochs']:.2f} |"
        )
    if v := found.get("validation"):
        lines.append(
            f"\nValidation of {v['clips']} clips, greedy: {v['seconds']['ours']:.1f} s, kept "
            f"{v['seconds']['kept']:.1f} s: "
            + "{:.2f} [{:.2f}, {:.2f}] times as fast".format(*v["faster"])
            + f"; the same hypotheses: {'yes' if v['same_hypotheses'] else 'NO'}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="folder of a Whisper; default: whisper-tiny's size with random weights")
    starter = ROOT / "assets" / "whisper_starter"
    parser.add_argument(
        "--tokenizer", default=starter, help="without --model: folder of the Whisper whose tokenizer it has"
    )
    parser.add_argument("--data", help="folder with manifest.tsv; default: the embedded corpus")
    parser.add_argument("--peer", action="append", choices=PEERS, help="default: all")
    parser.add_argument("--keep", default="float32", choices=("float32", "float16"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--updates", type=int, default=12, help=f"of each variant, {DROPPED} of them to warm up")
    parser.add_argument("--valid", type=int, default=16, help="clips of the validation; 0: none")
    parser.add_argument("--repetitions", type=int, default=3, help="of the validation")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", help="write what was found here, too")
    args = parser.parse_args()
    args.peer, args.train = list(PEERS) if args.peer is None else args.peer, "decoder"
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(args, Path(folder))
    print(table(found))
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What a recipe gives to the training loop, and the reading pipeline around it; the loop itself is brain.py."""

from collections.abc import Sequence
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.data_pipeline import DynamicItem
from torch.utils.data import BatchSampler, SequentialSampler

from carryover import processes
from carryover.data import audio, audio_check, manifest
from carryover.data.batching import FilledBatches, LengthGrouped
from carryover.models.trained import module_of
from carryover.text.words import Word
from carryover.training import stopping
from carryover.training.kept_states import changed_inputs
from carryover.training.output import Output

Stage = sb.Stage


class Recipe:
    """The hooks of a recipe; `RecipeBrain` adds the loop.

    A recipe has to give `forward`, `compute_forward`, `compute_objectives`, `transcribe`, `units` and `target`, and
    for the methods against forgetting `log_likelihood` and `outputs`.
    """

    endings = audio.ENDINGS  # of files that hold a recording
    exports: tuple[str, ...] = ("hf",)  # formats of `carryover export` that its model can have
    reads: tuple[str, ...] = (  # keys of the YAML; a YAML that lacks one is refused at once
        "batch_size", "collate", "early_stopping_patience", "epochs", "forgetting", "group_by_length", "kept",
        "language", "log_every", "loss_weights", "lr", "lr_of", "max_updates", "no_decay_for_vectors", "normaliser",
        "output_folder", "overfit", "save_every", "save_limit", "schedule", "seed", "stop_signals", "target_text",
        "tracker", "valid_every",
    )  # fmt: skip

    def forward(self, inputs) -> Output:
        """The model's output for `inputs` (`Output.inputs`), whatever the weights are at this moment."""
        raise NotImplementedError

    def compute_forward(self, batch, stage) -> Output:
        """`forward` of a batch's features, augmented in training."""
        raise NotImplementedError

    def compute_objectives(self, output: Output, batch, stage) -> dict[str, torch.Tensor]:
        """-> {term: mean over the batch's units}."""
        raise NotImplementedError

    def transcribe(self, output: Output, batch, stage) -> list[str]:
        """-> the B hypotheses of a batch."""
        raise NotImplementedError

    def hear(self, batch) -> list[str]:
        """Hypotheses of a batch of recordings without targets."""
        return self.transcribe(self.compute_forward(batch, Stage.TEST), batch, Stage.TEST)

    def tokens(self, batch) -> list[list[int]]:
        """Ids of what is heard in a batch of recordings, decoded greedily: the text's alone, neither prompt nor end.

        `carryover export` compares them with those of the exported model.
        """
        raise NotImplementedError

    # ---- what `carryover transcribe` can be asked for, where a recipe has it ----

    times_words = False  # whether `words` knows when each is said
    languages: Sequence[str] = ()  # that it can tell apart by sound

    def words(self, batch) -> list[tuple[str, list[Word]]]:
        """What is heard in each recording of a batch, and its words with their times."""
        raise NotImplementedError

    def language_log_probs(self, batch) -> torch.Tensor:
        """(B, L) log-probabilities of `languages` for each recording."""
        raise NotImplementedError

    def expect(self, text: str) -> None:
        """From now on hear with words in mind that are likely to come: names, terms.

        Raises
        ------
        ValueError
            For a recipe that cannot.
        """
        raise ValueError(
            f"--hotwords: a {type(self).__name__} takes none, a Whisper does; a CTC model can be given an n-gram model "
            "of the words: carryover ngram"
        )

    def units(self, batch) -> int:
        """Number of units (target tokens, utterances) over which `compute_objectives` takes its mean."""
        raise NotImplementedError

    def target(self) -> DynamicItem:
        """Item of the reading pipeline that makes targets: "text" and what else it needs -> "target", "tokens", ..."""
        raise NotImplementedError

    def recording(self) -> DynamicItem:
        """Item of the reading pipeline that opens a clip: "audio" (its path) -> "wav" (samples,) at 16 kHz."""
        return DynamicItem(["audio"], audio.read, ["wav"])

    def inspect(self, path: str) -> tuple[float, str, str]:
        """Seconds, form and digest of a recording, or ValueError; see carryover.data.audio_check.inspect."""
        return audio_check.inspect(path)

    def rows(self, path) -> dict[str, dict]:
        """Rows of a manifest (path of a CSV of carryover.data.manifest) that are used, by ID."""
        return manifest.load(path)

    def export(self, folder: Path) -> None:
        """Write the loaded weights in transformers' format, where it knows the model."""
        raise NotImplementedError

    def cut_off(self, rows: list[dict]) -> list[int]:
        """Tokens of those rows of a manifest whose texts are longer than the longest hypothesis that a YAML allows."""
        return []

    @property
    def window(self) -> float | None:
        """Seconds that the model hears at a time; None of one that hears any length."""
        return None

    @property
    def batch_seconds(self) -> float | None:
        """Seconds of speech that fill a training batch, padding counted; None: `batch_size` utterances do."""
        return None

    @property
    def adaptable(self) -> torch.nn.Module | None:
        """The model that adapters are put into, to be switched; None where a recipe has none."""
        return None

    def base_head(self) -> tuple | None:
        """(head, tokenizer) that the base writes with, without adapters, (None, None) for a base that has no head; None
        for a model whose adapters bring none. Asked before `use_head`."""
        return None

    def head_of(self, stored) -> tuple | None:
        """(head, tokenizer) of an adapter's folder (carryover.models.adapters.Stored); None where it has none."""
        return None

    def use_head(self, head: torch.nn.Module | None, tokenizer) -> None:
        """Write with another head and its symbols from now on; ValueError where there is none."""

    def made_for(self) -> dict:
        """What its weights are worth nothing without and no checkpoint holds, e.g. hashes of frozen models.

        It is written into each checkpoint, and compared before one is loaded.
        """
        return {}

    def describe(self) -> dict[str, list[str]]:
        """Sentences of a methods paragraph about the model and the loss: {"model": [...], "loss": [...]}."""
        return {}

    # ---- moments of a run ----

    def begin(self) -> None:
        """Called once the old weights are loaded, before the first update or the resume."""

    def ready(self, train_set) -> None:
        """Called when all that the training holds is in memory, before the first update or the first after a resume."""

    def begin_set(self) -> None:
        """Called before a set is scored."""

    def of_set(self, rows: list[dict]) -> dict:
        """What else a valid or test event says of a set's scored rows."""
        return {}

    def print_plan(self, loader, groups: int, total: int) -> None:
        """Say before the first update what is going to be done."""
        k, schedule, unit = self.grad_accumulation_factor, self.schedule, " s" * bool(self.batch_seconds)
        batch = self.batch_seconds or self.hparams.batch_size
        trainable, everything = self.parameter_counts()
        several = f" x {n} processes" if (n := processes.count()) > 1 else ""
        rates = "".join(f", {module} {peak:g}" for module, peak in self.hparams.lr_of.items())
        print(
            f"Training on {len(loader.dataset)} utterances: effective batch {batch * k * n:g}{unit} "
            f"({batch:g}{unit} x {k}{several}), {groups} updates per epoch, {total} in all\n"
            f"Schedule {schedule.name}: peak rate {schedule.lr:g}{rates}, warm-up {schedule.warmup_updates} updates; "
            f"{self.precision} on {self.device}\n"
            f"Parameters: {trainable:,} trained of {everything:,}"
        )

    def loss(self, batch) -> torch.Tensor:
        """The recipe's loss of a batch with its graph, without augmentation."""
        return self.total(self.compute_objectives(self.compute_forward(batch, Stage.VALID), batch, Stage.VALID))

    # ---- what the methods against forgetting ask ----

    def new_parameters(self) -> dict[str, torch.Tensor | None]:
        """What the old model does not have: {parameter's name: its new rows, or None for all of it}."""
        return {}

    def old_units(self) -> list[int] | None:
        """Output units that the old model has; None for all."""
        return None

    def known(self, old_set):
        """Those utterances of the old language that the old model can write: of them it has something to lose."""
        return old_set

    def log_likelihood(self, batch, labels: str, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """log p(y|x) with its graph and the tokens of y, each (B,); y is the transcript ("gold") or "sampled"."""
        raise NotImplementedError

    def outputs(self, batch) -> torch.Tensor:
        """Outputs whose squared norm tells how sensitive the model is to a weight; with their graph, padding zero."""
        raise NotImplementedError

    @property
    def target_text_name(self) -> str:
        """Name of what makes targets of transcripts."""
        return self.hparams.target_text.name

    def module_of(self, name: str) -> set[str]:
        """Words of `lr_of` for a parameter's name in the Brain."""
        return {module_of(name)}

    # ---- statistics ----

    def batch_statistics(self, output: Output, batch) -> dict[str, float | torch.Tensor]:
        """Sums over a batch that are logged: `audio_seconds`, `frames` and `padded_frames` (of any one unit), ...

        What is counted on the device is left there, (): the loop reads all of it at once.
        Here for utterances that are padded to the longest of their batch, in seconds.
        """
        seconds = [row["duration"] for row in batch.row]
        every = len(seconds) * max(seconds)
        return {"audio_seconds": sum(seconds), "frames": every, "padded_frames": every - sum(seconds)}

    def summary(self, window: dict) -> dict[str, float]:
        """What a train event says of the sums of `batch_statistics` since the last one."""
        frames = window.get("frames", 0)
        return {
            "audio_seconds": round(window.get("audio_seconds", 0.0), 3),
            "padding": window.get("padded_frames", 0) / frames if frames else 0.0,
        }

    def parameter_counts(self) -> tuple[int, int]:
        """Trainable and all parameters, tied weights counted once."""
        parameters = list(self.modules.parameters())
        return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)

    def note(self, event: str, **values) -> None:
        """Write an event into metrics.jsonl."""
        self.run_log.note(event, **values)

    def flag_settings(self) -> dict:
        """What `carryover.runs.flags.told` takes."""
        hparams, schedule = self.hparams, self.schedule
        return {
            "language": hparams.language, "lr_schedule": schedule.name, "warmup": schedule.warmup,
            "max_updates": schedule.total_updates, "precision": self.precision, "overfit": hparams.overfit,
            "lr": hparams.lr, "usual_rate": self.usual_rate(), "loss_weights": hparams.loss_weights,
        }  # fmt: skip

    def usual_rate(self) -> float | None:
        """Peak rate at which a model of this kind and size is usually fine-tuned; None where nobody can say."""
        return None

    def train_mode(self) -> None:
        """Training mode for what is trained; frozen parts stay in eval mode, or their dropout would go on."""
        self.hparams.kept.plain = not changed_inputs(self.hparams)
        self.modules.train()
        for module in self.modules.modules():
            parameters = list(module.parameters())
            if parameters and not any(p.requires_grad for p in parameters):
                module.eval()

    def eval_mode(self) -> None:
        """Evaluation mode for a set of the experiment: its clips are always the same."""
        self.hparams.kept.plain = True
        self.modules.eval()

    # ---- data ----

    def read(self, path) -> DynamicItemDataset:
        """Dataset of a manifest: recordings and targets."""
        return self.dataset(self.rows(path), [self.recording(), self.target()])

    def dataset(self, rows: dict[str, dict], items: list) -> DynamicItemDataset:
        """Dataset of rows as carryover.data.manifest.load gives them, with what items of the pipeline provide."""
        keys = ["id", "row", "language", *(key for item in items for key in item.provides)]
        return DynamicItemDataset(rows, dynamic_items=items, output_keys=keys)

    def batches(self, dataset, indices: list[int], batch_size: int = 1):
        """Batches, on the device, of a dataset's utterances at `indices`."""
        for start in range(0, len(indices), batch_size):
            yield PaddedBatch([dataset[i] for i in indices[start : start + batch_size]]).to(self.device)

    def train_loader(self, dataset, kwargs: dict):
        """Loader of a training set: shuffled as `kwargs` say, or batches of similar length (`group_by_length`), which
        may be filled by seconds (`batch_seconds`).

        Beside a GPU its readers live as long as the run.
        """
        kwargs = {"collate_fn": self.hparams.collate} | kwargs  # training alone: clips may share a window there
        if kwargs.get("num_workers"):
            kwargs = {"persistent_workers": self.device_type == "cuda"} | kwargs
        lengths, seed, n = [row["duration"] for row in dataset.data.values()], self.hparams.seed, processes.count()
        if self.batch_seconds:
            self.train_sampler = FilledBatches(lengths, self.batch_seconds * n, seed)
            kwargs = {key: value for key, value in kwargs.items() if key not in ("shuffle", "batch_size")}
            kwargs |= {"batch_sampler": self.train_sampler}
        elif self.hparams.group_by_length:
            self.train_sampler = LengthGrouped(lengths, kwargs.get("batch_size", 1) * n, seed)
            kwargs = {key: value for key, value in kwargs.items() if key != "shuffle"} | {"sampler": self.train_sampler}
        return self.make_dataloader(dataset, Stage.TRAIN, **kwargs)

    def make_dataloader(self, dataset, stage, ckpt_prefix="dataloader-", **kwargs):
        """SpeechBrain's; processes that read clips leave signals to this one.

        Beside a GPU batches lie in page-locked memory, from where they are copied while the GPU computes.
        Of several processes that train together each reads its share: see carryover.processes.Shares.
        """
        if kwargs.get("num_workers"):
            kwargs.setdefault("worker_init_fn", stopping.left_to_the_trainer)
            stopping.end_readers_at_exit()
        kwargs.setdefault("pin_memory", self.device_type == "cuda")
        if processes.count() > 1:
            kwargs = self._shared(dataset, stage, kwargs)
        return super().make_dataloader(dataset, stage, ckpt_prefix, **kwargs)

    def _shared(self, dataset, stage, kwargs: dict) -> dict:
        """Arguments of a loader of this process's share; in training a batch is the YAML's for each process."""
        training = stage == Stage.TRAIN
        if training:
            kwargs = self._train_loader_specifics(dataset, kwargs)  # SpeechBrain's shuffling
        size = kwargs.pop("batch_size", 1) * (processes.count() if training else 1)
        kwargs.pop("shuffle", None)
        sampler = kwargs.pop("sampler", None) or SequentialSampler(dataset)
        whole = kwargs.pop("batch_sampler", None) or BatchSampler(sampler, size, drop_last=False)
        collate = processes.NoneOfNothing(kwargs.pop("collate_fn", PaddedBatch))
        return kwargs | {"batch_sampler": processes.Shares(whole, cut=training), "collate_fn": collate}


def reads_of(brain, path: str) -> set[str]:
    """Keys that a recipe's class reads by name; ValueError where the YAML's `brain` is none."""
    if not isinstance(brain, type) or not issubclass(brain, Recipe):
        raise ValueError(f"{path}: brain: {brain!r} is no recipe's class; give !name:recipes.whisper.WhisperBrain, say")
    return set(brain.reads)

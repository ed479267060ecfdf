"""Speech LLM: a frozen audio encoder, a trained projector, a frozen language model that writes down what it reads."""

import hashlib
from collections import Counter
from pathlib import Path

import torch
from speechbrain.utils.data_pipeline import provides, takes

from carryover import losses, processes
from carryover.data.batching import with_lengths
from carryover.models import projector
from carryover.models.chat import echoes
from carryover.models.limits import answer_limit
from carryover.training import describe
from carryover.training.brain import RecipeBrain, Stage
from carryover.training.output import Output

# Shapes: B batch, S samples, T frames, T' vectors, P prompt with its audio, U tokens of an answer, V vocabulary


class SpeechLLMBrain(RecipeBrain):
    """Trains `modules.projector` (and `modules.adapters`, and `modules.encoder` where the YAML says so).

    What is frozen is no module, so that no checkpoint holds it: it comes from `hparams`. Read there besides
    RecipeBrain's: audio_encoder, reader (models.language_model.LanguageModel), tasks, made_for,
    start_from, label_smoothing, tokens_per_second, max_train_samples, max_eval_samples.
    """

    reads = (
        *RecipeBrain.reads, "audio_encoder", "encoder", "label_smoothing", "language_model", "made_for",
        "max_eval_samples", "max_train_samples", "reader", "start_from", "tasks", "tokens_per_second",
    )  # fmt: skip

    def __init__(self, modules=None, opt_class=None, hparams=None, run_opts=None, checkpointer=None):
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        self.encoder = self.hparams.audio_encoder.to(self.device)
        self.language_model, self.tasks = self.hparams.reader.to(self.device), self.hparams.tasks
        self.counts = Counter()  # what `of_set` tells of a set
        widths = {"encoder": self.encoder.width, "language_model": self.language_model.width}
        bridge = self.modules.projector
        if (bridge.input_width, bridge.output_width) != tuple(widths.values()):
            raise ValueError(
                f"projector: it leads from width {bridge.input_width} to {bridge.output_width}, the models have "
                f"{widths}; let `between` make it for these two"
            )
        self.frozen = self.hparams.made_for()  # now: what lies at the sources can change while a run goes on
        if self.hparams.start_from:
            projector.load(bridge, self.hparams.start_from, self.frozen)
            self.language_model.lora.load(self.language_model.hf, self.hparams.start_from)

    def forward(self, inputs):
        """States (B, T, D), frames (B,), tokens (B, U), counts (B,), tasks (B,) -> Output of the answers."""
        states, frames, tokens, counts, tasks = inputs
        vectors, lengths = self.modules.projector(states, frames)  # (B, T', E)
        prefix = self.language_model.prefix(vectors, lengths, self.tasks.of(tasks))
        log_probs = self.language_model.logits(*prefix, tokens, counts).log_softmax(dim=-1)
        return Output(log_probs, counts, inputs, vectors, lengths)

    def compute_forward(self, batch, stage):
        """-> Output with log-probabilities (B, U, V) of each token, given prompt, audio and the tokens before it."""
        return self.forward((*self.encode(batch), *self.answers(batch), batch.task))

    def compute_objectives(self, output, batch, stage):
        """-> {"nll": mean over the answers' tokens: text and end, neither prompt nor audio nor padding}."""
        smoothing = self.hparams.label_smoothing if stage == Stage.TRAIN else 0.0
        tokens, _ = batch.tokens
        return {"nll": losses.nll(output.log_probs, tokens, output.mask, smoothing)}

    def transcribe(self, output, batch, stage):
        """-> list of B strings, greedy; the other tasks' answers are counted on the way."""
        hypotheses = self.answer(output, batch, 0)
        for at, task in enumerate(self.tasks.others, start=1):
            said = self.answer(output, batch, at)
            self.counts[task.name] += sum(map(task.is_right, said, batch.row))
        return hypotheses

    def hear(self, batch):
        vectors, lengths = self.modules.projector(*self.encode(batch))
        return self.answer(Output(None, lengths, None, vectors, lengths), batch, 0)

    def answer(self, output, batch, task: int) -> list[str]:
        """What the language model says to a task's prompt about each clip."""
        prompts = self.tasks.of([task] * len(batch.id))
        prefix = self.language_model.prefix(output.states, output.state_lengths, prompts)
        limits = [self.limit(row["duration"]) for row in batch.row]
        ids = self.language_model.generate(*prefix, limits)
        if task == 0:
            self.counts["unended"] += sum(row[-1] not in self.language_model.ends for row in ids)
        return [self.tasks.chat.decode(row) for row in ids]

    def limit(self, seconds: float) -> int:
        """Most tokens of an answer about `seconds` of audio, its end among them."""
        return answer_limit(seconds, self.hparams.tokens_per_second)

    def encode(self, batch):
        """-> the encoder's states (B, T, D) and their numbers (B,)."""
        return self.encoder(*with_lengths(*batch.wav))

    def answers(self, batch):
        """-> tokens (B, U), padded, and their numbers (B,)."""
        return with_lengths(*batch.tokens)

    def units(self, batch):
        return int(self.answers(batch)[1].sum())

    # ---- scoring, logging ----

    def begin_set(self):
        self.counts = Counter()

    def of_set(self, rows):
        """What such systems are known for beside loops, in utterances: `echoes` (of the prompt), `empty`, `unended`
        (stopped by the audio's length); and each other task's share of right answers, in percent."""
        said = [(row["hypothesis"], row["reference"]) for row in rows]
        prompt = self.tasks.words(0)
        self.counts = sum(processes.gather(self.counts), Counter())
        found = {
            "echoes": sum(echoes(hyp, prompt) and not echoes(ref, prompt) for hyp, ref in said),
            "empty": sum(not hyp for hyp, _ in said),
            "unended": self.counts["unended"],
        }
        return found | {f"{t.name}_accuracy": 100 * self.counts[t.name] / len(rows) for t in self.tasks.others}

    # ---- the old language ----

    def new_parameters(self):
        """Where nothing is carried over by start_from, all that is trained is new."""
        return {} if self.hparams.start_from else dict.fromkeys(name for name, _ in self.modules.named_parameters())

    def log_likelihood(self, batch, labels, generator):
        if labels != "gold":
            raise ValueError("labels: a speech LLM has the transcripts as labels; give labels: gold")
        output = self.compute_forward(batch, Stage.TEST)
        tokens, lengths = self.answers(batch)
        log_p = output.log_probs.gather(-1, tokens[..., None]).squeeze(-1).masked_fill(~output.mask, 0.0)  # (B, U)
        return log_p.sum(dim=1), lengths

    def outputs(self, batch):
        tokens, lengths = self.answers(batch)
        vectors, n = self.modules.projector(*self.encode(batch))
        logits = self.language_model.logits(
            *self.language_model.prefix(vectors, n, self.tasks.of(batch.task)), tokens, lengths
        )
        counted = torch.arange(logits.shape[1], device=logits.device) < lengths[:, None]
        return logits * counted[..., None]

    def parameter_counts(self):
        trained = {id(p): p for p in self.modules.parameters()}
        frozen = {id(p): p for model in (self.encoder, self.language_model.hf) for p in model.parameters()}
        return (
            sum(p.numel() for p in trained.values() if p.requires_grad),
            sum(p.numel() for p in (trained | frozen).values()),
        )

    # ---- reading, export ----

    def made_for(self):
        """The frozen models and the prompts; an encoder that is trained is in the checkpoint itself."""
        return {name: value for name, value in self.frozen.items() if name not in self.modules}

    def train_loader(self, dataset, kwargs):
        if self.tasks.others and kwargs.get("num_workers"):
            # readers draw what a clip is asked; they begin each epoch anew, or an unbroken run would draw otherwise
            kwargs = kwargs | {"persistent_workers": False}
        return super().train_loader(dataset, kwargs)

    def target(self):
        tasks, target_text = self.tasks, self.hparams.target_text

        @takes("text", "language")
        @provides("target", "tokens", "task")
        def target(text, language):
            yield (target := target_text(text, language))
            yield torch.tensor(tasks.chat.encode(target))
            yield 0

        return target

    def rows(self, path):
        training = Path(path).name.startswith("train")
        return sample(super().rows(path), self.hparams.max_train_samples if training else self.hparams.max_eval_samples)

    def describe(self):
        h, bridge = self.hparams, self.modules.projector
        encoder = "trained" if "encoder" in self.modules else "frozen"
        kind = type(bridge).__name__ + " @[shazeer2020glu]" * (type(bridge).__name__ == "SwiGLU")
        lora = " with trained low-rank adapters @[hu2022lora]" * bool(len(self.modules.adapters))
        model = [
            f"The model is a speech LLM: of a {encoder} audio encoder ({h.encoder}) every {bridge.frames} frames are "
            f"stacked and mapped by a {kind} projector to vectors that a frozen language model ({h.language_model})"
            f"{lora} reads within its prompt.",
            f"The projector goes on from {h.start_from}."
            if h.start_from
            else "The projector starts from random weights.",
        ]
        if self.tasks.others:
            asked = ", ".join(f"{task.name} ({100 * task.share:g} % of the clips)" for task in self.tasks.others)
            model.append(f"Beside transcription it is trained for other tasks by prompt: {asked}.")
        loss = "The loss is the negative log-likelihood of the answer's tokens, given prompt and audio"
        loss += f", with label smoothing of {h.label_smoothing:g} @[szegedy2016rethinking]" * bool(h.label_smoothing)
        return {"model": model, "loss": [f"{loss}.", describe.targets(h.target_text)]}

    def export(self, folder):
        """projector.safetensors and config.json; adapters where LoRA is on, the encoder where it was trained.

        What is frozen stays where it is: its source and hash stand in config.json.
        """
        made_for = self.made_for()
        if "encoder" in self.modules:
            self.encoder.save(folder / "encoder")
            made_for["encoder"] = projector.identity(str(folder / "encoder")) | {"source": "encoder"}
        projector.save(self.modules.projector, folder, made_for)
        self.language_model.lora.save(self.language_model.hf, folder)


def trained(projector, encoder, language_model) -> dict[str, torch.nn.Module]:
    """The modules of a Brain: what is trained, and nothing of what is frozen."""
    parts = {"projector": projector, "adapters": language_model.adapters}
    return parts | ({"encoder": encoder} if any(p.requires_grad for p in encoder.parameters()) else {})


def sample(rows: dict[str, dict], n: int | None) -> dict[str, dict]:
    """`n` of a manifest's rows, those whose IDs have the smallest digests; all where n is None."""
    drawn = set(sorted(rows, key=lambda ID: hashlib.sha256(ID.encode()).digest())[:n])
    return {ID: row for ID, row in rows.items() if ID in drawn}


class MadeFor:
    """What a projector is made for, `made_for()`: sources, revisions and hashes of the frozen models, the prompts.

    Parameters
    ----------
    encoder, language_model : (str, str or None, ...)
        Source and revision, and what else `carryover.models.projector.identity` takes.
    tasks : Tasks
    """

    def __init__(self, encoder, language_model, tasks):
        self.models, self.tasks = {"encoder": encoder, "language_model": language_model}, tasks

    def __call__(self) -> dict:
        models = {name: projector.identity(*source) for name, source in self.models.items()}
        return models | {"prompts": [self.tasks.text(at) for at in range(len(self.tasks))]}

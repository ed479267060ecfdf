"""Transcripts of recordings without a text."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from speechbrain import Stage
from speechbrain.utils.data_pipeline import DynamicItem
from tqdm import tqdm

from carryover.commands.adapter import Adapters
from carryover.data import audio_kinds, speech_segments
from carryover.data.audio import ENDINGS
from carryover.data.home import require_utf8
from carryover.data.limits import Limits
from carryover.data.table import found_at
from carryover.data.utterance import Utterance
from carryover.training.brain import RecipeBrain

NO_RECORDING = "no recording"  # of what stands beside recordings: said, but no fault
NO_SPEECH = "nobody speaks"  # why a text is empty
Found = tuple[list[dict], dict[Path, str]]


def find(paths: Iterable[str | Path], endings: Sequence[str]) -> list[Path]:
    """Files as they are given, and all that lies below folders, in alphabetical order, each once.

    Whatever a folder holds is accounted for: what is no recording is refused by `Listener`, with its reason.

    Raises
    ------
    FileNotFoundError
        For a path that is not there, and a folder without a recording.
    """
    files = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path}: {found_at(path)}; expected a recording or a folder of recordings")
        below = [path] if not path.is_dir() else sorted(p for p in path.rglob("*") if not _is_folder(p, endings))
        if not any(p.suffix.lower() in endings or not audio_kinds.beside(p) for p in below):
            raise FileNotFoundError(f"{path}: {found_at(path)}; expected recordings: {', '.join(endings)}")
        files += below
    return list(dict.fromkeys(files))


def _is_folder(path: Path, endings: Sequence[str]) -> bool:
    """A folder that is not named like a recording; its files are found by themselves."""
    return path.is_dir() and path.suffix.lower() not in endings


@dataclass
class Listener:
    """A model that writes down recordings.

    Parameters
    ----------
    brain : carryover.training.brain.RecipeBrain
        With the weights to be used loaded.
    limits : Limits
        The recipe's; `limits.recording(utterance)` is the reason to refuse a recording, or None.
    language : str or None
        What is spoken, for a model whose prompt says so; None: it is detected, for each recording by itself.
    batch_size : int
        Recordings or segments at a time, of similar length.
    workers : int
        Processes that read.
    times_words : bool
        Whether to say when each word is said.
    adapters : Adapters, optional
        Those of a language are put in where it is detected, and taken out to detect it.

    Raises
    ------
    ValueError
        For a recipe that does not know languages, or words.
    """

    brain: RecipeBrain
    limits: Limits
    language: str | None
    batch_size: int
    workers: int = 0
    times_words: bool = False
    adapters: Adapters | None = None

    def __post_init__(self):
        name = type(self.brain).__name__
        if self.language is None and not self.brain.languages:
            raise ValueError(f"--language: a {name} does not detect languages; say which one is spoken")
        if self.times_words and not self.brain.times_words:
            raise ValueError(f"--words: a {name} does not know when a word is said; Whisper and CTC models do")

    def clips(self, files: Sequence[Path]) -> Found:
        """What is heard in each recording.

        Returns
        -------
        rows : list of dict
            audio, duration (seconds) and text of each recording that was transcribed, in the order of `files`; the
            language where it is detected; words, a list of {text, start, end} in seconds, where they are asked for.
        refused : dict
            Reason by file.
        """
        utterances, refused = [], {}
        for path in tqdm(files, desc="Checking", unit="file", delay=2):
            try:
                seconds = self._seconds(path)
            except ValueError as error:
                refused[path] = str(error)
                continue
            utterance = Utterance(str(path), str(path), self.language or "", "", "", "", seconds)
            if reason := self.limits.recording(utterance):
                refused[path] = reason
            else:
                utterances.append(utterance)
        if not utterances:
            return [], refused
        heard: dict[str, dict] = {}
        for language, group in self._by_language(utterances).items():
            self._adapt(language)
            for batch in self._loader(group, "Transcribing"):
                heard |= self._heard(batch, language)
        return [{"audio": u.audio, "duration": f"{u.duration:.2f}", **heard[u.ID]} for u in utterances], refused

    def _by_language(self, utterances: Sequence[Utterance]) -> dict[str, list[Utterance]]:
        """Recordings by what is spoken in them."""
        if self.language is not None:
            return {self.language: list(utterances)}
        self._adapt(None)
        spoken: dict[str, str] = {}
        for batch in self._loader(utterances, "Detecting"):
            codes = [self.brain.languages[i] for i in self._log_probs(batch).argmax(dim=1).tolist()]
            spoken |= dict(zip(batch.id, codes, strict=True))
        return {code: [u for u in utterances if spoken[u.ID] == code] for code in sorted(set(spoken.values()))}

    def _loader(self, utterances: Sequence[Utterance], what: str):
        loader = self._batches([(u, u.audio) for u in utterances], self.brain.recording(), self.workers)
        return tqdm(loader, desc=what, unit="batch")

    def _adapt(self, language: str | None) -> None:
        """Put the adapters of a detected language in; None: take all out."""
        if self.adapters is not None and self.language is None:
            self.adapters.use(language)

    def speech(self, files: Sequence[Path]) -> Found:
        """What is heard where somebody speaks in recordings of any length, see `carryover.data.speech_segments`.

        Results as of `clips`; a row has `segments` too, a list of {start, end, text} in seconds, each with its words
        where they are asked for. A language is detected in the first batch of segments, by their lengths. A
        recording in which nobody speaks has no segments, an empty text, and the reason.

        Raises
        ------
        ValueError
            For a recipe that does not hear.
        """
        if self.brain.endings != ENDINGS:
            raise ValueError("--vad: this recipe reads no audio, so there is no speech to be found in it")
        rows, refused = [], {}
        for path in tqdm(files, desc="Transcribing", unit="file"):
            try:
                rows.append({"audio": str(path), "duration": f"{self._seconds(path):.2f}"} | self._segments(path))
            except ValueError as error:
                refused[path] = str(error)
        return rows, refused

    def _segments(self, path: Path) -> dict:
        """What a row of `speech` has besides audio and duration."""
        piece = DynamicItem(["piece"], lambda piece: piece, ["wav"])
        segments: list[dict] = []
        language, found = self.language, speech_segments.find(str(path), self.limits.longest)
        while some := list(itertools.islice(found, self.batch_size)):
            pairs = []
            for segment in some:
                ID, span = f"{len(segments) + len(pairs)}", segment.end - segment.start
                pairs.append((Utterance(ID, str(path), language or "", "", "", "", span), segment.wav))
            (batch,) = self._batches(pairs, piece)
            if language is None:
                self._adapt(None)
                self._adapt(language := self._language(batch))
            heard = self._heard(batch, language)
            for segment, (utterance, _) in zip(some, pairs, strict=True):
                said = {"start": segment.start, "end": segment.end} | heard[utterance.ID]
                for word in said.get("words", ()):
                    word |= {key: round(word[key] + segment.start, 3) for key in ("start", "end")}
                segments.append(said)
        row = {"text": " ".join(segment["text"] for segment in segments if segment["text"]), "segments": segments}
        if not segments:
            row["reason"] = NO_SPEECH
        if self.language is None and language:
            row["language"] = language
        return row

    def _seconds(self, path: Path) -> float:
        """Length of a recording.

        Raises
        ------
        ValueError
            The reason to refuse it.
        """
        if audio_kinds.beside(path) and path.suffix.lower() not in self.brain.endings:
            raise ValueError(f"{NO_RECORDING}: a file with the ending '{path.suffix or path.name}'")
        require_utf8(str(path))
        return self.brain.inspect(str(path))[0]

    def _batches(self, recordings: Sequence[tuple[Utterance, object]], item: DynamicItem, workers: int = 0):
        """Batches of recordings of similar length, the longest first: where memory is short, that shows at once.

        `item` of the reading pipeline opens what stands beside each utterance: its path, or its samples.
        """
        self.brain.modules.eval()
        (name,) = item.takes
        data = {
            u.ID: {name: recording, "language": u.language, "row": vars(u) | {"id": u.ID}}
            for u, recording in sorted(recordings, key=lambda pair: -pair[0].duration)
        }
        dataset = self.brain.dataset(data, [item])
        return self.brain.make_dataloader(
            dataset, Stage.TEST, ckpt_prefix=None, batch_size=self.batch_size, num_workers=workers
        )

    def _heard(self, batch, language: str) -> dict[str, dict]:
        """Text of each recording of a batch by ID; with words and a detected language where they are asked for."""
        batch.language = [language] * len(batch)
        with torch.no_grad(), self.brain.evaluation_ctx:
            batch = batch.to(self.brain.device)
            if self.times_words:
                found = [{"text": text, "words": list(map(asdict, words))} for text, words in self.brain.words(batch)]
            else:
                found = [{"text": text} for text in self.brain.hear(batch)]
        if self.language is None:
            found = [one | {"language": language} for one in found]
        return dict(zip(batch.id, found, strict=True))

    def _language(self, batch) -> str:
        """The most probable language of a batch that is all in one."""
        seconds = torch.tensor([row["duration"] for row in batch.row])
        return self.brain.languages[int((seconds[:, None] * self._log_probs(batch)).sum(dim=0).argmax())]

    def _log_probs(self, batch) -> torch.Tensor:
        with torch.no_grad(), self.brain.evaluation_ctx:
            return self.brain.language_log_probs(batch.to(self.brain.device)).cpu()

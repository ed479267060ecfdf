"""The page of `carryover demo`: a recording in, the transcripts of one or two runs side by side out."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import kaldialign

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported and when a page is made
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio

from carryover.commands import transcription

NOTHING = "∅"  # stands where the other run has a word
OTHER, MORE, LESS = "another word", "only here", "only there"
COLOURS = {OTHER: "#d97706", MORE: "#0f766e", LESS: "#a21caf"}
MARKED = tuple[str, str | None]  # a piece of text and what it is called


@dataclass
class Heard:
    """A run that listens.

    Attributes
    ----------
    name : str
        Of its folder.
    brain, hparams
        As `carryover.commands.load.load_run` gives them.
    language : str
        What is spoken.
    vad : bool
        Whether speech is found first.
    """

    name: str
    brain: object
    hparams: dict
    language: str
    vad: bool = False

    def text(self, path: str) -> str:
        """What it writes of a recording.

        Raises
        ------
        ValueError
            With the reason to refuse it.
        """
        h = self.hparams
        listener = transcription.Listener(self.brain, h["limits"], self.language, h["eval_batch_size"])
        rows, refused = (listener.speech if self.vad else listener.clips)([Path(path)])
        if refused:
            hint = "; start the page with --vad" if not self.vad and "longer than" in refused[Path(path)] else ""
            raise ValueError(f"{self.name}: {refused[Path(path)]}{hint}")
        return rows[0]["text"]


def marked(own: str, other: str) -> list[MARKED]:
    """Words of a text, those named that another text has otherwise; a word that it lacks is `NOTHING`.

    Example
    -------
    >>> marked("de kat zit", "de kat zat hier")
    [('de ', None), ('kat ', None), ('zit ', 'another word'), ('∅ ', 'only there')]
    """
    found: list[MARKED] = []
    for mine, its in kaldialign.align(own.split(), other.split(), NOTHING):
        name = None if mine == its else LESS if mine == NOTHING else MORE if its == NOTHING else OTHER
        found.append((f"{mine} ", name))
    return found


def transcripts(runs: Sequence[Heard], path: str | None) -> list[list[MARKED]]:
    """What each run writes of a recording, marked where there are two.

    Raises
    ------
    gradio.Error
        Which the page shows: without a recording, and for one that is refused.
    """
    if path is None:
        raise gradio.Error("Speak or upload a recording first")
    try:
        texts = [run.text(path) for run in runs]
    except ValueError as error:
        raise gradio.Error(str(error)) from None
    if len(texts) == 1:
        return [[(texts[0], None)]]
    return [marked(*texts), marked(*reversed(texts))]


def made(runs: Sequence[Heard]) -> gradio.Blocks:
    """The page."""
    with gradio.Blocks(title="carryover demo", analytics_enabled=False) as blocks:
        # gradio's own button "share" would send the recording to a public place
        recording = gradio.Audio(
            sources=["upload", "microphone"], type="filepath", label="Recording", buttons=["download"]
        )
        button = gradio.Button("Transcribe", variant="primary")
        with gradio.Row():
            out = [
                gradio.HighlightedText(
                    label=f"{run.name} ({run.language})", color_map=COLOURS, show_legend=len(runs) > 1,
                    combine_adjacent=False, elem_id=f"run{n}",
                )
                for n, run in enumerate(runs, start=1)
            ]  # fmt: skip

        def hear(path: str | None):
            found = transcripts(runs, path)
            return found if len(found) > 1 else found[0]

        button.click(hear, recording, out, api_name="hear")
    return blocks


@contextmanager
def served(runs: Sequence[Heard], host: str, port: int) -> Iterator[gradio.Blocks]:
    """The page can be opened within it; then recordings are removed.

    Nothing is loaded from elsewhere: fonts are the machine's, telemetry and sharing are off.
    """
    theme = gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    # a folder of its own, or recordings would outlive the command
    with tempfile.TemporaryDirectory(prefix="carryover_demo_") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        blocks = made(runs)
        blocks.launch(
            server_name=host, server_port=port, share=False, prevent_thread_lock=True, quiet=True, theme=theme,
            footer_links=[], ssr_mode=False, enable_monitoring=False, inbrowser=False, max_file_size="500mb",
        )  # fmt: skip
        try:
            yield blocks
        finally:
            blocks.close(verbose=False)


def serve(runs: Sequence[Heard], host: str, port: int) -> None:
    """Show the page until Ctrl-C."""
    with served(runs, host, port):
        while True:
            time.sleep(1)

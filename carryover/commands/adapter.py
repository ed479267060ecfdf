"""`--adapter` of `carryover transcribe` and `evaluate`: which adapters are heard, by language."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from carryover.data import manifest as rows
from carryover.data.table import found_at
from carryover.models.languages import language_of_model

OPTION = typer.Option(
    [],
    "--adapter",
    help="Adapters to use: FOLDER (an adapter's, an export's or a run's), LANGUAGE=FOLDER once for each language, or "
    "none (the base alone); default: the run's own",
)
NONE = "none"
EVERY = ""  # the language of adapters that are used whatever is spoken


def asked(words: Sequence[str]) -> dict[str, Path | None]:
    """What --adapter says: folder by language, None for the base; {} where it was not given.

    Raises
    ------
    FileNotFoundError
        For a folder that is not there.
    ValueError
        For words that contradict each other.
    """
    found: dict[str, Path | None] = {}
    for word in words:
        named = None if Path(word).exists() else re.fullmatch(r"([A-Za-z]{2,3}(?:-\w+)*)=(.+)", word)
        language, folder = named.groups() if named else (EVERY, word)
        if language in found:
            what = f"'{language}' is given twice" if named else "only one can be used for all languages"
            raise ValueError(f"--adapter {word}: {what}; give LANGUAGE=FOLDER once for each language")
        found[language] = None if folder == NONE else Path(folder)
    if EVERY in found and len(found) > 1:
        raise ValueError("--adapter: one without a language beside others; give LANGUAGE=FOLDER for each")
    for folder in found.values():
        if folder is not None and not folder.is_dir():
            raise FileNotFoundError(f"--adapter {folder}: {found_at(folder)}; expected an adapter's folder")
    return found


class Adapters:
    """The adapters that are asked for, in the model of a run.

    Parameters
    ----------
    brain : carryover.training.brain.RecipeBrain
        With the weights to be used loaded.
    asked : dict
        Of `asked`.

    Raises
    ------
    ValueError
        For a recipe whose model takes none, and adapters of another base.
    """

    def __init__(self, brain, asked: Mapping[str, Path | None]):
        self.brain, self.asked = brain, asked
        self.names: dict[str, str] = {}  # of the adapters that each set was scored with
        if not asked:
            return
        from carryover.models.adapters import Bank

        if brain.adaptable is None:
            raise ValueError(f"--adapter: a {type(brain).__name__} takes none; Whisper and CTC models do")
        brain.hparams.kept.precision = None  # states that are kept on disk are the run's own
        self.base = brain.base_head()
        self.bank = Bank(brain.adaptable)
        self.heads = {name: brain.head_of(self.bank.add(name, path)) for name, path in asked.items() if path}
        brain.modules.eval()

    def use(self, language: str | None) -> str:
        """Have the adapters of a language heard, or the base where it has none (None: the base); -> their name: "none",
        a language, or "" where they are for all languages, or none were asked for.

        Raises
        ------
        ValueError
            For a base that has no head.
        """
        if not self.asked:
            return EVERY
        name = self._named(language)
        path = None if language is None else self.asked.get(name)
        self.bank.use(None if path is None else name)
        head = self.heads.get(name) or self.base
        if head is not None:
            self.brain.use_head(*head)
        said = f"none for {language}, the base answers" if path is None else f"{path} for {name or 'all languages'}"
        if language is not None:
            typer.echo(f"adapter: {said}", err=True)
        return NONE if path is None else name

    def _named(self, language: str | None) -> str | None:
        """What the adapters of a language are called: those of "de" are for "de-AT", too, where it has none."""
        if EVERY in self.asked or language is None:
            return EVERY if EVERY in self.asked else None
        return language_of_model(language, self.asked) or language

    def use_for(self, manifest: Path, name: str) -> str:
        """The same for a set, by the language of its rows; -> what its predictions are called by.

        Raises
        ------
        ValueError
            For a set of several languages, where adapters are given for single ones.
        """
        if not self.asked:
            return "evaluate"
        languages = sorted({row["language"] for row in rows.load(manifest).values()})
        if len(languages) > 1 and EVERY not in self.asked:
            raise ValueError(
                f"--adapter: {name} holds {' and '.join(languages)}, and adapters are given for single languages; "
                "give a list for each language (--test)"
            )
        self.names[name] = self.use(languages[0])
        return f"adapter-{self.names[name]}" if self.names[name] else "adapter"

    def said(self) -> str:
        """A sentence for the table of `carryover evaluate`; "" where nothing was asked for."""
        if not self.asked:
            return ""
        return (
            f"\n\nAdapters: {'; '.join(f'{name}: {used or self.asked[EVERY]}' for name, used in self.names.items())}."
        )

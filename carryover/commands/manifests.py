"""A run folder's manifests as commands read them: the recordings they name lie below the run's data folders."""

from dataclasses import dataclass
from pathlib import Path

from carryover.data import manifest
from carryover.data.home import below
from carryover.report.settings_reader import data_roots


@dataclass(frozen=True)
class Manifests:
    """The manifests of a run folder, perhaps a stranger's: no command reads what one of them names but through here.

    Attributes
    ----------
    run : Path
        The run's folder.
    trusted : bool
        Recordings may lie anywhere.
    """

    run: Path
    trusted: bool = False

    @property
    def folder(self) -> Path:
        return self.run / "manifests"

    def path(self, language: str, split: str) -> Path:
        """A manifest.

        Raises
        ------
        FileNotFoundError
            Where it is not there.
        ValueError
            Where it names a recording outside of the run's data folders, or is not as the run wrote it.
        """
        path = self.folder / language / f"{split}.csv"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; repeat the run's command, which makes it")
        if not self.trusted:
            require_below(path, self.run)
            manifest.require_as_written(path)
        return path

    def tests(self) -> dict[str, Path]:
        """The test manifest of each language, by its name; raises as `path`."""
        languages = sorted(path.parent.name for path in self.folder.glob("*/test.csv"))
        return {language: self.path(language, "test") for language in languages}


def require_below(path: Path, run: Path) -> None:
    """Raise ValueError where a manifest names a recording outside of the data folders of a run."""
    roots = data_roots(run)
    for ID, row in manifest.load(path).items():
        if not below(row["audio"], roots):
            raise ValueError(
                f"{path}: '{row['audio']}' of ID '{ID}' does not lie below the run's data_folder "
                f"({', '.join(map(str, roots)) or 'none'}); if the list is your own, give --trust"
            )


def run_of(path: Path) -> Path | None:
    """The run folder that a manifest lies in; None for a list of one's own."""
    return next((folder for folder in path.resolve().parents[:3] if (folder / "as_written.yaml").is_file()), None)

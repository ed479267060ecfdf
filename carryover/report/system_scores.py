"""Error rates of several systems on one test set, from the predictions of their runs."""

from collections.abc import Mapping, Sequence

import numpy as np

from carryover.report.run_folder import Run, same_normaliser
from carryover.stats import error_rates
from carryover.stats.systems import Systems
from carryover.stats.units import units


class Scores:
    """WER and CER of several systems on one test set, from the predictions of their runs.

    Parameters
    ----------
    language : str
        Language of the test set.
    systems : dict
        Runs of a system, one a seed, by (method, weights).
    resamples, seed : int
        Of the bootstrap.

    Attributes
    ----------
    WER, CER : Systems
    units : Units
        What of the test set is independent.

    Raises
    ------
    ValueError
        When two runs were tested on different utterances or references, or scored under different normalisers.
    """

    def __init__(self, language: str, systems: Mapping[tuple[str, str], Sequence[Run]], resamples: int, seed: int):
        first, references, rows = None, {}, []
        errors = {"errors": {}, "character_errors": {}}
        for key, runs in systems.items():
            columns = {kind: [] for kind in errors}
            for run in runs:
                found = run.predictions(language, key[1])
                words = {name: (p.words, p.characters) for name, p in found.items()}
                if first is None:
                    first, references = run, dict(sorted(words.items()))
                    rows = [found[name] for name in references]
                same_normaliser(first, run)
                if references != words:
                    other = sum(references.get(name) != n for name, n in words.items())
                    raise ValueError(
                        f"{run.folder}: its {language} test set is not that of {first.folder}: {len(words)} "
                        f"utterances against {len(references)}, {other} of them unknown there or with other "
                        "references; systems are compared on one test set only"
                    )
                for kind, column in columns.items():
                    column.append([getattr(found[name], kind) for name in references])
            for kind, column in columns.items():
                errors[kind][key] = np.array(column).T
        self.units = units([row.speaker for row in rows], [row.words for row in rows])
        seeds = {key: [run.seed for run in runs] for key, runs in systems.items()}
        spoken = error_rates.language_of([row._asdict() for row in rows])
        self.WER, self.CER = (
            Systems(spoken, [getattr(row, total) for row in rows], errors[kind], seeds, self.units, resamples, seed)
            for kind, total in (("errors", "words"), ("character_errors", "characters"))
        )

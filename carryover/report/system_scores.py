"""WER of several systems on one test set, from the predictions of their runs."""

from collections.abc import Mapping, Sequence

import numpy as np

from carryover.report.run_folder import Run, same_normaliser
from carryover.stats import error_rates
from carryover.stats.systems import Systems


class Scores(Systems):
    """WER of several systems on one test set, from the predictions of their runs.

    Parameters
    ----------
    language : str
        Language of the test set.
    systems : dict
        Runs of a system, one a seed, by (method, weights).
    resamples, seed : int
        Of the bootstrap.

    Raises
    ------
    ValueError
        When two runs were tested on different utterances or references, or scored under different normalisers.
    """

    def __init__(self, language: str, systems: Mapping[tuple[str, str], Sequence[Run]], resamples: int, seed: int):
        errors, first, references = {}, None, {}
        self.CER, self.speakers = {}, set()
        for key, runs in systems.items():
            characters, columns = np.zeros(2), []
            for run in runs:
                found = run.predictions(language, key[1])
                words = {name: p.words for name, p in found.items()}
                if first is None:
                    first, references, spoken = (
                        run,
                        dict(sorted(words.items())),
                        error_rates.language_of([p._asdict() for p in found.values()]),
                    )
                same_normaliser(first, run)
                if references != words:
                    other = sum(references.get(name) != n for name, n in words.items())
                    raise ValueError(
                        f"{run.folder}: its {language} test set is not that of {first.folder}: {len(words)} "
                        f"utterances against {len(references)}, {other} of them unknown there or with other "
                        "references; systems are compared on one test set only"
                    )
                columns.append([found[name].errors for name in references])
                characters += np.sum([(p.character_errors, p.characters) for p in found.values()], axis=0)
                self.speakers |= {p.speaker for p in found.values()}
            errors[key] = np.array(columns).T
            self.CER[key] = 100 * characters[0] / characters[1]
        seeds = {key: [run.seed for run in runs] for key, runs in systems.items()}
        super().__init__(spoken, list(references.values()), errors, seeds, resamples, seed)

"""The short form of `carryover check`, which train.py prints before the first update of a run."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from carryover.checks import memory, rules
from carryover.checks.facts import Facts, refused

# What the run's own flags say.
LEFT_OUT = ("texts_in_training", "speakers_in_training", "test_set_incomplete")


def say(experiment, brain, manifests: Path, train, valid: Mapping, tests: Mapping, out: Callable = print) -> None:
    """Print what a run is about to do and the warnings of the rules; nothing is read, decoded or drawn.

    Parameters
    ----------
    experiment : carryover.experiment.Experiment
    brain : carryover.training.brain.RecipeBrain
    manifests : Path
        The run's folder of manifests.
    train, valid, tests : DynamicItemDataset, dict, dict
        Datasets that the run reads anyway; those that are scored by language.
    out : callable
        Gets the lines.
    """
    rows = defaultdict(dict)
    for split, sets in (("train", {experiment.values["language"]: train}), ("valid", valid), ("test", tests)):
        for language, dataset in sets.items():
            rows[language][split] = list(dataset.data.values())
    facts = Facts(experiment, brain, rows, refused(manifests, rows))
    out("\n".join(lines(facts)))


def lines(facts: Facts) -> list[str]:
    """The block's lines: length, parameters, memory, one for each finding."""
    hours = sum(float(row["duration"]) for row in facts.train) / 3600
    trained, every = facts.parameters
    found = [
        f"Check: {facts.updates} updates of {facts.batch} are {facts.epochs:.1f} epochs of {len(facts.train)} "
        f"utterances ({hours:.2f} h); {trained:,} of {every:,} parameters are trained",
        f"  memory: {memory.said(memory.parts(facts.brain))}",
    ]
    for area, of_area in rules.RULES.items():
        for rule in of_area:
            if rule.__name__ not in LEFT_OUT and (one := rule(facts)):
                name = rule.__name__.replace("_", " ")
                found.append(f"  {one.verdict}  {area}: {name}: {one.evidence}; {one.advice}")
    return [*found, "  `carryover check` says more, with --measure the time and the memory that it will take"]

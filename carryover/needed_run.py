"""The run whose result another one starts from (`run_first`): made where it is not there, or not whole."""

import subprocess
import sys
from pathlib import Path

from carryover import checksums, processes
from carryover.config import given, run_first, settings
from carryover.runs import lock
from carryover.training import stopping

CORPUS = ("data_folder", "language", "glosses", "layout", "fps", "differences")  # keys that say what is learned from
SAME = ("max_updates", "corpus", "sample", "sample_seed", "workers", "metadata_limits")  # of the run that is needed


def make(path: str, values: dict, asked: dict[str, str], run_options: dict) -> None:
    """Make the run whose result this one starts from (the YAML's `run_first`), where it is not there.

    It gets this run's seed for it (`pretrain_seed`) and output root, and what the command line says of
    max_updates, of SpeechBrain's options, and of the corpus: the old language's, or its own without an old one.
    What its YAML leaves open (null) it gets in any case.

    Raises
    ------
    ValueError
        Where its YAML leaves the corpus open, and this one is to keep an old language that is not given.
    """
    model = run_first.model(values)
    if model is None or (Path(model).exists() and not (broken := checksums.faults(model))):
        return
    its_values = settings.resolved(Path(values["run_first"]).read_text(encoding="utf-8"), {})
    if its_values["data_folder"] is None and values["old_splits"] and not values["old_language"]:
        raise ValueError(
            f"old_language: give it and old_data_folder, at the top of {path} or on the command line: "
            f"{values['run_first']} is run first, on that language; or give another model, --model FOLDER"
        )
    found = f"is not whole: {'; '.join(broken)}" if Path(model).exists() else "is not there"
    print(f"{model} {found}; running {values['run_first']} first, which makes it", flush=True)
    argv = [values["run_first"], "--seed", values["pretrain_seed"], "--output_root", values["output_root"]]
    corpus = {"old_data_folder": "data_folder"} if values["old_language"] else {key: key for key in CORPUS}
    for mine, its in ({key: key for key in SAME} | corpus).items():
        argv += [f"--{its}", given.as_argument(asked[mine])] if mine in asked else []
    for its in ("data_folder", "language"):
        if its_values[its] is None and f"--{its}" not in argv:
            argv += [f"--{its}", values[f"old_{its}" if values["old_language"] else its]]
    for key, value in run_options.items():
        argv += [f"--{key}", value]
    command = [sys.executable, "train.py", *map(str, argv)]
    child = subprocess.Popen(
        command, env=processes.environment(), start_new_session=True, preexec_fn=lock.dies_with_parent()
    )
    try:
        status = child.wait()
    except stopping.Stopped as stop:  # it saves and stops, too; in a session of its own it is told only here
        child.send_signal(stop.number)
        child.wait()
        raise
    if status:
        raise subprocess.CalledProcessError(status, child.args)
    if not Path(model).exists():
        raise FileNotFoundError(f"run_first: {values['run_first']} has been run and made no {model}")

"""A run folder: what was asked for, on what, with what; enough to get from any digit back to the run that made it."""

import importlib.metadata
import inspect
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from ruamel.yaml.error import YAMLError

from carryover import files, processes, seals
from carryover.config import differences, settings
from carryover.data import manifest
from carryover.data.home import with_home
from carryover.data.table import found_at
from carryover.runs import events
from carryover.runs.privacy import clean, portable

PACKAGES = (
    "carryover", "torch", "torchaudio", "speechbrain", "transformers", "hyperpyyaml", "jiwer", "soundfile",
    "espeakng-loader", "numpy", "tokenizers",
)  # fmt: skip
AS_WRITTEN, OVERRIDES, RESOLVED = "as_written.yaml", "overrides.yaml", "hyperparams.yaml"
WRITTEN = (AS_WRITTEN, OVERRIDES, RESOLVED)  # before anything is prepared


def create(folder: str | Path, path: str, overrides: dict[str, str], brain: type, argv: list[str]) -> Path:
    """Make the run folder and write what is known before anything is prepared; the caller holds its lock.

    Writes the YAML as written, the overrides, the resolved YAML (to be read, not to be rerun: its references are
    gone), a copy of the recipe's source (a record, never executed) and run.json, whose command has neither tokens nor
    homes: the folder may be handed on.

    Raises
    ------
    SettingsError
        When the folder holds another experiment: other values would be logged into its files.
    """
    folder = Path(folder)
    text, overrides = _kept(Path(path).read_text(encoding="utf-8"), overrides)
    require_same_settings(folder, text, overrides)
    folder.mkdir(parents=True, exist_ok=True)
    for place in (folder, *folder.rglob("*/")):  # save/ and carried/, too; a link may lead out of it
        if not place.is_symlink():
            files.remove_partial(place)
    info = {
        "command": clean(shlex.join(["python", *argv])),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "versions": versions(),
        **commit(),
        "hardware": hardware(),
        "settings": differences.digest(text, overrides),
        "files": None,
    }
    # first: after a kill among the files below, it says that this command's settings are the run's
    write_info(folder, info)
    files.write(folder / AS_WRITTEN, text)
    files.write(folder / OVERRIDES, settings.override_text(overrides))
    files.write(folder / RESOLVED, portable(settings.resolved_text(text, overrides)))
    source = inspect.getsourcefile(brain)
    files.copy(source, folder / Path(source).name)
    write_info(folder, {"files": seals.of(folder, WRITTEN)})
    return folder


def begun(folder: str | Path) -> bool:
    """Whether a run has a checkpoint, from which it goes on."""
    return any(Path(folder).glob("save/CKPT+*"))


def require_same_settings(folder: Path, text: str, overrides: dict[str, str]) -> None:
    """Compare the settings of a run that is there with those asked for; what may differ is said.

    Raises
    ------
    SettingsError
        When others differ, naming each with both values; and when a run has begun and the files that hold its settings
        are damaged, unless run.json says that they are these.
    """
    text, overrides = _kept(text, overrides)
    recorded = read_info(folder).get("settings")
    if not (folder / AS_WRITTEN).exists() and not begun(folder):
        return
    if recorded == differences.digest(text, overrides):
        return  # a damaged file is written again
    try:
        there = _kept((folder / AS_WRITTEN).read_text(encoding="utf-8"), read_overrides(folder))
        was = differences.plain(*there)
        whole = recorded in (None, differences.digest(*there))  # None: an earlier version's
    except (OSError, ValueError, AttributeError, YAMLError):
        whole = False
    if not whole and not begun(folder):
        print(f"{folder}: {AS_WRITTEN} or {OVERRIDES} is damaged; nothing was learned yet, so the run begins anew")
        return
    if not whole:
        raise settings.SettingsError(
            f"{folder}: {AS_WRITTEN} or {OVERRIDES} is damaged or gone, and run.json does not say that this command's "
            "settings are the run's. Repeat the run's own command (run.json has it), which writes them again; or start "
            "a new run with --output_folder or --seed"
        )
    found = differences.differences(was, differences.plain(text, overrides))
    log = folder / "metrics.jsonl"
    tested = log.exists() and b'"weights": "before"' in log.read_bytes()
    free = differences.harmless(found, tested) | (more := differences.longer(found)).keys()
    if bad := {key: values for key, values in found.items() if key not in free}:
        raise settings.SettingsError(
            f"{folder} holds a run with other settings: {clean(differences.said(bad))}. To continue that run, repeat "
            "its command; to train it on, give more max_updates (or epochs, where these decide); to start a new one, "
            "give --output_folder or --seed, or delete the folder"
        )
    if more:
        line = f"trained on: {differences.said(more)}"
        print(f"{folder} is {line}; rates follow the longer schedule from here on, those before are what they were")
        info = read_info(folder)
        planned = [*info.get("planned_before", []), {key: int(was) for key, (was, _) in more.items()}]
        write_info(folder, {"changes": [*info.get("changes", []), [line]], "planned_before": planned})
    if rest := {key: values for key, values in found.items() if key not in more}:
        print(f"{folder} goes on with other settings, which its training does not read: {differences.said(rest)}")


def _kept(text: str, overrides: dict[str, str]) -> tuple[str, dict[str, str]]:
    """A YAML and its overrides as a run folder keeps them: without tokens, `~` for the home folder."""
    return portable(text), _by_key(portable(settings.override_text(overrides)))


def read_overrides(folder: Path) -> dict[str, str]:
    """The overrides of a run, YAML text by key.

    Raises
    ------
    SettingsError
        For a file that is no YAML, or holds other lines than `key: value`.
    """
    text = settings.read(folder / OVERRIDES)
    if wrong := [line for line in text.splitlines() if line and ": " not in line]:
        raise settings.SettingsError(f"{folder / OVERRIDES}: '{wrong[0]}': expected lines of 'key: value'")
    return _by_key(text)


def _by_key(lines: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in lines.splitlines() if line)


def read_info(folder: str | Path) -> dict:
    """What run.json says; a damaged one is set aside as run.json.damaged, which is said."""
    file, what = Path(folder) / "run.json", "no JSON object"
    try:
        found = json.loads(file.read_bytes())
        if isinstance(found, dict) and not seals.broken(found):
            return found
        what = "changed since the run wrote it" if isinstance(found, dict) else what
    except FileNotFoundError:
        return {}
    except (ValueError, IsADirectoryError):
        pass
    aside = file.with_name("run.json.damaged")
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    os.replace(file, aside)
    print(
        f"{file} is damaged ({aside.stat().st_size} bytes, {what}). It is kept as "
        "run.json.damaged and written anew; what it said of earlier starts (commit, versions, starting weights) is not "
        "compared this time"
    )
    return {}


def changed(was: dict, now: dict) -> list[str]:
    """What two states of run.json say differently of code and machine, a line each: it may change the last digits."""
    lines = []
    for key in ("commit", "dirty", "python", "device", "versions", "hardware"):
        if key not in was or key not in now:
            continue
        parts = (was[key], now[key]) if isinstance(was[key], dict) else ({key: was[key]}, {key: now[key]})
        lines += [f"{k}: {parts[0].get(k)} then, {v} now" for k, v in parts[1].items() if parts[0].get(k) != v]
    return lines


def finish(folder: Path, results: list[list[str]]) -> None:
    """Write into run.json that the run is finished, with its tests, [set, weights] each, and what its files are."""
    names = [f"predictions_{name}_{weights}.csv" for name, weights in results]
    found = seals.of(folder, [*WRITTEN, "metrics.jsonl", "results.md", *names])
    write_info(folder, {"finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "tests": results, "files": found})


def finished(folder: str | Path) -> bool:
    """Whether a run went through: run.json says so, and the log and the predictions of all its tests are there."""
    folder = Path(folder)
    try:
        info = json.loads((folder / "run.json").read_bytes())
        if not info.get("finished") or not (folder / "results.md").stat().st_size:
            return False
        tests = {(e["set"], e["weights"]) for e in events.read(folder / "metrics.jsonl") if e["event"] == "test"}
        wanted = {(name, weights) for name, weights in info["tests"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return wanted <= tests and all((folder / f"predictions_{name}_{w}.csv").exists() for name, w in wanted)


def write_info(folder: str | Path, values: dict) -> None:
    """Add values to run.json."""
    processes.first_does(lambda: files.write_json(Path(folder) / "run.json", seals.sealed(read_info(folder) | values)))


def data_digests(manifests: Path) -> dict[str, dict]:
    """Digest, counts and hours of every manifest folder of a run, by its name."""
    found = {folder.name: manifest.read_done(folder) for folder in sorted(manifests.iterdir())}
    return {name: {k: done[k] for k in ("digest", "counts", "hours")} for name, done in found.items() if done}


def versions() -> dict[str, str]:
    """Installed versions of the packages that decide a result."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit() -> dict:
    """Commit of the checkout and whether files differ from it; None outside a git checkout."""

    def git(*words):
        return subprocess.run(["git", *words], capture_output=True, text=True, timeout=30, cwd=Path(__file__).parent)

    try:
        head = git("rev-parse", "HEAD")
        dirty = git("status", "--porcelain", "--untracked-files=no")
    except OSError:
        return {"commit": None, "dirty": None}
    if head.returncode:
        return {"commit": None, "dirty": None}
    return {"commit": head.stdout.strip(), "dirty": bool(dirty.stdout.strip())}


def hardware() -> dict:
    """What the run ran on; no host name."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
        cpu = names[0] if names else cpu
    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "threads": torch.get_num_threads(), "gpus": cuda, "platform": sys.platform}  # fmt: skip


def load(folder: str | Path, trusted: bool = False) -> dict:
    """Make the objects of a finished or stopped run again, from its YAML as written and its overrides.

    Of a folder that is not `trusted` only objects that carryover.config.trust lists are made, and no link in it leads
    out of it. No dashboard is told of what is done with a run afterwards.

    The resolved hyperparams.yaml is not used: with its references gone, another output_folder would not reach all
    places. Nothing is written into the run's folder by loading it.

    Raises
    ------
    FileNotFoundError
        When the folder is not a run folder.
    ValueError
        When its YAML cannot be read, or asks for what is not listed; when a link leads out of it.
    """
    folder = Path(folder)
    missing = [name for name in (AS_WRITTEN, OVERRIDES, "save") if not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"{folder} is no run folder: {', '.join(missing)} missing, it {found_at(folder)}; "
            "expected a folder that train.py made, e.g. results/whisper_ft/1234"
        )
    if not trusted:
        require_own_files(folder)
        require_as_written(folder)
    text = with_home(settings.read(folder / AS_WRITTEN))
    if not text.strip():
        raise ValueError(f"{folder / AS_WRITTEN} is empty; repeat the run's command, which writes it again")
    settings.require_present_keys(text)
    overrides = {key: with_home(value) for key, value in read_overrides(folder).items()}
    overrides["output_folder"] = str(folder)
    if "tracker" in settings.tree(text):
        overrides["tracker"] = "!new:carryover.runs.trackers.NoTracker"
    hparams = settings.load(text, overrides, where=None if trusted else str(folder / AS_WRITTEN))
    settings.require_values(text, overrides, path=str(folder / AS_WRITTEN))  # of what is trusted by now
    return hparams


def require_as_written(folder: Path) -> None:
    """Raise ValueError where the files that hold a run's settings are not as the run wrote them."""
    try:
        recorded = json.loads((folder / "run.json").read_bytes())["files"]
        lines = seals.changed(folder, {name: recorded[name] for name in (AS_WRITTEN, OVERRIDES)})
    except (OSError, ValueError, KeyError, TypeError):  # of an earlier version, or damaged: nothing to compare with
        return
    if lines:
        raise ValueError(
            f"{folder}: {'; '.join(lines)}. Repeat the run's command, which writes it again, or give --trust where you "
            "changed it yourself"
        )


def require_own_files(folder: Path) -> None:
    """Raise ValueError where a link in a run folder leads out of it: what is read or written there is not the run's."""
    home = folder.resolve()
    if Path.cwd().resolve().is_relative_to(home):  # its recipes/ and local/ would be imported
        raise ValueError(f"{folder}: the command was given inside of the run folder; give it in the checkout's root")
    for path in home.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(home):
            raise ValueError(
                f"{folder / path.relative_to(home)}: a link that leads out of the run folder; replace it by the file "
                "itself, or give --trust where you made the link yourself"
            )

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

from carryover.config import settings
from carryover.data import manifest
from carryover.data.home import with_home
from carryover.data.table import found_at
from carryover.runs.privacy import clean, portable

PACKAGES = (
    "carryover", "torch", "torchaudio", "speechbrain", "transformers", "hyperpyyaml", "jiwer", "soundfile",
    "espeakng-loader", "numpy", "tokenizers",
)  # fmt: skip
AS_WRITTEN, OVERRIDES, RESOLVED = "as_written.yaml", "overrides.yaml", "hyperparams.yaml"


def create(folder: str | Path, path: str, overrides: dict[str, str], brain: type, argv: list[str]) -> Path:
    """Make the run folder and write what is known before anything is prepared.

    Writes the YAML as written, the overrides, the resolved YAML (to be read, not to be rerun: its references are
    gone), a copy of the recipe's source (a record, never executed) and run.json, whose command has neither tokens nor
    homes: the folder may be handed on.

    Raises
    ------
    SettingsError
        When the folder holds another experiment: other values would be logged into its files.
    """
    folder = Path(folder)
    text = portable(Path(path).read_text(encoding="utf-8"))
    asked = portable(settings.override_text(overrides))
    for name, now in ((AS_WRITTEN, text), (OVERRIDES, asked)):
        before = folder / name
        if before.exists() and portable(before.read_text(encoding="utf-8")) != now:
            raise settings.SettingsError(
                f"{folder} holds a run with other settings ({name} differs). To continue that run, repeat its command; "
                "to start a new one, give --output_folder or --seed, or delete the folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / AS_WRITTEN).write_text(text, encoding="utf-8")
    (folder / OVERRIDES).write_text(asked, encoding="utf-8")
    (folder / RESOLVED).write_text(portable(settings.resolved_text(text, overrides)), encoding="utf-8")
    shutil.copy(inspect.getsourcefile(brain), folder)
    info = {
        "command": clean(shlex.join(["python", *argv])),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "versions": versions(),
        **commit(),
        "hardware": hardware(),
    }
    write_info(folder, info)
    return folder


def write_info(folder: str | Path, values: dict) -> None:
    """Add values to run.json."""
    file = Path(folder) / "run.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps(known | values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


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
    text = with_home(settings.read(folder / AS_WRITTEN))
    settings.require_present_keys(text)
    asked = with_home(settings.read(folder / OVERRIDES)).splitlines()
    if wrong := [line for line in asked if line and ": " not in line]:
        raise settings.SettingsError(f"{folder / OVERRIDES}: '{wrong[0]}': expected lines of 'key: value'")
    overrides = dict(line.split(": ", 1) for line in asked if line) | {"output_folder": str(folder)}
    if "tracker" in settings.tree(text):
        overrides["tracker"] = "!new:carryover.runs.trackers.NoTracker"
    return settings.load(text, overrides, where=None if trusted else str(folder / AS_WRITTEN))


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

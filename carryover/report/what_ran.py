"""What was done against forgetting in a run, by its settings: the name of its method, whatever its folder is called."""

import re
from collections.abc import Iterable, Mapping, Sequence

from carryover.report.log_reader import to_float
from carryover.report.summary import Summary

KEYS = ("forgetting", "penalty", "distillation", "replay", "averaging")  # the last four in early versions
# Words of a folder's name that say what was done. Averages are made after training and have rows of their own, so a run
# that tests them beside is "plain" all the same.
WORDS = (
    "agem", "averaging", "der", "ewc", "joint", "l2sp", "lwf", "mas", "new_only", "online_ewc", "plain",
    "pseudo_replay", "replay", "si",
)  # fmt: skip
NOTHING = {"plain", "averaging"}
CLASS = re.compile(r"!new:[\w.]*?(\w+)(?=[\s{\],]|$)")


def methods_of(run: Summary) -> set[str] | None:
    """Names of the methods that a run trained with, e.g. {"ewc", "replay"}; None where its settings do not say.

    Replay of all that is old is "joint"; random weights keep nothing: "new_only".
    """
    given = [key for key in KEYS if key in run.objects or key in run.settings]
    if not given:
        return None
    found = set()
    for key in given:
        named = {word(name) for name in CLASS.findall(run.objects.get(key, ""))}
        found |= named if key == "forgetting" else named & set(WORDS)  # a student's distillation is against nothing
    found -= NOTHING
    if joint(run):
        found = found - {"replay"} | {"joint"}
    if run.settings.get("from_scratch") is True and run.old_language:
        found |= {"new_only"}
    return found


def joint(run) -> bool:
    """Whether all of the other language is trained on beside the new one: that is no replay."""
    for key in ("forgetting", "replay"):
        if share := re.search(r"Replay \{[^}]*\bshare: ([^,}]+)", run.objects.get(key, "")):
            name = re.fullmatch(r"!ref <(\w+)>", share[1].strip())
            return to_float(run.settings.get(name[1]) if name else share[1]) == 1
    return False


def word(name: str) -> str:
    """A class's name in small letters: OnlineEWC is online_ewc, L2SP l2sp, LwF lwf, NoReplay no_replay."""
    return re.sub(r"(?<=[a-z])(?=[A-Z][A-Za-z])", "_", name).lower()


def said_by(name: str, more: Iterable[str] = ()) -> set[str]:
    """Methods, of `WORDS` and `more`, that a folder's name names: "preset=ewc,lambda=10" names ewc."""
    text = "_" + re.sub(r"[^a-z0-9]+", "_", name.lower().replace("-", "")) + "_"
    found = set()
    for known in sorted({*WORDS, *more}, key=len, reverse=True):  # online_ewc names no ewc
        if f"_{known}_" in text:
            found.add(known)
            text = text.replace(f"_{known}_", "__")
    return found


def by_method(named: Mapping[str, Sequence[Summary]]) -> dict[str, Sequence[Summary]]:
    """Groups of runs under the names of what ran.

    A folder's name stays where it names what ran, or no method where nothing was done; else the group is called by
    its methods, and by its folder in brackets where that names none or two groups would be called the same.
    """
    found = {}
    for name, runs in named.items():
        ran = [methods_of(run) for run in runs]
        if None in ran:  # settings of a folder that was cut off
            found[name] = name
            continue
        said = said_by(name, set().union(*ran))
        method = " or ".join(sorted({"+".join(sorted(one)) or "plain" for one in ran}))  # seeds ought to be alike
        if all(said - NOTHING == one for one in ran) or (ran == [{"new_only"}] * len(ran) and not said):
            found[name] = name
        else:
            found[name] = method if said else f"{method} ({name})"
    used = list(found.values())
    twice = {called for called in used if used.count(called) > 1}
    return {
        (f"{called} ({name})" if called in twice and called != name else called): named[name]
        for name, called in found.items()
    }

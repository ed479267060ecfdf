"""The plan of a sequence: languages in their order, what the first one is known from, and the methods."""

from dataclasses import dataclass
from pathlib import Path

from carryover.commands import plan_file
from carryover.commands.study.plan import text_of
from carryover.config.settings import SettingsError

KEYS = {"experiment", "first", "sequence", "data", "common", "alone", "seeds", "methods"}


@dataclass(frozen=True)
class Plan:
    """What a sequence runs.

    Attributes
    ----------
    experiment : str
        The YAML of all stages but the first.
    first : str
        The YAML of the run that learns the first language, or a model that knows it.
    first_common : dict
        {key: value as YAML text} of that run.
    sequence : tuple of str
        Languages in the order in which they are learned.
    data : dict
        {language: its data folder}.
    common : dict
        {key: value as YAML text} of every stage but the first.
    alone : bool
        Whether each language is also learned from the first stage's model alone, without the others and without a
        method: the reference of forward transfer.
    seeds : tuple of int
    methods : dict
        {name: {key: value as YAML text}}; `first` among the keys: {key: value} of the method's own first stage.
    """

    experiment: str
    first: str
    first_common: dict[str, str]
    sequence: tuple[str, ...]
    data: dict[str, str]
    common: dict[str, str]
    alone: bool
    seeds: tuple[int, ...]
    methods: dict[str, dict]

    @property
    def trains_first(self) -> bool:
        """Whether the first language is learned by a run of this sequence."""
        return self.first.endswith((".yaml", ".yml"))

    @classmethod
    def read(cls, path: str | Path) -> "Plan":
        """Of a YAML file; `data` is a folder for all languages, or one for each.

        `first` is a model, or {experiment: a YAML} with the keys that its run sets.

        Raises
        ------
        SettingsError
            For a file or key that is not there, a language that comes twice or has no folder, fewer than two stages,
            and a method's own first stage where none is trained.
        """
        found = plan_file.read(path, "a sequence's plan", KEYS)
        languages, seeds, data = found["sequence"], found["seeds"], found["data"]
        if not isinstance(languages, list) or not all(isinstance(name, str) for name in languages):
            raise SettingsError(f"{path}: sequence: {languages}; expected a list of languages, e.g. [nl, de, en]")
        if twice := sorted({name for name in languages if languages.count(name) > 1}):
            raise SettingsError(
                f"{path}: sequence: {', '.join(twice)} is there twice; each stage learns a language that no other one "
                "learns, so that what it forgets can be told. Give a second corpus or domain a code of its own, e.g. "
                f"{twice[0]}-x"
            )
        if len(languages) < 2:
            raise SettingsError(f"{path}: sequence: {languages}; expected two languages or more")
        data = dict.fromkeys(languages, data) if isinstance(data, str) else data
        if not isinstance(data, dict) or (wrong := sorted(set(languages) ^ data.keys())):
            wrong = ", ".join(wrong) if isinstance(data, dict) else repr(data)
            raise SettingsError(f"{path}: data: {wrong}; expected a folder, or one for each language of the sequence")
        if not isinstance(found["methods"], dict) or not found["methods"]:
            raise SettingsError(f"{path}: methods: expected names, each with the keys that it sets")
        first = found["first"] if isinstance(found["first"], dict) else {"experiment": found["first"]}
        if not isinstance(first.get("experiment"), str):
            raise SettingsError(f"{path}: first: {found['first']}; expected a model, or {{experiment: a YAML, ...}}")
        own = {f"methods: {name}": keys for name, keys in found["methods"].items()}
        for where, keys in ({"common": found["common"]} | own).items():
            if not isinstance(keys, dict | None):
                raise SettingsError(f"{path}: {where}: {keys!r}; expected keys with their values")
            if isinstance(keys, dict) and not isinstance(keys.get("first", {}), dict | None):
                raise SettingsError(f"{path}: {where}: first: {keys['first']!r}; expected keys with their values")
        plan = cls(
            experiment=found["experiment"], first=first["experiment"],
            first_common=_as_text({k: v for k, v in first.items() if k != "experiment"}),
            sequence=tuple(languages), data=data,
            common=_as_text(found["common"]), alone=bool(found["alone"]), seeds=tuple(seeds),
            methods={str(name): _as_text(keys) for name, keys in found["methods"].items()},
        )  # fmt: skip
        if not plan.trains_first and (own := [name for name, keys in plan.methods.items() if "first" in keys]):
            raise SettingsError(
                f"{path}: methods: {own[0]} has a first stage of its own, but first: {plan.first} is a model; give the "
                "YAML of the run that learns the first language"
            )
        if bad := sorted({"alone", "first"} & plan.methods.keys()):
            raise SettingsError(f"{path}: methods: {bad[0]} is the folder of other runs here; give another name")
        return plan


def _as_text(keys: dict | None) -> dict:
    """{key: value as YAML text}; of `first` the same below."""
    return {key: _as_text(value) if key == "first" else text_of(value) for key, value in (keys or {}).items()}

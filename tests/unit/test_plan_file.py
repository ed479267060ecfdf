"""What studies' and sequences' plans have in common: whatever stands at a key, it is read or refused by name."""

from datetime import date
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from carryover.commands.sequence.plan import Plan as Sequence
from carryover.commands.study.plan import Plan as Study
from carryover.config.settings import SettingsError

STUDIES = Path(__file__).parents[2] / "studies"
PLANS = {Study: STUDIES / "embedded_small.yaml", Sequence: STUDIES / "sequence.yaml"}
DAY = date(2020, 1, 1)
ODD = [
    None,
    5,
    1.5,
    True,
    "x",
    [],
    [[1]],
    {},
    {"a": {}},
    {1: 2},
    DAY,
    [{"a": 1}],
    [DAY],
    10**400,
    {DAY: {}},
    {"a": DAY},
]


@pytest.mark.parametrize("kind", PLANS)
def test_any_value_at_any_key(kind, tmp_path):
    read = YAML(typ="safe", pure=True)
    whole, path, refused = read.load(PLANS[kind].read_text()), tmp_path / "plan.yaml", 0
    for key in [*whole, DAY]:
        for value in ODD:
            with open(path, "w") as file:
                read.dump(whole | {key: value}, file)
            try:
                kind.read(path)
            except SettingsError as error:
                assert str(path) in str(error)
                refused += 1
    assert refused > 0.7 * len(ODD) * (len(whole) + 1)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("seeds:", "seeds: [[1]]\n# ", r"seeds: \[\[1\]\]; expected a list of different whole numbers"),
        ("seeds:", "seeds: [a]\n# ", r"seeds: \['a'\]; expected a list of different whole numbers"),
        ("common:", "2020-01-01: 1\ncommon:", "2020-01-01; expected the keys"),
        (
            "common:\n",
            "common:\n    2020-01-01: 1\n",
            'common: the key 2020-01-01 is no text; put it into quotes: "2020',
        ),
        ("experiment:", "experiment: 5\n# ", "experiment: 5; expected a YAML's path"),
    ],
)
def test_what_is_said(old, new, says, tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(PLANS[Study].read_text().replace(f"\n{old}", f"\n{new}", 1))
    with pytest.raises(SettingsError, match=says):
        Study.read(path)

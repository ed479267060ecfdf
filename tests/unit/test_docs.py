"""README and docs/: the README's limits, links that lead somewhere, the reference of keys, the site's navigation."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("make_reference", DOCS / "make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def links(page: Path) -> list[str]:
    """Relative links of a page, outside code."""
    text = re.sub(r"(?m)^ {4}.*$|`[^`\n]*`", "", page.read_text(encoding="utf-8"))
    return [target for target in LINK.findall(text) if "://" not in target and not target.startswith("mailto:")]


def test_readme_is_short():
    assert len(README) <= 120
    tables = [line for line in README if line.startswith("|")]
    too_wide = [line for line in README if len(line) > 120 and line not in tables]
    assert not too_wide
    assert max(line.count("|") - 1 for line in tables) <= 8


def test_readme_says_early_how_to_take_own_data_and_real_models():
    head = "\n".join(README[:60])
    assert "hparams/whisper_real.yaml --data_folder" in head and "local.table.utterances" in head
    assert "pip install -e . && python train.py hparams/whisper_ft.yaml" in head
    assert "pip install -e '.[test]' && python -m pytest" in "\n".join(README)


def test_readme_has_a_row_for_every_embedded_yaml():
    text = "\n".join(README)
    stems = {path.stem for path in (ROOT / "hparams").glob("*.yaml")}
    assert [name for name in sorted(stems) if f"hparams/{name}.yaml" not in text and f"{name}.yaml" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    missing = []
    for link in links(page):
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if not path.is_file():
            missing.append(link)
        elif anchor:
            titles = re.findall(r"(?m)^#+ (.*)$", path.read_text(encoding="utf-8"))
            slugs = {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}
            missing += [] if anchor in slugs else [link]
    assert not missing, f"{page.relative_to(ROOT)}: {missing}"


def test_reference_of_keys_is_up_to_date(reference):
    assert (DOCS / "reference" / "keys.md").read_text(encoding="utf-8") == reference.keys(), (
        "a YAML of hparams/ changed; run python docs/make_reference.py"
    )


def test_reference_has_every_key_of_every_yaml(reference):
    """Against a parser, since the reference reads the YAMLs' lines."""
    titles = set(re.findall(r"(?m)^### (\w+)$", reference.keys()))
    written = "".join(path.read_text(encoding="utf-8") + "\n" for path in (ROOT / "hparams").glob("*.yaml"))
    assert titles == {key for key in re.findall(r"(?m)^(\w+):", written) if not key.startswith("__")}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("lr: 1.0e-3  # 3.0e-4  peak", ("1.0e-3", "3.0e-4  peak")),
        ('alphabet: "ab#c"  # symbols', ('"ab#c"', "symbols")),
        ("model: x  # a/large-\n                 # german", ("x", "a/large-german")),
        ("sizes:\n    - 1\n    - 2", ("list of several lines", "")),
        ("optimizer: !name:torch.optim.AdamW\n    lr: 1\n    fused: True", ("!name:torch.optim.AdamW ...", "")),
        ("a: 1\n# ---------------\n    # no comment of a", ("1", "")),
    ],
)
def test_entries_of_a_yaml(reference, text, wanted):
    assert list(reference.entries(text).values()) == [wanted]


def test_reference_of_commands_names_all_of_them(reference):
    made = re.findall(r"(?m)^## carryover (\w+)$", reference.commands())
    written = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    assert made == re.findall(r"(?m)^## carryover (\w+)$", written), "run python docs/make_reference.py"


def test_navigation_names_every_page():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def pages(entry):
        if isinstance(entry, str):
            return [entry]
        children = entry.values() if isinstance(entry, dict) else entry
        return [page for child in children for page in pages(child)]

    named = pages(site["nav"])
    there = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    of_reports = {page for page in there if re.fullmatch(r"results/\w+/(methods|tables/\w+)\.md", page)}
    assert len(named) == len(set(named)) and set(named) == there - of_reports

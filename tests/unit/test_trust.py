"""carryover/config/trust.py: a stranger's YAML makes what is listed and runs nothing else, however it is written."""

import glob
import os

import pytest

from carryover.config import settings, trust
from carryover.runs import run_folder

RUNS = "touch RAN"
BAD = {
    "apply": f"x: !apply:os.system [{RUNS}]",
    "new": f"x: !new:subprocess.Popen [[{RUNS.replace(' ', ', ')}]]",
    "name": "x: !name:os.system",
    "module": "x: !module:os",
    "include": "x: !include:other.yaml",
    "applyref": f"x: !applyref:os.system [{RUNS}]",
    "through a module": f"x: !apply:carryover.text.pieces.files.os.system [{RUNS}]",
    "through a listed function's module": f"x: !apply:carryover.models.whisper.torch.os.system [{RUNS}]",
    "through a recipe": f"x: !apply:recipes.whisper.torch.os.system [{RUNS}]",
    "a corpus's helper": f"x: !apply:local.synthetic.subprocess.run [{RUNS}]",
    "train": "x: !apply:carryover.experiment.train [[x.yaml]]",
    "writes": "x: !apply:carryover.models.projector.save [a, RAN, {}]",
    "writes, by a class's method": "x: !apply:carryover.text.Pieces.train [[a], RAN, 3]",
    "underscores": "x: !name:carryover.text.Normaliser.__init__.__globals__",
    "all of torch": "x: !apply:torch.load [x.pt]",
    "hub": "x: !apply:torch.hub.load [a, b]",
    "builtins": "x: !apply:builtins.eval ['1']",
    "eval": "x: !apply:eval ['1']",
    "getattr": "x: !apply:getattr [a, b]",
    "python tag": f"x: !!python/object/apply:os.system [{RUNS}]",
    "python name": "x: !!python/name:os.system",
    "python module": "x: !!python/module:os",
    "verbatim tag": f"x: !<tag:yaml.org,2002:python/object/apply:os.system> [{RUNS}]",
    "directive": f"%TAG !e! tag:yaml.org,2002:python/object/apply:\n---\nx: !e!os.system [{RUNS}]",
    "directive to applyref": f"%TAG !e! !applyref:\n---\nx: !e!os.system [{RUNS}]",
    "tuple": f"x: (!!python/object/apply:os.system ['{RUNS}'])",
    "explicit tuple": f"x: !tuple \"(!!python/object/apply:os.system ['{RUNS}'])\"",
    "tuple by a reference": f"a: \"(!!python/object/apply:os.system ['{RUNS}'])\"\nx: !ref <a>",
    "nested": f"x: {{a: [1, !apply:os.system [{RUNS}]]}}",
    "an argument of what is listed": f"x: !new:carryover.text.Normaliser {{a: !apply:os.system [{RUNS}]}}",
    "copy": f"a: [!apply:os.system [{RUNS}]]\nx: !copy <a>",
    "attribute": "a: !name:recipes.whisper.WhisperBrain\nx: !ref <a.__init__>",
    "globals": "a: !name:local.table.utterances\nx: !ref <a.__globals__>",
    "power": "a: 9\nx: !ref <a> ** 9 ** 9 ** 9",
    "download": "x: !apply:speechbrain.augment.preparation.prepare_dataset_from_URL [a, b, c, d]",
    "unknown tag": "x: !whatever 1",
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.syspath_prepend(os.getcwd())
    monkeypatch.chdir(tmp_path / "work")


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
@pytest.mark.parametrize("by", ["as_written", "overrides"])
def test_a_strangers_yaml_runs_nothing(tmp_path, text, by):
    if by == "overrides" and "\n" in text:
        pytest.skip("overrides are one line a key")
    folder = tmp_path / "run"
    (folder / "save").mkdir(parents=True)
    (folder / "as_written.yaml").write_text(text + "\n" if by == "as_written" else "x: 1\n")
    (folder / "overrides.yaml").write_text("" if by == "as_written" else text)
    (tmp_path / "other.yaml").write_text(f"y: !apply:os.system [{RUNS}]")
    with pytest.raises(ValueError) as error:
        run_folder.load(folder)
    assert not (tmp_path / "work" / "RAN").exists()
    assert isinstance(error.value, (trust.NotListed, settings.SettingsError)), error.value
    if isinstance(error.value, trust.NotListed):
        assert "as_written.yaml" in str(error.value)
        assert "--trust" in str(error.value) or "no YAML" in str(error.value)


def test_a_tag_on_a_key_is_dropped(tmp_path):
    folder = tmp_path / "run"
    (folder / "save").mkdir(parents=True)
    (folder / "as_written.yaml").write_text(f"x: {{? !apply:os.system [{RUNS}] : 1}}")
    (folder / "overrides.yaml").write_text("")
    run_folder.load(folder)
    assert not (tmp_path / "work" / "RAN").exists()


def test_trust_opts_out(tmp_path):
    folder = tmp_path / "run"
    (folder / "save").mkdir(parents=True)
    (folder / "as_written.yaml").write_text("x: !apply:os.path.join [a, b]\n")
    (folder / "overrides.yaml").write_text("")
    with pytest.raises(trust.NotListed, match="!apply:os.path.join"):
        run_folder.load(folder)
    assert run_folder.load(folder, trusted=True)["x"] == "a/b"


@pytest.mark.parametrize("path", sorted(glob.glob("hparams/*.yaml")))
def test_every_yaml_of_ours_is_listed(path, request):
    text = (request.config.rootpath / path).read_text(encoding="utf-8")
    trust.require_listed(text, path)
    forms = [line.split("#")[1].strip() for line in text.splitlines() if "# !new:" in line or "# !name:" in line]
    for form in forms:  # what a comment offers instead
        if form.endswith("}"):
            trust.require_listed(f"x: {form}", path)


@pytest.mark.parametrize("name", ["predictions_test_nl_evaluate.csv", "save/CKPT+1/acoustic.safetensors", "manifests"])
def test_a_link_out_of_the_folder_is_refused(tmp_path, name):
    folder = tmp_path / "run"
    (folder / "save").mkdir(parents=True)
    (folder / "as_written.yaml").write_text("x: 1\n")
    (folder / "overrides.yaml").write_text("")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=f"{name.split('/')[-1].replace('+', '.')}: a link that leads out"):
        run_folder.load(folder)


def test_a_command_inside_of_the_folder_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    (folder / "save").mkdir(parents=True)
    for name in ("as_written.yaml", "overrides.yaml"):
        (folder / name).write_text("")
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match="inside of the run folder"):
        run_folder.load(folder)

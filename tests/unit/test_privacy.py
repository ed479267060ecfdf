"""carryover/runs/privacy.py: what is cut out of a text and what stays, and that a run's own record is without it."""

import json
import shlex

import pytest

from carryover.report import settings_reader
from carryover.runs import run_folder
from carryover.runs.privacy import clean, data_roots, portable, with_home


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--data_folder /home/ann/cv/de --lr 1/2", "--data_folder …/de --lr 1/2"),
        ("--model=/abs/m.bin 'results/a/b'", "--model=…/m.bin 'results/a/b'"),
        ("~/x/y {folder: /data/z}", "…/y {folder: …/z}"),
        (r"C:\Users\ann\z", "…/z"),
        ("--hub_token hf_abcdefghijkl --lr 1", "--hub_token … --lr 1"),
        ("WANDB_API_KEY=0123456789abcdef x", "WANDB_API_KEY=… x"),
        ("model: hf_abcdefghijkl", "model: …"),
        ("'--hub_token=hf_abcdefghijkl$' --secret 'a b' x", "'--hub_token=…' --secret … x"),
        ("tokenizer: !ref <model>, !new:a.b, https://x.org/y", "tokenizer: !ref <model>, !new:a.b, https://x.org/y"),
    ],
)
def test_private_data_is_cut_out(text, expected):
    assert clean(text) == expected == clean(clean(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/ann", "…"),
        ("--root /home/ann/ --lr 1", "--root … --lr 1"),
        ("[/home/ann, /Users/bob/x]", "[…, …/x]"),
        ("/export/home/ann and /home//ann//", "… and …"),
        (r"C:\Users\Ann", "…"),
        (r"--a 'C:\Users\Ann Lee\cv\de' --b '/home/Ann Lee' --c '/home/b/c'", "--a '…/de' --b '…' --c '…/c'"),
        ("file:///home/ann/x file:///home/ann file://host/data/x", "…/x … …/x"),
        ("data/home/ann ~ ~5 /homes", "data/home/ann ~ ~5 …/homes"),
    ],
)
def test_a_home_folder_is_cut_out_as_a_whole(text, expected):
    assert clean(text) == expected == clean(clean(text))


def test_a_run_writes_its_command_without_private_data(tmp_path):
    yaml = tmp_path / "x.yaml"
    yaml.write_text("data_folder: data\nmodel: a\nout: b\nhub_token: null\n")
    given = {"data_folder": "/home/ann/cv/de", "out": "results/x", "hub_token": "hf_abcdefghijkl"}
    argv = ["train.py", "hparams/x.yaml", *(word for key, value in given.items() for word in (f"--{key}", value))]
    folder = run_folder.create(tmp_path / "run", str(yaml), given, json.JSONDecoder, [*argv, "--model", "/home/ann"])
    written = (folder / "run.json").read_text(encoding="utf-8")
    assert "ann" not in written and "hf_" not in written
    assert json.loads(written)["command"] == (
        "python train.py hparams/x.yaml --data_folder …/de --out results/x --hub_token … --model …"
    )
    assert len(shlex.split(json.loads(written)["command"])) == len(argv) + 3


@pytest.mark.parametrize(
    "text, expected",
    [
        ("data_folder: /home/ann/cv/de\n", "data_folder: ~/cv/de\n"),
        ("folder: [/home/ann, '/home/ann/x']", "folder: [~/, '~/x']"),
        ("hub_token: hf_abcdefghij  # the token is mine", "hub_token: …  # the token is mine"),
        ("wandb_api_key: '0123 456', lr: 1", "wandb_api_key: …, lr: 1"),
        ('{"password": "x y", "n": 1}', '{"password": …, "n": 1}'),
        ("token: null, tokens: 5, unk_token: <unk>, target_tokens: a", None),
        ("tokenizer: !new:a.b\nsecret: !ref <key>", None),
        ("a: /home/annette/x, b: /data/home/ann/x, c: /home/bob/x", None),
    ],
)
def test_a_runs_files_name_no_home_and_no_token_and_stay_usable(text, expected, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    found = portable(text)
    assert found == (expected or text) == portable(found)
    if "…" not in found and "~/," not in found:
        assert with_home(found) == text


def test_a_root_that_holds_the_home_folder_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))
    assert data_roots(["/", str(tmp_path), "~/", None, "~/cv"]) == [tmp_path / "ann" / "cv"]


def test_test_sets_of_other_languages_are_roots_of_a_report(tmp_path):
    (tmp_path / "as_written.yaml").write_text(
        "root: /d\ndata_folder: !ref <root>/nl\nother_tests: {en: !ref <root>/en}\n"
    )
    (tmp_path / "overrides.yaml").write_text("")
    assert list(map(str, settings_reader.data_roots(tmp_path))) == ["/d/nl", "/d/en"]

"""Wrong input, as people give it: each ends in one clear line, or in rejected.csv with a reason."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from .helpers import make_brain, train


@pytest.mark.parametrize(
    "override, words",
    [
        ({"data_folder": "/nowhere/at/all"}, ["data_folder", "/nowhere/at/all"]),
        ({"language": "xx"}, ["language", "xx"]),
        ({"language": "de"}, ["language", "de"]),
        ({"warmup": "0", "lr_schedule": "noam"}, ["warmup", "noam", "linear"]),
        ({"model": "/no/model"}, ["model", "/no/model"]),
        ({"train": "everything"}, ["train", "everything", "encoder"]),
        ({"train": "encoder_top_99"}, ["train", "encoder_top_99", "N from 1 to 2"]),
        ({"generation_length": "300"}, ["generation_length", "300", "at most 60"]),
        ({"lr_schedule": "cosinus"}, ["lr_schedule", "cosinus", "cosine"]),
        ({"max_updates": "0", "epochs": "0"}, ["epochs"]),
    ],
    ids=lambda v: ",".join(v) if isinstance(v, dict) else "",
)
def test_one_line_names_the_key_what_was_found_and_what_to_do(whisper_run, override, words):
    done = train(whisper_run | override)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: "), done.stderr[-1500:]
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in last, last


def test_what_cannot_be_used_is_rejected_with_its_reason(whisper_run, tmp_path, capsys):
    chance = np.random.default_rng(0)

    def write(name, seconds=1.0, rate=16000, channels=1):
        samples = 0.1 * chance.standard_normal((int(rate * seconds), channels))
        soundfile.write(tmp_path / name, samples, rate, subtype="PCM_16")

    write("good.wav")
    write("stereo.wav", channels=2)
    write("cd.wav", rate=48000)
    write("long.wav", seconds=4.5)
    write("empty_text.wav")
    write("dots.wav")
    write("wordy.wav")
    (tmp_path / "text.wav").write_text("this is no audio")
    write("no_samples.wav", seconds=0)
    rows = [
        ("good.wav", "een twee"), ("stereo.wav", "drie"), ("cd.wav", "vier"), ("long.wav", "vijf"),
        ("empty_text.wav", " "), ("dots.wav", "..."), ("wordy.wav", "zeven " * 60), ("text.wav", "acht"),
        ("no_samples.wav", "negen"), ("missing.wav", "tien"),
    ]  # fmt: skip
    lines = ["path\ttext\tlanguage\tsplit", *(f"{p}\t{t}\tnl\ttrain" for p, t in rows)]
    lines += ["good.wav\teen\tnl\tvalid", "good.wav\teen\tnl\ttest"]
    (tmp_path / "manifest.tsv").write_text("\n".join(lines) + "\n")
    brain, _, manifests = make_brain(whisper_run | {"data_folder": str(tmp_path)})
    refused = {Path(r["audio"]).name: r["reason"] for r in csv.DictReader(open(manifests / "rejected.csv"))}
    assert refused.keys() == {p for p, _ in rows} - {"good.wav", "stereo.wav", "cd.wav"}
    assert "longer than the window of 4 s" in refused["long.wav"]
    assert "transcript is empty" in refused["empty_text.wav"]
    assert "empty after normalisation" in refused["dots.wav"]
    assert "label is longer than 64 tokens with prompt and end" in refused["wordy.wav"]
    assert "cannot be read" in refused["text.wav"]
    assert "empty (0 samples)" in refused["no_samples.wav"]
    assert "cannot be opened" in refused["missing.wav"]
    said = capsys.readouterr().out
    assert "train 3" in said and "rejected 7" in said and "48000 Hz x 1" in said and "16000 Hz x 2" in said
    wavs = {row["id"]: row["wav"] for row in brain.read(manifests / "train.csv")}
    assert {name: wav.shape for name, wav in wavs.items()} == {n: (16000,) for n in wavs}

"""Small run folders for tests of the report, with files as train.py writes them."""

import json
from pathlib import Path

from carryover.stats import error_rates
from carryover.text import Normaliser

YAML = """# python train.py hparams/german_adaptation.yaml
seed: 1
language: de
old_language: nl
data_folder: data/mine
max_updates: 100
max_grad_norm: 5.0
normaliser: !new:carryover.text.Normaliser
"""
INFO = {
    "command": "python train.py hparams/german_adaptation.yaml --data_folder /home/anna/de --hub_token hf_abcdefghijkl",
    "python": "3.11.7",
    "versions": {"torch": "2.11.0"},
    "commit": "22ca7dd571f718ace4e346887924a8289fbd814c",
    "dirty": True,
    "hardware": {"cpu": "AMD EPYC", "cores": 2, "threads": 2, "gpus": [], "platform": "linux"},
    "data": {"de": {"digest": "168ae4084270938e", "counts": {"train": 7}, "hours": {"train": 0.5}}},
}
LOGGED = [0, 1]  # interval of a test event, as a version with another generator wrote it
# reference, hypothesis, speaker, seconds
GERMAN = [
    ("das schöne haus", "das schone haus", "anna", 1.0),
    ("guten morgen", "guten morgen", "anna", 2.0),
    ("um elf uhr", "um elf", "ben", 3.0),
    ("heute", "heute ist", "ben", 4.0),
    ("am see", "am see", "ben", 5.0),
]
DUTCH = [("het huis", "het huis", "cor", 1.0), ("goede morgen", "goed morgen", "dirk", 2.0)]
DUTCH_AFTER = [("het huis", "das haus", "cor", 1.0), ("goede morgen", "goed morgen", "dirk", 2.0)]


def predictions(folder: Path, language: str, weights: str, utterances, audio="data/mine/{}/test/{}.wav") -> dict:
    """Write predictions_test_<language>_<weights>.csv; returns the test event."""
    rows = [
        error_rates.score(
            {"id": f"{language}{i}", "audio": audio.format(language, i), "language": language, "speaker": speaker}
            | {"duration": seconds, "text": reference},
            hypothesis,
            Normaliser(),
        )
        for i, (reference, hypothesis, speaker, seconds) in enumerate(utterances)
    ]
    error_rates.write_predictions(folder / f"predictions_test_{language}_{weights}.csv", rows)
    labels = {"event": "test", "set": f"test_{language}", "language": language, "weights": weights}
    return (
        labels | {"update": 100, "epoch": 2, "time": 120.0, "loss": 1.0, "interval": LOGGED} | error_rates.totals(rows)
    )


def make(folder: Path, seed=1, loss=1.0, penalty: float | None = None, tests=None, finished=True, **own) -> Path:
    """A run of 100 updates, logged every 10 and validated every 50; loss(n) = 100 `loss` / n.

    tests: {(language, weights): utterances}; default: German, and Dutch before and after. own: overrides.
    """
    folder.mkdir(parents=True)
    (folder / "as_written.yaml").write_text(YAML)
    (folder / "overrides.yaml").write_text("".join(f"{k}: {v}\n" for k, v in ({"seed": seed} | own).items()))
    (folder / "run.json").write_text(json.dumps(INFO))
    events = []
    for n in range(10, 101, 10):
        event = {"event": "train", "update": n, "epoch": 1 + n // 60, "time": float(n), "loss": 100 * loss / n}
        event |= {"ctc": 100 * loss / n, "lr": 1e-3 * n / 100, "grad_norm": 2.0 + seed, "audio_seconds": 1.0}
        event |= {"blank_ratio": 0.5, "peak_memory_bytes": 10**9}
        events.append(event | ({} if penalty is None else {"ewc": penalty, "penalty_ratio": penalty * n}))
        if n % 50 == 0:
            valid = {
                "event": "valid",
                "update": n,
                "epoch": 1,
                "time": n + 0.5,
                "set": "valid",
                "loss": 2.0,
                "ctc": 2.0,
            }
            valid |= {"CER": 5.0, "words": 200, "errors": 20, "utterances": 40}
            events += [valid | {"language": "de", "WER": 1000 * loss / n}, valid | {"language": "nl", "WER": n / 2.0}]
    if tests is None:
        tests = {("de", "best"): GERMAN, ("nl", "before"): DUTCH, ("nl", "best"): DUTCH_AFTER}
    events += [predictions(folder, language, weights, rows) for (language, weights), rows in tests.items()]
    if finished:
        events.append({"event": "end", "update": 100, "epoch": 2, "time": 121.0, "reason": "all updates done"})
        (folder / "results.md").write_text("| |\n")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    return folder

"""What a shell is offered behind `carryover`, asked as bash asks it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = "import sys; sys.argv[0] = 'carryover'; from carryover.commands.app import main; main()"


def asked(words: str, *arguments: str, **environment: str) -> str:
    """Standard output of `carryover` when a shell asks how its last word could go on."""
    given = os.environ | {"PYTHONPATH": str(ROOT), "COMP_WORDS": words, **environment}
    command = [sys.executable, "-c", CODE, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "words, expected",
    [
        ("carryover che", ["check"]),
        ("carryover check hparams/german", ["hparams/german_adaptation.yaml"]),
        ("carryover sweep hparams/whisper_f", ["hparams/whisper_ft.yaml"]),
        ("carryover study studies/embedded_", ["studies/embedded_small.yaml"]),
        ("carryover check hparams/german_adaptation.yaml --preset ewc,l2", ["ewc,l2sp"]),
        ("carryover check hparams/whisper_ft.yaml --mea", ["--measure"]),
        ("carryover check hparams/whisper_ft.yaml --max_up", ["--max_updates"]),
        ("carryover check nowhere.yaml --max_up", []),
        ("carryover demo --ho", ["--host"]),
    ],
)
def test_words_are_completed(words, expected):
    found = asked(words, _CARRYOVER_COMPLETE="complete_bash", COMP_CWORD=str(len(words.split()) - 1))
    assert found.split() == expected


def test_nothing_heavy_is_loaded_for_it():
    heavy = "('torch', 'transformers', 'gradio')"
    code = f"import carryover.commands.app, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_script_is_shown_and_installed(tmp_path):
    environment = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = asked("", "--show-completion", "bash", **environment)
    assert "_CARRYOVER_COMPLETE=complete_bash" in script and "carryover" in script.splitlines()[-1]
    assert "completion installed" in asked("", "--install-completion", "bash", **environment)
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert any("_CARRYOVER_COMPLETE=complete_bash" in text for text in written)

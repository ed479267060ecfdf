"""`--adapter`: what its words mean, and models that take none."""

from types import SimpleNamespace

import pytest

from carryover.commands.adapter import EVERY, Adapters, asked


def test_what_the_words_mean(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two", "de=three"):
        (tmp_path / name).mkdir()
    one, two, odd = (type(tmp_path)(name) for name in ("one", "two", "de=three"))
    assert asked([]) == {}
    assert asked(["none"]) == {EVERY: None}
    assert asked(["one"]) == {EVERY: one}
    assert asked(["de=one", "nl=two", "sv-SE=one", "fr=none"]) == {"de": one, "nl": two, "sv-SE": one, "fr": None}
    assert asked(["de=three"]) == {EVERY: odd}, "a folder of that name"


@pytest.mark.parametrize(
    "words, error, said",
    [
        (["gone"], FileNotFoundError, "--adapter gone: does not exist"),
        (["de=gone"], FileNotFoundError, "--adapter gone: does not exist"),
        (["german=one"], FileNotFoundError, "--adapter german=one: does not exist"),
        (["file"], FileNotFoundError, "--adapter file: is a file of 1 bytes; expected an adapter's folder"),
        (["one", "one"], ValueError, "only one can be used for all languages; give LANGUAGE=FOLDER"),
        (["none", "one"], ValueError, "only one can be used"),
        (["de=one", "de=none"], ValueError, "'de' is given twice"),
        (["de=one", "none"], ValueError, "one without a language beside others"),
    ],
)
def test_words_that_mean_nothing(words, error, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(error, match=said):
        asked(words)


def test_a_recipe_without_adapters(tmp_path):
    brain = SimpleNamespace(adaptable=None)
    with pytest.raises(ValueError, match="--adapter: a SimpleNamespace takes none; Whisper and CTC models do"):
        Adapters(brain, {EVERY: tmp_path})
    nothing = Adapters(brain, {})
    assert (nothing.use("de"), nothing.use_for(tmp_path, "set"), nothing.said()) == ("", "evaluate", "")


def test_a_language_with_a_region_has_its_language_s_adapters(tmp_path):
    """As a model has its code: Whisper hears de-AT by the code of de."""
    adapters = object.__new__(Adapters)
    adapters.asked = {"de": tmp_path, "sv-SE": tmp_path}
    found = {code: adapters._named(code) for code in ("de", "de-AT", "de_DE", "sv-SE", "sv", "fr", None)}
    assert found == {"de": "de", "de-AT": "de", "de_DE": "de", "sv-SE": "sv-SE", "sv": "sv", "fr": "fr", None: None}
    adapters.asked = {EVERY: tmp_path}
    assert adapters._named("de-AT") == EVERY

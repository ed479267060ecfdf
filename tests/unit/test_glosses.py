"""Targets of glosses: ids in the order given, unknown glosses named, words out of both decoders, files read again."""

import math

import pytest
import torch

from carryover.decoding import BeamSearch, Greedy
from carryover.losses.ctc import collapse
from carryover.text import Glosses, Normaliser, Verbatim

GERMAN = ["NORD", "REGEN", "STARK", "SÜD", "__ON__", "loc-NORD"]


@pytest.fixture
def glosses():
    return Glosses(GERMAN)


def test_ids_are_blank_and_the_glosses_in_their_order(glosses):
    assert glosses.symbols == ["<pad>", *GERMAN] and glosses.blank == 0 and len(glosses) == 7
    assert glosses.encode("__ON__ REGEN  loc-NORD REGEN") == [5, 2, 6, 2]
    assert glosses.decode([0, 5, 2, 0, 6, 2]) == "__ON__ REGEN loc-NORD REGEN"
    assert glosses.encode("") == [] and glosses.decode([]) == ""
    assert Glosses(["SU\u0308D"]).symbols[1] == "S\u00dcD"


def test_unknown_glosses_are_named(glosses):
    assert glosses.unknown("REGEN HAGEL SCHNEE") == {"HAGEL", "SCHNEE"}
    assert glosses.unknown("REGEN STARK") == set()
    with pytest.raises(ValueError, match="no symbol for 'HAGEL', 'SCHNEE' in 'REGEN HAGEL SCHNEE'.*6 glosses") as error:
        glosses.encode("REGEN HAGEL SCHNEE")
    assert "Verbatim" not in str(error.value)


def test_a_normaliser_that_breaks_glosses_is_named(glosses):
    annotation = "__ON__ loc-NORD REGEN"
    assert glosses.encode(Verbatim()(annotation)) == [5, 6, 2]
    with pytest.raises(ValueError, match="no symbol for 'loc', 'nord'.*target_text must keep the case.*Verbatim"):
        glosses.encode(Normaliser()("loc-NORD"))


@pytest.mark.parametrize(
    "given, words",
    [
        ([], "none; give those of the training split"),
        (["A", "B", "A"], "'A' more than once"),
        (["A", "B C"], "'B C' is empty or holds a space"),
        ([""], "'' is empty"),
        (["A\n"], "holds a space"),
        (["<pad>"], "'<pad>' has a meaning already"),
        (["▁A"], "'▁A' has a meaning already"),
    ],
)
def test_glosses_that_cannot_be_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        Glosses(given)


def test_what_is_saved_is_read_again(glosses, tmp_path):
    glosses.save(tmp_path / "model")
    assert (tmp_path / "model" / "glosses.txt").read_text(encoding="utf-8").split("\n") == [*GERMAN, ""]
    again = Glosses.from_folder(tmp_path / "model")
    assert (again.symbols, again.labels, again.blank) == (glosses.symbols, glosses.labels, glosses.blank)
    with pytest.raises(FileNotFoundError, match="has no glosses.txt"):
        Glosses.from_folder(tmp_path)


@pytest.mark.parametrize("text", ["REGEN", "__ON__ loc-NORD REGEN STARK", "NORD NORD SÜD"])
def test_both_decoders_write_glosses_as_words(glosses, text):
    path = [frame for i in glosses.encode(text) for frame in (i, i, glosses.blank)]
    logits = torch.randn(1, len(path), len(glosses), generator=torch.Generator().manual_seed(3))
    logits[0, range(len(path)), path] += 8
    log_probs, frames = logits.log_softmax(-1), torch.tensor([len(path)])
    assert glosses.decode(collapse(path, glosses.blank)) == text
    assert Greedy(glosses)(log_probs, frames) == [text]
    assert BeamSearch(glosses)(log_probs, frames) == [text]


def test_beam_search_sums_over_paths_of_a_gloss(glosses):
    """Greedily all blank; but p(REGEN) = 0.4 * 0.4 + 2 * 0.4 * 0.6 = 0.64 against p(nothing) = 0.36."""
    probs = torch.full((1, 2, len(glosses)), 1e-12)
    probs[..., 0], probs[..., 2] = 0.6, 0.4
    frames = torch.tensor([2])
    assert Greedy(glosses)(probs.log(), frames) == [""]
    exact = BeamSearch(glosses, token_prune_min_logp=-math.inf, beam_prune_logp=-math.inf)
    assert exact(probs.log(), frames) == ["REGEN"]

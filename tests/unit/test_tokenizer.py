"""carryover.models.whisper.Tokenizer with the embedded and the published tokenizer, and the limits of a Whisper."""

from pathlib import Path

import pytest
import torch

from carryover.data import Utterance
from carryover.models.limits import WhisperLimits
from carryover.models.whisper import Tokenizer
from carryover.text import Normaliser, Verbatim

ROOT = Path(__file__).parents[2]
STARTER = ROOT / "assets" / "whisper_starter"
PUBLISHED = ROOT.parent / "shared" / "models" / "whisper_tokenizer"

SENTENCES = {
    "nl": [
        "'s ochtends om één uur",
        "Hij zag zo’n coördinator in ’t café, hè?",
        "om 's avonds zeg 'm dat ik 't niet ken .",
    ],
    "de": ["Hätte die größere Straße 3,5 km?", "„Äpfel“ – Öl; Übermut ß", "BoD-Homepage bereit . da n't 've"],
}


@pytest.fixture(scope="module", params=[STARTER, PUBLISHED], ids=["starter", "published"])
def tokenizer(request):
    if request.param == PUBLISHED:
        request.getfixturevalue("shared")  # skips where it is not there
    return Tokenizer(str(request.param))


@pytest.fixture(scope="module")
def starter():
    return Tokenizer(str(STARTER))


@pytest.fixture(scope="module")
def published(shared):
    return Tokenizer(str(PUBLISHED))


def test_prompt_of_the_published_tokenizer(published):
    assert published.prompt("nl") == [50258, 50271, 50359, 50363]
    assert published.prompt("de") == [50258, 50261, 50359, 50363]
    assert Tokenizer(str(PUBLISHED), task="translate").prompt("nl") == [50258, 50271, 50358, 50363]
    assert published.eot == 50257


def test_prompt_is_taken_by_name(tokenizer):
    names = ["<|startoftranscript|>", "<|nl|>", "<|transcribe|>", "<|notimestamps|>"]
    assert tokenizer.hf.convert_ids_to_tokens(tokenizer.prompt("nl")) == names


def test_languages(starter, published):
    assert starter.languages == ["de", "nl"]
    assert len(published.languages) == 99 and {"nl", "de", "haw", "jw"} <= set(published.languages)


def test_an_unknown_language_lists_the_known_ones(tokenizer):
    with pytest.raises(ValueError, match="language: 'dutch' is unknown to this model; it knows: .*de.*nl"):
        tokenizer.prompt("dutch")


@pytest.mark.parametrize("language", SENTENCES)
def test_text_comes_back(tokenizer, language):
    for text in [*SENTENCES[language], *map(Normaliser(), SENTENCES[language])]:
        ids = tokenizer.encode(text, language)
        assert ids[:4] == tokenizer.prompt(language) and ids[-1] == tokenizer.eot
        assert ids.count(tokenizer.eot) == 1 and max(ids[4:-1]) < tokenizer.eot  # text pieces stand before special ones
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode(ids + [tokenizer.eot] * 5) == text  # padding


def test_decoding_leaves_the_prompt_and_the_end_out(tokenizer):
    assert tokenizer.decode(tokenizer.prompt("de") + [tokenizer.eot]) == ""


def test_encoding_does_not_depend_on_what_was_encoded_before(tokenizer):
    first = tokenizer.encode("één huis", "nl")
    tokenizer.encode("ein Haus", "de")
    assert tokenizer.encode("één huis", "nl") == first


# ---- limits ----


def limits_of(tokenizer, target_text, seconds, tokens):
    return WhisperLimits(tokenizer=tokenizer, target_text=target_text, seconds=seconds, tokens=tokens)


def utterance(text, duration=2.0, language="nl"):
    return Utterance("u1", "u1.wav", language, "anna", text, "train", duration)


def with_length(tokenizer, length):
    """A text whose label has this many tokens, prompt and end included."""
    word = len(tokenizer.encode("q q", "nl")) - len(tokenizer.encode("q", "nl"))
    text = " ".join("q" * ((length - 5 - 1) // word))
    while len(tokenizer.encode(text, "nl")) < length:
        text += "z" if text[-1] != "z" else "q"
    assert len(tokenizer.encode(text, "nl")) == length
    return text


def test_a_label_of_448_tokens_fits_and_449_are_refused(tokenizer):
    limits = limits_of(tokenizer, Normaliser(), 30.0, 448)
    assert limits(utterance(with_length(tokenizer, 448))) is None
    reason = limits(utterance(with_length(tokenizer, 449)))
    assert reason == "label is longer than 448 tokens with prompt and end: 449"


def test_the_label_is_counted_as_it_is_learned(starter):
    """A transcript that fits only without its punctuation is kept by the normaliser and refused verbatim."""
    text = with_length(starter, 100) + "!" * 5
    assert limits_of(starter, Normaliser(), 10.0, 100)(utterance(text)) is None
    assert "105" in limits_of(starter, Verbatim(), 10.0, 100)(utterance(text))


def test_audio_longer_than_the_window_is_refused(starter):
    limits = limits_of(starter, Normaliser(), 10.0, 224)
    assert limits(utterance("ja", duration=10.0)) is None
    assert limits(utterance("ja", duration=10.25)) == "audio is longer than the window of 10 s: 10.25 s"


@pytest.mark.parametrize("text", ["", "...", " „“ – ?"])
def test_a_transcript_that_normalising_empties_is_refused(starter, text):
    reason = limits_of(starter, Normaliser(), 10.0, 224)(utterance(text))
    assert reason == f"transcript is empty after normalisation: {text!r}"


def test_limits_of_a_model(starter):
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    with torch.device("meta"):
        model = WhisperForConditionalGeneration(WhisperConfig.from_pretrained(STARTER))
    limits = WhisperLimits.of(model, starter, Normaliser())
    assert (limits.seconds, limits.tokens) == (10.0, 224)
    assert limits.settings() == {
        "limits": "WhisperLimits", "target_text": "carryover-2", "seconds": 10.0, "tokens": 224, "vocabulary": 320,
    }  # fmt: skip
    assert limits.settings() != limits_of(starter, Verbatim(), 10.0, 224).settings()

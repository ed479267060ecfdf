"""carryover/text/normaliser.py: what a normaliser may take from Dutch and German text, and what not."""

import re
import unicodedata
from pathlib import Path

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st
from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

from carryover.text import Normaliser, Verbatim, WhisperNormaliser
from carryover.text.languages import SPOKEN

HERE = Path(__file__).parent
normalise = Normaliser()

# letters, marks, digits and everything that stands between words, so that examples touch the rules
CHARACTERS = st.one_of(
    st.sampled_from("abdknrstxzßäéëïöüÀÉÖJHΣİ039 '’‘‚`´ʼ„“”\"«»-–—.,;:?!%&()/_…\u0301\u0308\u030c\u00ad\u00a0"),
    st.characters(exclude_categories=["Cs"]),
)


def letters(text):
    return [c for c in text if unicodedata.category(c)[0] in "LMN"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Hätte er’s gewußt!", "hätte er's gewußt"),
        ("Eén, één; ÉÉN?", "eén één één"),
        ("’s Ochtends", "'s ochtends"),
        ("Kom 's avonds om 't huis, zo’n huis, zo 'n huis.", "kom 's avonds om 't huis zo'n huis zo 'n huis"),
        ("‘k Zag 'm, d'r hoed en z'n jas", "'k zag 'm d'r hoed en z'n jas"),
        ("Die Straße, die STRASSE, die STRAẞE", "die straße die strasse die straße"),
        ("„Hätte“, »ja«, “nee”, ‹so›", "hätte ja nee so"),
        ("Hij zei: 'kom binnen' en ‘ga weg’.", "hij zei kom binnen en ga weg"),
        ("Er rief: ‚das Haus‘ und ‚Hans‘.", "er rief das haus und hans"),
        ("Hans' Auto, Max’ Rad, Fritz' Hut, Strauß' Walzer", "hans' auto max' rad fritz' hut strauß' walzer"),
        ("3,5 km, 1.000 m; 7. Mai, 1,", "3,5 km 1.000 m 7 mai 1"),
        ("Oberspreewald-Lausitz — A–Z", "oberspreewald lausitz a z"),
        ("Donau\u00addampf\u00adschiff", "donaudampfschiff"),
        ("zee\u00a0\u00a0egel\tx\ny", "zee egel x y"),
        ("AC/DC & Co. (25 %)", "ac dc & co 25 %"),
        ("c_d", "c d"),
        ("", ""),
        (" … ?! ", ""),
    ],
)
def test_dutch_and_german(text, expected):
    assert normalise(text) == expected


@pytest.mark.parametrize("word", ["hätte", "één", "größer", "coördinatie", "façade", "ä" + "̣"])
def test_decomposed_input_gives_the_same(word):
    assert normalise(unicodedata.normalize("NFD", word)) == normalise(word) == unicodedata.normalize("NFC", word)


@example("a'_b _'abc")  # _ is a word character to regular expressions
@example("'d'\u030c")  # a mark after a closing quote does not belong to the letter before
@example("J\u030c")  # lower case has a composed form, upper case has none
@given(st.text(CHARACTERS, max_size=40))
def test_idempotent(text):
    once = normalise(text)
    assert normalise(once) == once


@given(st.text(CHARACTERS, max_size=40))
def test_no_letter_or_digit_is_lost(text):
    """But for letters that Unicode or the normaliser takes for another form of one; those are tested by example."""
    text = "".join(c for c in text if unicodedata.normalize("NFKD", c) == unicodedata.normalize("NFD", c))
    text = regex.sub(r"(?i)i\p{M}*\u0307|[ʼʻİ\u0640\u034f\p{Variation_Selector}]", "", text)
    assert letters(normalise(text)) == letters(unicodedata.normalize("NFC", text.replace("\u00ad", "").lower()))


@given(st.text(CHARACTERS, max_size=40))
def test_nothing_else_is_left(text):
    once = normalise(text)
    assert once == unicodedata.normalize("NFC", once) == " ".join(once.split())
    assert all(c in " '.,:·+#״་༌" + SPOKEN or unicodedata.category(c)[0] in "LMN" for c in once)


@given(st.text(CHARACTERS, max_size=40))
def test_composed_and_decomposed_are_one_text(text):
    assert normalise(unicodedata.normalize("NFD", text)) == normalise(unicodedata.normalize("NFC", text))


def test_joining_rule_is_only_the_soft_hyphen():
    """A quotation mark, dash or underscore between letters separates words; nothing glues two words together."""
    for mark in '-–—_/…"“„':
        assert normalise(f"a{mark}b") == "a b"


def test_whispers_own_normalisers_do_lose_letters():
    """Why this module exists: two different words become one, so an error is not counted."""
    english, basic = EnglishTextNormalizer({}), BasicTextNormalizer(remove_diacritics=True)
    for theirs in (english, basic):
        assert theirs("hätte") == "hatte" == theirs("hatte")
        assert theirs("één") == "een"
    assert "'s" not in english("kom 's ochtends") and "'s" not in BasicTextNormalizer()("kom 's ochtends")
    for word, other in (("hätte", "hatte"), ("één", "een"), ("schön", "schon")):
        assert normalise(word) == word != normalise(other)


def test_verbatim_keeps_all_but_spacing_and_form():
    verbatim = Verbatim()
    assert verbatim(" Ha\u0308tte,  er’s\tgewußt? ") == "Hätte, er’s gewußt?"
    assert (verbatim.name, normalise.name) == ("verbatim", "carryover-2")


# ---- tables of pairs ----

PAIRS = [line.split("\t") for line in (HERE / "normaliser_pairs.tsv").read_text("utf-8").splitlines()[1:]]
DOCS = (HERE.parents[1] / "docs" / "reference" / "normaliser.md").read_text("utf-8")
SHOWN = [
    ("" if language == "any" else language, text, expected, numbers)
    for part, numbers in zip(DOCS.split("## Numbers"), (False, True), strict=True)
    for language, text, expected in re.findall(r"(?m)\| (\w+) \| `(.*)` \| `(.*)` \|$", part)
]


@pytest.fixture(scope="module")
def with_numbers():
    pytest.importorskip("num2words")
    return Normaliser(numbers=True)


@pytest.mark.parametrize("language, numbers, text, expected", PAIRS)
def test_pairs(language, numbers, text, expected, request):
    normaliser = request.getfixturevalue("with_numbers") if numbers == "1" else normalise
    for form in ("NFC", "NFD"):
        assert normaliser(unicodedata.normalize(form, text), language) == expected
    assert normaliser(expected, language) == expected


def test_there_are_200_pairs():
    assert len(PAIRS) > 200 and {language for language, *_ in PAIRS} == {"nl", "de", "en"}


@pytest.mark.parametrize("language, text, expected, numbers", SHOWN)
def test_examples_of_the_docs(language, text, expected, numbers, request):
    assert (request.getfixturevalue("with_numbers") if numbers else normalise)(text, language) == expected


LANGUAGE = st.sampled_from([None, "nl", "de-AT", "en", "fi"])
SIGNS = st.text(st.sampled_from("aeinrsxzlß1250 '’‘‚*_:/-.,%€$&°cf§·+#′\u200b\u200dͅ\u0301ﬁĳﷺǅ"), max_size=14)


@given(SIGNS, LANGUAGE)
def test_idempotent_and_stable_in_each_language(text, language):
    once = normalise(text, language)
    assert normalise(once, language) == once == unicodedata.normalize("NFC", once)
    assert normalise(unicodedata.normalize("NFD", text), language) == once


@given(SIGNS, st.sampled_from(["nl", "de", "en"]))
def test_idempotent_with_numbers(with_numbers, text, language):
    once = with_numbers(text, language)
    assert with_numbers(once, language) == once == with_numbers(unicodedata.normalize("NFD", text), language)


def test_numbers_need_a_language_that_is_known(with_numbers):
    assert with_numbers("21", "fr") == "vingt et un"
    for language in (None, "xx"):
        with pytest.raises(ValueError, match=f"cannot say numbers in language {language!r}"):
            with_numbers("21", language)


@pytest.mark.parametrize(
    "text, hypothesis",
    [
        ("می\u200cخواهم کتاب\u200cها را ببینم", "میخواهم کتابها را ببینم"),
        ("क्\u200dष शर्\u200dत", "क्ष शर्त"),
        ("ב\u200fבית", "בבית"),
        ("Hawaiʻi", "Hawai'i"),
        ("كـتاب", "كتاب"),
        ("İstanbul", "istanbul"),
    ],
)
def test_what_is_not_seen_is_no_error(text, hypothesis):
    assert normalise(text) == normalise(hypothesis) and len(normalise(text).split()) == len(text.split())


def test_whispers_normaliser_is_transformers(tmp_path):
    (tmp_path / "normalizer.json").write_text('{"colour": "color"}')
    theirs = WhisperNormaliser(str(tmp_path / "normalizer.json"))
    assert theirs("The colour isn't 5%, hätte", "en") == EnglishTextNormalizer({"colour": "color"})(
        "The colour isn't 5%, hätte"
    )
    assert theirs("Kom 's ochtends!", "nl") == BasicTextNormalizer()("Kom 's ochtends!").strip()
    assert "transformers" in theirs.name and "without its spelling table" in WhisperNormaliser().name
    with pytest.raises(FileNotFoundError, match="give a Whisper's normalizer.json"):
        WhisperNormaliser("gone.json")

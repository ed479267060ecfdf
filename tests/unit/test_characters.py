"""Targets for CTC: ids and texts as transformers' tokenizer has them, unknown characters named, old rows kept."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, Wav2Vec2CTCTokenizer

from carryover.losses.ctc import collapse
from carryover.text import Characters, Pieces

DUTCH = "abcdefghijklmnopqrstuvwxyzéëï'"
GERMAN = DUTCH + "äöüß-"
TEXTS = [
    "das haus ist groß",
    "de kat zit op de mat",
    "hans' straße",
    "één uur in de trein",
    "der hund sitzt",
] * 4


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("characters")
    Characters(GERMAN).save(folder)
    return folder


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    return Pieces.train(TEXTS, 32, tmp_path_factory.mktemp("pieces") / "made" / "german.model")


def vocabulary(folder, symbols, **config):
    (folder / "vocab.json").write_text(json.dumps(symbols), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_ids_are_blank_space_and_the_alphabet_in_its_order():
    characters = Characters("zaä'-")
    assert characters.symbols == ["<pad>", "|", "z", "a", "ä", "'", "-"] and characters.blank == 0
    assert characters.encode("a z'ä-") == [3, 1, 2, 5, 4, 6] and len(characters) == 7
    assert characters.labels == ["", " ", "z", "a", "ä", "'", "-"]
    assert Characters("a\u0308").symbols == ["<pad>", "|", "ä"]


@pytest.mark.parametrize(
    "alphabet, words", [("abca", "'a' more than once"), ("ab c", "leave it out"), ("a|", "leave it out"), ("", "empty")]
)
def test_an_alphabet_that_cannot_be_is_refused(alphabet, words):
    with pytest.raises(ValueError, match=words):
        Characters(alphabet)


def test_unknown_characters_are_named():
    characters = Characters("abc")
    assert characters.unknown("a bäc|x") == {"ä", "|", "x"}
    with pytest.raises(ValueError, match="no symbol for 'x', 'ä' in 'a bäx'"):
        characters.encode("a bäx")


@settings(max_examples=100, deadline=None)
@given(st.text(GERMAN + " ", max_size=30))
def test_ids_and_text_are_those_of_transformers(saved, text):
    ours = Characters.from_folder(saved)
    theirs = Wav2Vec2CTCTokenizer.from_pretrained(saved)
    ids = ours.encode(text)
    assert ids == theirs(text).input_ids
    assert ours.decode(ids) == theirs.decode(ids, group_tokens=False) == text.strip()
    path = [symbol for i in ids for symbol in (i, i, ours.blank)]
    assert ours.decode(collapse(path, ours.blank)) == theirs.decode(path)


def test_what_is_saved_is_read_again_by_us_and_by_transformers(saved):
    ours, theirs = Characters.from_folder(saved), AutoTokenizer.from_pretrained(saved)
    assert ours.symbols == Characters(GERMAN).symbols and ours.blank == 0
    assert isinstance(theirs, Wav2Vec2CTCTokenizer)
    assert len(theirs) == len(ours)  # no <s>, </s>, <unk> behind the head's last unit
    assert theirs.pad_token_id == ours.blank and theirs.word_delimiter_token_id == 1


def test_a_checkpoint_with_other_ids_and_more_special_tokens(tmp_path):
    symbols = {"[UNK]": 3, "|": 0, "b": 1, "a": 2, "[PAD]": 5, "'": 4}
    source = vocabulary(tmp_path, symbols, pad_token="[PAD]", unk_token="[UNK]")
    characters = Characters.from_folder(source)
    assert characters.symbols == ["|", "b", "a", "[UNK]", "'", "[PAD]"] and characters.blank == 5
    assert characters.encode("ab 'a") == [2, 1, 0, 4, 2]
    assert characters.decode([2, 3, 5, 0, 1]) == "a b"
    with pytest.raises(ValueError, match=r"no symbol for '\[', '\]', 'k', 'n', 'u'"):
        characters.encode("[unk]")
    theirs = Wav2Vec2CTCTokenizer.from_pretrained(source)
    assert theirs.decode([2, 3, 5, 0, 1], group_tokens=False, skip_special_tokens=True) == "a b"
    # <s> and </s> are units behind vocab.json in many a head
    assert Characters.from_folder(source, size=8).symbols[6:] == ["<s>", "</s>"]
    with pytest.raises(ValueError, match="ids up to 5, but the head has 4"):
        Characters.from_folder(source, size=4)
    characters.save(tmp_path / "again")
    again = Characters.from_folder(tmp_path / "again")
    assert (again.symbols, again.blank, again.labels) == (characters.symbols, characters.blank, characters.labels)
    assert len(Wav2Vec2CTCTokenizer.from_pretrained(tmp_path / "again")) == 6


def test_a_missing_id_keeps_its_row_and_a_missing_blank_is_an_error(tmp_path):
    assert Characters.from_folder(vocabulary(tmp_path, {"<pad>": 0, "a": 1, "b": 3})).decode([1, 2, 3]) == "ab"
    with pytest.raises(ValueError, match="no '<pad>', which is CTC's blank"):
        Characters.from_folder(vocabulary(tmp_path, {"a": 0}))
    with pytest.raises(ValueError, match="several languages.*target_lang"):
        Characters.from_folder(vocabulary(tmp_path, {"deu": {"<pad>": 0}, "nld": {"<pad>": 0}}))
    (tmp_path / "vocab.json").unlink()
    with pytest.raises(FileNotFoundError, match="holds no vocab.json"):
        Characters.from_folder(tmp_path)


def test_a_vocabulary_in_capitals(tmp_path):
    symbols = {"<pad>": 0, "|": 1, "A": 2, "B": 3}
    with pytest.raises(ValueError, match="in capitals: set do_lower_case"):
        Characters.from_folder(vocabulary(tmp_path, symbols)).encode("ab")
    source = vocabulary(tmp_path, symbols, do_lower_case=True)
    characters, theirs = Characters.from_folder(source), Wav2Vec2CTCTokenizer.from_pretrained(source)
    assert characters.encode("ab a") == theirs("ab a").input_ids == [2, 3, 1, 2]
    assert characters.decode([2, 3, 1, 2]) == theirs.decode([2, 3, 1, 2]) == "ab a"
    assert characters.grow("abc").symbols[2:] == ["A", "B", "C"]
    grown = characters.grow("abßäs")  # ß in capitals is SS
    assert grown.symbols[2:] == ["A", "B", "ß", "Ä", "S"] and grown.encode("ßä") == [4, 5]
    assert grown.decode([4, 5, 6]) == "ßäs" and characters.unknown("aß") == {"ß"}


def test_growing_keeps_the_old_rows_and_refuses_to_shrink(tmp_path):
    old = Characters(DUTCH)
    grown = old.grow("ßüöä-" + DUTCH[::-1])
    assert grown.symbols == old.symbols + list("ßüöä-") and grown.blank == old.blank
    assert old.encode("één kat") == grown.encode("één kat")
    assert old.grow(DUTCH).symbols == old.symbols
    with pytest.raises(ValueError, match="lacks 'é', 'ë'.*shrinks"):
        old.grow("abcdefghijklmnopqrstuvwxyzï'")
    # a checkpoint of the hub, whose blank stands last, keeps it there
    hub = Characters.from_folder(vocabulary(tmp_path, {"|": 0, "a": 1, "[PAD]": 2}, pad_token="[PAD]"))
    assert hub.grow("aä").symbols == ["|", "a", "[PAD]", "ä"] and hub.grow("aä").blank == 2


def test_pieces_have_the_face_of_characters(pieces, tmp_path):
    ids = pieces.encode("das haus ist groß")
    assert pieces.symbols[0] == "<pad>" and pieces.blank == 0 and len(pieces) == 33
    assert pieces.blank not in ids and len(ids) < len("das haus ist groß")
    assert pieces.decode(ids) == "das haus ist groß" and pieces.decode([0, *ids, 0, 1]) == "das haus ist groß"
    assert "".join(pieces.labels[i] for i in ids).replace("▁", " ").strip() == "das haus ist groß"
    assert pieces.unknown("das y!") == {"y", "!"}
    with pytest.raises(ValueError, match="no piece for 'y'"):
        pieces.encode("das y")
    pieces.save(tmp_path)
    assert Pieces.from_folder(tmp_path).symbols == pieces.symbols
    with pytest.raises(FileNotFoundError, match="Pieces.train"):
        Pieces(tmp_path / "none.model")


def test_the_same_texts_give_the_same_pieces_and_too_many_are_refused(pieces, tmp_path):
    again = Pieces.train(TEXTS, 32, tmp_path / "again.model")
    assert again.model_file.read_bytes() == pieces.model_file.read_bytes()
    with pytest.raises(ValueError, match="size 4000 with these texts"):
        Pieces.train(TEXTS, 4000, tmp_path / "big.model")

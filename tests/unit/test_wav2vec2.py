"""A head's rows are carried over by symbol, and never where nothing says what they stand for."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCTC

from carryover.models import wav2vec2
from carryover.text import Characters, Pieces

OLD = "abcdeé'"


@pytest.fixture
def with_head(tiny_ctc, tmp_path):
    """(symbols) -> folder of a model with a head for them, and nothing that names them."""

    def make(symbols):
        config = AutoConfig.from_pretrained(tiny_ctc)
        config.vocab_size, config.pad_token_id = len(symbols), symbols.blank
        model = AutoModelForCTC.from_config(config)
        model.save_pretrained(tmp_path)
        return str(tmp_path), model.lm_head.weight

    return make


def test_a_head_is_carried_over_by_symbol(with_head, capsys):
    old = Characters(OLD)
    source, head = with_head(old)
    old.save(source)
    tokenizer = wav2vec2.tokenizer(source, "ä" + OLD[::-1])
    model = wav2vec2.load(source, tokenizer)
    assert model.new_units == [9] and torch.equal(model.hf.lm_head.weight[:9], head)
    assert "9 of 10 rows of the head carried over by symbol, new: ä" in capsys.readouterr().out
    with pytest.raises(ValueError, match="not the tokenizer's first; they differ in 2: 'a', 'b'; 3: 'b', 'a' "):
        wav2vec2.load(source, Characters("ba" + OLD[2:]))


def test_a_head_whose_symbols_nothing_names_is_refused(with_head):
    source, _ = with_head(Characters(OLD))
    with pytest.raises(ValueError, match="its head has 9 units, and neither vocab.json nor pieces.model says"):
        wav2vec2.load(source, wav2vec2.tokenizer(source, OLD + "ä"))
    assert wav2vec2.load(source, Characters("abc"), from_scratch=True).new_units == []


def test_pieces_are_read_from_the_folder_and_do_not_grow(with_head, tmp_path):
    texts = ["een twee drie vier vijf zes zeven acht negen tien"] * 4
    pieces = Pieces.train(texts, 24, tmp_path / "made.model")
    source, head = with_head(pieces)
    pieces.save(source)
    tokenizer = wav2vec2.tokenizer(source, "acdefghijnrstvwz")
    assert tokenizer.symbols == pieces.symbols
    model = wav2vec2.load(source, tokenizer)
    assert model.new_units == [] and torch.equal(model.hf.lm_head.weight, head)
    with pytest.raises(ValueError, match="no piece of .* has ß ä, and a trained model gets no new pieces"):
        wav2vec2.tokenizer(source, "acdeäß")

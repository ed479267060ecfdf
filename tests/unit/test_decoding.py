"""Decoders: greedy, and a beam search against every text there is, with and without a language model."""

import gzip
import importlib.util
import itertools
import math
from collections import defaultdict

import pytest
import torch

from carryover.decoding import BeamSearch, Greedy
from carryover.text import Characters, Pieces

needs_kenlm = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("kenlm", "pygtrie")),
    reason="kenlm is not installed: pip install -e '.[lm]'",
)
EXACT = {
    "beam_size": 10_000,
    "token_prune_min_logp": -math.inf,
    "beam_prune_logp": -math.inf,
    "prune_history": False,
}
CHARACTERS = Characters("ab")
# Bigrams, with and without back-off weights, as lmplz and SRILM write them; "der" hardly ever ends a sentence
ARPA = """\\data\\
ngram 1=8
ngram 2=4

\\1-grams:
-99\t<s>\t-0.3
-1.0\t</s>
-2.0\t<unk>
-1.1\ta
-0.7\tb\t-0.2
-1.5\tab\t-0.1
-1.0\tder\t-1.5
-1.2\tdem

\\2-grams:
-0.3\t<s> a
-0.2\ta b
-0.4\tb </s>
-0.3\tdem </s>

\\end\\
"""
IN_LIST = {"a", "b", "ab", "der", "dem"}


@pytest.fixture
def arpa(tmp_path):
    file = tmp_path / "toy.arpa"
    file.write_text(ARPA, encoding="utf-8")
    return str(file)


def texts_of(log_probs, tokenizer):
    """(T, V) -> {text: p(text|x)} by all V ** T paths."""
    total = defaultdict(float)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        ids = [i for k, i in enumerate(path) if (k == 0 or i != path[k - 1]) and i != tokenizer.blank]
        text = " ".join(tokenizer.decode(ids).split())
        total[text] += math.exp(sum(log_probs[t, i].item() for t, i in enumerate(path)))
    return total


def spoken(tokenizer, text, peak=8.0, seed=0):
    """(1, T, V) log-probabilities that peak at a text: two frames a symbol, and a blank after each."""
    path = [frame for i in tokenizer.encode(text) for frame in (i, i, tokenizer.blank)]
    logits = torch.randn(1, len(path), len(tokenizer), generator=torch.Generator().manual_seed(seed))
    logits[0, range(len(path)), path] += peak
    return logits.log_softmax(-1)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    texts = ["das haus ist groß", "de kat zit op de mat", "één uur in de trein"] * 4
    return Pieces.train(texts, 25, tmp_path_factory.mktemp("pieces") / "toy.model")


def test_on_peaked_posteriors_all_decoders_agree(pieces):
    for tokenizer in (Characters("abcdefghijklmnopqrstuvwxyzéëß'-"), pieces):
        one, two = "de kat zit op de mat", "das haus ist groß"
        log_probs = torch.zeros(2, 80, len(tokenizer)).log_softmax(-1)
        frames = []
        for i, text in enumerate((one, two)):
            spelled = spoken(tokenizer, text, seed=i)
            frames.append(spelled.shape[1])
            log_probs[i, : frames[i]] = spelled[0]
            log_probs[i, frames[i] :, 3] = 10.0  # what comes after the last valid frame is not read
        for decoder in (Greedy(tokenizer), BeamSearch(tokenizer, beam_size=10)):
            assert decoder(log_probs, torch.tensor(frames)) == [one, two], (decoder, tokenizer)


@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_finds_the_most_probable_text(seed):
    log_probs = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)
    every = texts_of(log_probs[0], CHARACTERS)
    best = max(every, key=every.get)
    assert BeamSearch(CHARACTERS, **EXACT)(log_probs, torch.tensor([5])) == [best]


def test_the_most_probable_text_need_not_be_the_best_path():
    # path "blank blank" has 0.36, more than any other, but "a" has 0.16 + 0.24 + 0.24 = 0.64
    probs = torch.tensor([[[0.6, 1e-9, 0.4, 1e-9]] * 2])
    assert Greedy(CHARACTERS)(probs.log(), torch.tensor([2])) == [""]
    assert BeamSearch(CHARACTERS)(probs.log(), torch.tensor([2])) == ["a"]


def test_no_frames_are_no_text():
    log_probs = torch.zeros(1, 3, 4).log_softmax(-1)
    assert Greedy(CHARACTERS)(log_probs, torch.tensor([0])) == [""]
    assert BeamSearch(CHARACTERS)(log_probs, torch.tensor([0])) == [""]


def test_a_tokenizer_of_another_model_is_refused():
    with pytest.raises(ValueError, match="5 units, but the tokenizer has 4"):
        BeamSearch(CHARACTERS)(torch.zeros(1, 3, 5), torch.tensor([3]))


def penalised(log_p, text, c, bonus=0.0):
    words = len(text.split())
    return log_p / max(1, words) ** c + bonus * words


@pytest.mark.parametrize("c", [0.5, 1.0, 2.0])
def test_a_length_penalty_takes_the_text_that_its_formula_says(c):
    frames, changed = torch.tensor([5]), 0
    for seed in range(8):
        log_probs = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)
        every = texts_of(log_probs[0], CHARACTERS)
        best = max(every, key=lambda text: penalised(math.log(every[text]), text, c))
        assert BeamSearch(CHARACTERS, length_penalty=c, **EXACT)(log_probs, frames) == [best]
        changed += best != max(every, key=every.get)
    assert changed > 0


def test_a_length_penalty_on_two_texts_by_hand():
    # "a" has 0.6 and "a b" 0.4: -0.51 is more than -0.92, but less than -0.92 / 2 = -0.46, the mean of a word
    space = CHARACTERS.encode("a b")[1]
    log_probs = torch.full((1, 3, 4), 1e-9)
    a, b = CHARACTERS.encode("ab")
    log_probs[0, 0, a] = 1.0
    log_probs[0, 1, space] = 1.0  # "a " is "a"
    log_probs[0, 2, CHARACTERS.blank], log_probs[0, 2, b] = 0.6, 0.4
    for c, text in ((0.0, "a"), (0.8, "a"), (0.9, "a b"), (1.0, "a b")):  # turns at log2(0.92 / 0.51) = 0.843
        assert BeamSearch(CHARACTERS, length_penalty=c)(log_probs.log(), torch.tensor([3])) == [text], c
    assert BeamSearch(CHARACTERS, length_penalty=1.0)(log_probs.log(), torch.tensor([0])) == [""]


@pytest.mark.parametrize("c", [-0.1, math.nan, math.inf])
def test_a_length_penalty_that_is_none_is_refused(c):
    with pytest.raises(ValueError, match="length_penalty: .* give 0 .none. or more"):
        BeamSearch(CHARACTERS, length_penalty=c)


@needs_kenlm
@pytest.mark.parametrize(("seed", "length_penalty"), [*((seed, 0.0) for seed in range(8)), (0, 1.0), (3, 1.0)])
def test_with_a_language_model_the_score_is_the_one_that_is_promised(arpa, seed, length_penalty):
    import kenlm

    model, alpha, beta = kenlm.Model(arpa), 0.7, 0.9
    log_probs = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)

    def score(text, p):
        unknown = sum(word not in IN_LIST for word in text.split())
        log_lm = math.log(10) * (model.score(text, bos=True, eos=True) - 10 * unknown)
        return penalised(math.log(p) + alpha * log_lm, text, length_penalty, bonus=beta)

    every = texts_of(log_probs[0], CHARACTERS)
    best = max(every, key=lambda text: score(text, every[text]))
    search = BeamSearch(CHARACTERS, lm=arpa, alpha=alpha, beta=beta, length_penalty=length_penalty, **EXACT)
    assert search(log_probs, torch.tensor([5])) == [best]


@needs_kenlm
def test_a_language_model_turns_the_hypothesis_over(arpa, tmp_path):
    characters = Characters("abdemr")
    log_probs = spoken(characters, "der", peak=12.0)
    r, m = characters.encode("rm")
    log_probs[0, 6:8, m] = log_probs[0, 6:8, r] - 0.5  # "dem" is heard nearly as well, and can end a sentence
    frames = torch.tensor([log_probs.shape[1]])
    assert BeamSearch(characters)(log_probs, frames) == ["der"]
    assert BeamSearch(characters, lm=arpa, alpha=0.0)(log_probs, frames) == ["der"]
    assert BeamSearch(characters, lm=arpa, alpha=1.0)(log_probs, frames) == ["dem"]
    packed = tmp_path / "toy.arpa.gz"
    packed.write_bytes(gzip.compress(ARPA.encode()))
    assert BeamSearch(characters, lm=str(packed), alpha=1.0)(log_probs, frames) == ["dem"]
    # a list decides which words are known: without "dem" in it, "der" is back
    words = tmp_path / "words.txt"
    words.write_text("der\na\n", encoding="utf-8")
    assert BeamSearch(characters, lm=arpa, alpha=1.0, words=str(words))(log_probs, frames) == ["der"]


@pytest.fixture
def with_kenlm(monkeypatch):
    """As if kenlm were there: what is tested fails before it is used."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def test_without_kenlm_the_error_says_what_to_install(arpa, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install -e '\.\[lm\]'"):
        BeamSearch(CHARACTERS, lm=arpa)
    BeamSearch(CHARACTERS)


def test_what_is_wrong_with_a_language_model_is_said(tmp_path, with_kenlm):
    with pytest.raises(FileNotFoundError, match="lm: no file none.arpa"):
        BeamSearch(CHARACTERS, lm="none.arpa")
    with pytest.raises(ValueError, match="lm names none"):
        BeamSearch(CHARACTERS, words="words.txt")
    binary = tmp_path / "lm.bin"
    binary.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0\xff\xfe")
    with pytest.raises(ValueError, match="is a binary.*words"):
        BeamSearch(CHARACTERS, lm=str(binary))
    empty = tmp_path / "empty.arpa"
    empty.write_text("\\data\\\nngram 1=1\n\\1-grams:\n-1 <s>\n\\end\\\n")
    with pytest.raises(ValueError, match="no words found"):
        BeamSearch(CHARACTERS, lm=str(empty))

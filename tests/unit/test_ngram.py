"""The n-gram estimator: a model counted by hand, probabilities that sum to one, and an ARPA file that kenlm reads."""

import itertools
import math
import random

import pytest

from carryover.text import ngram


def probability(models, word: str, history: tuple[str, ...]) -> float:
    """p(word | history) by backing off."""
    history = history[-(len(models) - 1) :] if len(models) > 1 else ()
    gram = (*history, word)
    if gram in models[len(gram) - 1]:
        return models[len(gram) - 1][gram][0]
    if not history:
        return models[0][(ngram.UNKNOWN,)][0]
    gamma = models[len(history) - 1].get(history, (0, 1.0))[1]
    return gamma * probability(models, word, history[1:])


def corpus(seed: int, sentences: int = 300) -> list[str]:
    draw = random.Random(seed)
    words = [f"w{n}" for n in range(40)]
    weights = [1 / (n + 1) for n in range(40)]
    return [" ".join(draw.choices(words, weights, k=draw.randint(1, 8))) for _ in range(sentences)]


def test_bigrams_by_hand():
    models = ngram.estimate(["a b", "", "a c"], order=2)
    # a follows one word (<s>), b and c one (a), </s> two (b, c); too few counts, so D = 0.5, 1, 1.5.
    # Of 5 in all, 3 x 0.5 + 1 x 1 are saved for the uniform 1 / 5 of a, b, c, </s>, <unk>
    gamma = 2.5 / 5
    assert models[0][("a",)][0] == models[0][("b",)][0] == pytest.approx(0.5 / 5 + gamma / 5)
    assert models[0][("</s>",)][0] == pytest.approx((2 - 1) / 5 + gamma / 5)
    assert models[0][("<unk>",)][0] == pytest.approx(gamma / 5)
    # <s> a twice: D = 1 of 2 is saved; a b once of 2: 0.5 each
    assert models[1][("<s>", "a")][0] == pytest.approx((2 - 1) / 2 + 0.5 * 0.2)
    assert models[1][("a", "b")][0] == pytest.approx((1 - 0.5) / 2 + 0.5 * 0.2)
    assert models[0][("a",)][1] == pytest.approx(0.5) and models[0][("c",)][1] == pytest.approx(0.5)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_history_has_probabilities_that_sum_to_one(order):
    texts = corpus(1)
    models = ngram.estimate(texts, order)
    words = [gram[0] for gram in models[0] if gram[0] != ngram.BEGIN]
    seen = [gram[:-1] for gram in models[-1]][:200] + [("never",), ("w1", "never"), ("w0", "w39", "w39")]
    for history in seen:
        assert math.isclose(sum(probability(models, word, history) for word in words), 1.0, rel_tol=1e-9), history


def test_discounts_are_those_of_the_counts_of_counts():
    counts = ngram.Counter({("a", str(n)): 1 for n in range(10)} | {("b", str(n)): 2 for n in range(4)})
    counts |= {("c", str(n)): 3 for n in range(2)} | {("d", "1"): 4}
    y = 10 / (10 + 2 * 4)
    assert ngram._discounts(counts) == pytest.approx((1 - 2 * y * 4 / 10, 2 - 3 * y * 2 / 4, 3 - 4 * y * 1 / 2))
    assert ngram._discounts(ngram.Counter({("a",): 1})) == ngram.FALLBACK


def test_it_expects_unseen_text_better_than_words_alone():
    texts = [f"{a} {b}" for a, b in itertools.product("abc", "xyz")] * 3 + ["a x"] * 20
    one, two = (ngram.estimate(texts, order) for order in (1, 2))
    assert probability(two, "x", ("a",)) > probability(one, "x", ())


@pytest.mark.parametrize("texts, message", [(["", " "], "no words found"), (["a <s> b"], "holds <s>")])
def test_bad_texts(texts, message):
    with pytest.raises(ValueError, match=message):
        ngram.estimate(texts)
    with pytest.raises(ValueError, match="order: 0"):
        ngram.estimate(["a"], 0)


def test_kenlm_reads_it_and_says_the_same(tmp_path):
    kenlm = pytest.importorskip("kenlm", reason="kenlm is not installed: pip install -e '.[lm]'")
    texts = corpus(2)
    models = ngram.estimate(texts, 3)
    (tmp_path / "lm.arpa").write_text(ngram.arpa(models), encoding="utf-8")
    model = kenlm.Model(str(tmp_path / "lm.arpa"))
    assert model.order == 3
    for text in [*corpus(3, 50), "w1 never w2"]:
        sentence = [ngram.BEGIN, *text.split(), ngram.END]
        own = sum(math.log10(probability(models, w, tuple(sentence[:i]))) for i, w in enumerate(sentence) if i)
        assert model.score(text) == pytest.approx(own, abs=1e-3)

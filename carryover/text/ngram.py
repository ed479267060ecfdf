"""An n-gram model of words from texts, as an ARPA file: modified Kneser-Ney, interpolated.

Chen and Goodman (1998), as kenlm's lmplz estimates it (Heafield et al. 2013), without pruning. It counts in memory:
for the transcripts of a corpus, not for the web.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
FALLBACK = (0.5, 1.0, 1.5)  # lmplz's --discount_fallback, where counts are too few to estimate discounts
Gram = tuple[str, ...]


def estimate(texts: Iterable[str], order: int = 3) -> list[dict[Gram, tuple[float, float]]]:
    """Probabilities and back-off weights.

        p(w | h) = (a(h w) - D(a(h w))) / sum_v a(h v) + gamma(h) p(w | h'),    h' = h without its first word

    a is the count of an n-gram of the highest order and of one that begins a sentence, else the number of different
    words that stand before it. p(w) is interpolated with the uniform distribution over the words, </s> and <unk>.

    Parameters
    ----------
    texts : iterable of str
        One sentence each, normalised as targets are; empty ones are left out.
    order : int
        Words of the longest n-gram, 1 or more.

    Returns
    -------
    list of dict
        For n = 1 to `order`: {n-gram: (p, gamma)}, no logarithms.

    Raises
    ------
    ValueError
        For an order below 1, without a word, and for a text that holds a word of the model's own (<s>, ...).
    """
    if order < 1:
        raise ValueError(f"order: {order}; give the words of the longest n-gram, e.g. 3")
    adjusted = _adjusted(_counts(texts, order), order)
    words = [gram[0] for gram in adjusted[0]]
    models: list[dict[Gram, tuple[float, float]]] = []
    lower = dict.fromkeys([(word,) for word in (*words, UNKNOWN)], 1 / (len(words) + 1))
    gammas: list[dict[Gram, float]] = []
    for n, counts in enumerate(adjusted, start=1):
        discounts = _discounts(counts)
        totals, saved = Counter(), defaultdict(float)
        for gram, count in counts.items():
            totals[gram[:-1]] += count
            saved[gram[:-1]] += discounts[min(count, 3) - 1]
        gamma = {history: saved[history] / total for history, total in totals.items()}
        found = {
            gram: (count - discounts[min(count, 3) - 1]) / totals[gram[:-1]]
            + gamma[gram[:-1]] * lower[gram[1:] or gram]
            for gram, count in counts.items()
        }
        if n == 1:
            found[(UNKNOWN,)] = gamma[()] * lower[(UNKNOWN,)]
            found[(BEGIN,)] = 0.0  # never predicted: a history alone
        gammas.append(gamma)
        models.append({gram: (p, 1.0) for gram, p in found.items()})
        lower = found
    for n in range(1, order):
        for history, weight in gammas[n].items():
            models[n - 1][history] = (models[n - 1][history][0], weight)
    return models


def _counts(texts: Iterable[str], order: int) -> list[Counter]:
    """Counts of n-grams, n = 1 to `order`; <s> stands in front once and is no n-gram of one word."""
    counts = [Counter() for _ in range(order)]
    for text in texts:
        if not (words := text.split()):
            continue
        if own := {BEGIN, END, UNKNOWN} & set(words):
            raise ValueError(f"'{text}' holds {', '.join(sorted(own))}, which the model itself uses; take it out")
        sentence = [BEGIN, *words, END]
        for n in range(1, order + 1):
            counts[n - 1].update(tuple(sentence[i : i + n]) for i in range(len(sentence) - n + 1))
    del counts[0][(BEGIN,)]
    if not counts[0]:
        raise ValueError("no words found to make a language model of")
    return counts


def _adjusted(counts: list[Counter], order: int) -> list[Counter]:
    found = [counts[-1]]
    for n in range(order - 1, 0, -1):
        before = Counter(gram[1:] for gram in counts[n])  # n-grams of n + 1 words are different by their first word
        before |= {gram: count for gram, count in counts[n - 1].items() if gram[0] == BEGIN}
        found.insert(0, before)
    return found


def _discounts(counts: Counter) -> tuple[float, float, float]:
    """D(1), D(2) and D(3 and more), equation 26."""
    of = Counter(count for count in counts.values() if count <= 4)
    if not all(of[k] for k in (1, 2, 3, 4)):
        return FALLBACK
    y = of[1] / (of[1] + 2 * of[2])
    found = tuple(k - (k + 1) * y * of[k + 1] / of[k] for k in (1, 2, 3))
    return found if all(0 <= d <= k for k, d in enumerate(found, start=1)) else FALLBACK


def arpa(models: list[dict[Gram, tuple[float, float]]]) -> str:
    """The text of an ARPA file: decimal logarithms; every n-gram below the highest order has its back-off weight."""
    lines = ["\\data\\", *(f"ngram {n}={len(model)}" for n, model in enumerate(models, start=1)), ""]
    for n, model in enumerate(models, start=1):
        lines.append(f"\\{n}-grams:")
        for gram, (p, gamma) in model.items():
            line = f"{math.log10(p) if p else -99:.7g}\t{' '.join(gram)}"
            lines.append(line if n == len(models) else f"{line}\t{math.log10(gamma):.7g}")
        lines.append("")
    return "\n".join([*lines, "\\end\\", ""])

"""Sentences of a closed domain in Dutch, German and English: numbers, times, dates, places, shopping, commands.

A language is a dict of slots and a list of templates. A template's `{slot}` is replaced by one of that slot's values,
which may hold slots themselves; `{slot2}` is another value of the same slot. Everything is written in words, because a
recogniser hears no digits. Values are dealt like cards, reshuffled when all have been used, so that rare words are
about as frequent as their list is short: a very small model must learn every one of them.
"""

import random
import re
from collections.abc import Callable, Collection

from local import synthetic_dutch, synthetic_english, synthetic_german

GRAMMARS = {
    "nl": (synthetic_dutch.SLOTS, synthetic_dutch.TEMPLATES.strip().splitlines()),
    "de": (synthetic_german.SLOTS, synthetic_german.TEMPLATES.strip().splitlines()),
    "en": (synthetic_english.SLOTS, synthetic_english.TEMPLATES.strip().splitlines()),
}
SLOT = re.compile(r"\{(\w+?)\d?\}")


def normalise(text: str) -> str:
    """Lower case without punctuation; apostrophes stay. By this key sentences of two splits are told apart."""
    return re.sub(r"[.,?]", "", text).lower()


def sentence_case(text: str) -> str:
    """Capitalise the first letter, after a leading 's as Dutch spelling wants it: 's Avonds regent het."""
    at = 3 if text.startswith("'s ") else 0
    return text[:at] + text[at].upper() + text[at + 1 :]


def dealer(rng: random.Random) -> Callable[[str, list[str]], str]:
    """A function that deals a list's values in random order, and begins anew when all have been dealt."""
    decks: dict[str, list[str]] = {}

    def deal(name: str, values: list[str]) -> str:
        if not decks.get(name):
            decks[name] = rng.sample(values, len(values))
        return decks[name].pop()

    return deal


def sentences(language: str, count: int, rng: random.Random, taken: Collection[str] = ()) -> list[str]:
    """Draw distinct sentences.

    Parameters
    ----------
    language : str
        A key of `GRAMMARS`.
    count : int
        How many.
    rng : random.Random
        The only source of chance.
    taken : collection of str
        Normalised sentences (`normalise`) that must not occur, because another split holds them.

    Returns
    -------
    list of str
        With sentence case and final punctuation, distinct after normalisation.

    Raises
    ------
    ValueError
        When the grammar has too few sentences left.
    """
    slots, templates = GRAMMARS[language]
    deal, seen, out = dealer(rng), set(taken), []

    def fill(text: str) -> str:
        used: dict[str, list[str]] = {}

        def value(match: re.Match) -> str:
            name = match[1]
            options = [v for v in slots[name] if v not in used.get(name, [])]
            drawn = deal(name, slots[name])
            if drawn not in options:  # the deck was reshuffled within the sentence
                drawn = rng.choice(options)
            used.setdefault(name, []).append(drawn)
            return fill(drawn)

        return SLOT.sub(value, text)

    stale = 0
    while len(out) < count:
        text = sentence_case(fill(deal("", templates)))
        key = normalise(text)
        if key in seen:
            stale += 1
            if stale > 10_000:
                raise ValueError(f"hours: the {language} grammar has no new sentence after {len(out)} of {count}")
            continue
        stale = 0
        seen.add(key)
        out.append(text)
    return out

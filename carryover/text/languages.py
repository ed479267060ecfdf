"""What the normaliser knows of single languages: how symbols are said, and how numbers are written."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """One language's tables.

    Attributes
    ----------
    symbols : dict
        What a symbol is called, after one and after several.
    decimal, thousands : str
        Signs within a number.
    minus : str
        What is said before a negative number.
    hour : str
        Word after a time; "" where there is none.
    ordinal : str
        Regular expression of an ordinal in figures, its number in group 1.
    few : dict
        Corrections of what num2words says, as regular expression and replacement.
    """

    symbols: dict[str, tuple[str, str]]
    decimal: str = ","
    thousands: str = "."
    minus: str = "minus"
    hour: str = ""
    ordinal: str = r"(?!)"
    few: tuple[tuple[str, str], ...] = ()


SPOKEN = "%‰€$£¥&°§"  # symbols that one says: each is a word, by its language's name or as it stands

_MONTH = "januar|jänner|februar|märz|april|mai|juni|juli|august|september|oktober|november|dezember"
_NOUN = "jahrhundert|stock|klasse|platz|geburtstag|tag|mal|liga|weltkrieg|auflage|etage|kapitel|runde|woche"
_BEFORE = "der|die|das|dem|den|des|am|im|vom|zum|zur|beim|bis|ab"

LANGUAGES = {
    "nl": Language(
        symbols={
            "%": ("procent", "procent"), "‰": ("promille", "promille"), "€": ("euro", "euro"),
            "$": ("dollar", "dollar"), "£": ("pond", "pond"), "¥": ("yen", "yen"), "&": ("en", "en"),
            "°c": ("graad celsius", "graden celsius"), "°f": ("graad fahrenheit", "graden fahrenheit"),
            "°": ("graad", "graden"), "§": ("paragraaf", "paragraaf"),
        },
        minus="min", hour="uur", ordinal=r"(\d+)(?:ste|de|e)\b",
        few=(("één", "een"), (r" honderd ?", "honderd")),
    ),
    "de": Language(
        symbols={
            "%": ("prozent", "prozent"), "‰": ("promille", "promille"), "€": ("euro", "euro"),
            "$": ("dollar", "dollar"), "£": ("pfund", "pfund"), "¥": ("yen", "yen"), "&": ("und", "und"),
            "°c": ("grad celsius", "grad celsius"), "°f": ("grad fahrenheit", "grad fahrenheit"),
            "°": ("grad", "grad"), "§": ("paragraph", "paragraph"),
        },
        hour="uhr", ordinal=rf"(?:(?<=\b(?:{_BEFORE}) )(\d+)\.(?= ?\p{{L}})|(\d+)\.(?= ?(?:{_MONTH}|{_NOUN})\b))",
    ),
    "en": Language(
        symbols={
            "%": ("percent", "percent"), "‰": ("per mille", "per mille"), "€": ("euro", "euros"),
            "$": ("dollar", "dollars"), "£": ("pound", "pounds"), "¥": ("yen", "yen"), "&": ("and", "and"),
            "°c": ("degree celsius", "degrees celsius"), "°f": ("degree fahrenheit", "degrees fahrenheit"),
            "°": ("degree", "degrees"), "§": ("section", "section"),
        },
        decimal=".", thousands=",", ordinal=r"(\d+)(?:st|nd|rd|th)\b",
    ),
}  # fmt: skip


def code_of(language: str | None) -> str | None:
    """The language of a code with a region: "nl" of "nl-BE" or "nl_BE"; None of None and ""."""
    return re.split("[-_]", language.lower())[0] if language else None

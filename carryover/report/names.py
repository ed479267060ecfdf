"""Proper names of methods and languages, as they stand in tables and figures that people read; and methods' order."""

import re
from collections.abc import Iterable

METHODS = {  # in this order; the bounds of what can be had stand last
    "plain": "plain", "averaging": "averaging", "ewc": "EWC", "ewc_thesis": "EWC", "online_ewc": "online EWC",
    "mas": "MAS", "si": "SI", "l2sp": "L2-SP", "lwf": "LwF", "lwf_averaging": "LwF + averaging", "replay": "replay",
    "replay_ewc": "replay + EWC", "replay_averaging": "replay + averaging", "pseudo_replay": "pseudo-replay",
    "der": "DER++", "agem": "A-GEM", "joint": "joint", "new_only": "new only",
}  # fmt: skip
LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "br": "Breton", "ca": "Catalan", "cs": "Czech", "cy": "Welsh",
    "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "eu": "Basque",
    "fa": "Persian", "fi": "Finnish", "fr": "French", "fy-nl": "Frisian", "ga-ie": "Irish", "gl": "Galician",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "is": "Icelandic",
    "it": "Italian", "ja": "Japanese", "ka": "Georgian", "ko": "Korean", "lb": "Luxembourgish", "lt": "Lithuanian",
    "lv": "Latvian", "mt": "Maltese", "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese",
    "ro": "Romanian", "ru": "Russian", "rw": "Kinyarwanda", "sk": "Slovak", "sl": "Slovenian", "sr": "Serbian",
    "sv": "Swedish", "sv-se": "Swedish", "sw": "Swahili", "ta": "Tamil", "tr": "Turkish", "uk": "Ukrainian",
    "ur": "Urdu", "vi": "Vietnamese", "yue": "Cantonese", "zh": "Chinese", "zh-cn": "Chinese",
}  # fmt: skip


def method(name: str) -> str:
    """A method's proper name; what is not a method's, such as a key's value, stays as it is.

    Example
    -------
    >>> method("replay_ewc"), method("ewc,lambda=10"), method("plain + averaging 0.75"), method("ewc+replay")
    ('replay + EWC', 'EWC, lambda=10', 'plain + averaging 0.75', 'EWC + replay')
    """
    return ", ".join(_method(part.strip()) for part in name.split(","))


def _method(name: str) -> str:
    """Of one method, or of some joined by +."""
    several = (" ".join(METHODS.get(word, word) for word in part.split()) for part in re.split(r" ?\+ ?", name))
    return METHODS.get(name) or " + ".join(several)


def language(code: str) -> str:
    """A language's English name; a code that is not known stays.

    Example
    -------
    >>> language("de"), language("tlh")
    ('German', 'tlh')
    """
    return LANGUAGES.get(code.lower().replace("_", "-"), code)


def ordered(found: Iterable[str], baseline: str = "plain") -> list[str]:
    """Methods in a table's order: the baseline, then as METHODS has them, then others as they come; bounds last."""
    places = {name: i for i, name in enumerate(METHODS)}
    bounds = ("joint", "new_only")

    def place(name: str) -> tuple:
        known = re.split(r"[, ]", name)[0]
        return name != baseline, known in bounds, known != baseline, places.get(known, len(places))

    return sorted(found, key=place)

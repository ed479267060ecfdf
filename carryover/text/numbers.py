"""Figures as words, by num2words: `Normaliser(numbers=True)`.

Texts are in lower case here, symbols of percent, degrees and currency are words already, but for money with cents.
What can be said in several ways is said in one: 8:30 is "acht uur dertig", 1984 a year, 1500 before a unit no year.
"""

import importlib.metadata
from decimal import Decimal

import regex

from carryover.text.languages import LANGUAGES, Language

W = r"[\p{L}\p{M}\p{N}]"
YEARS = range(1100, 2000)  # as people say them: neunzehnhundertvierundachtzig; later ones are plain numbers


class Numbers:
    """Spells out the figures of a text.

    Raises
    ------
    ImportError
        Without num2words.
    """

    def __init__(self):
        try:
            import num2words
        except ImportError as error:
            raise ImportError(
                "normaliser: numbers: True needs num2words; pip install num2words, or leave numbers out"
            ) from error
        self._say, self._known = num2words.num2words, num2words.CONVERTER_CLASSES
        self.version = importlib.metadata.version("num2words")

    def require(self, language: str | None) -> None:
        """Raise ValueError where numbers cannot be said in a language."""
        if language not in self._known:
            raise ValueError(
                f"normaliser: numbers: True cannot say numbers in language {language!r}; num2words knows "
                f"{', '.join(sorted(self._known))}; leave numbers out, or correct the language"
            )

    def say(self, number: int | Decimal, language: str, to: str = "cardinal") -> str:
        """One number in words."""
        words = self._say(number, lang=language, to=to).lower()
        for pattern, replacement in LANGUAGES[language].few if language in LANGUAGES else ():
            words = regex.sub(pattern, replacement, words)
        return words

    def money(self, text: str, language: str) -> str:
        """Amounts with cents, whose unit stands between the two numbers: 5,50 € -> vijf euro vijftig."""
        rules = LANGUAGES.get(language)
        if rules is None:
            return text

        def words(match):
            whole, cents = int(_digits(match[1])), int(match[2])
            unit = rules.symbols[match[3]][whole != 1]
            return f" {self.say(whole, language)} {unit} {self.say(cents, language) if cents else ''} "

        pattern = rf"(?<![\p{{N}}.,])({_whole(rules)}){regex.escape(rules.decimal)}(\d\d)\s?([€$£])"
        return _ein(regex.sub(pattern, words, text), language)

    def __call__(self, text: str, language: str) -> str:
        rules = LANGUAGES.get(language)
        if rules is None:  # how its numbers are written is not known here: whole numbers without a sign within
            return regex.sub(rf"(?<!{W}|\d[.,:])\d+(?!{W}|[.,:]\d)", lambda m: self._plain(m[0], language, False), text)
        text = self._times(text, language, rules)
        text = regex.sub(rules.ordinal, lambda m: self._ordinal(m, text, language), text)
        units = {word for names in rules.symbols.values() for name in names for word in name.split()}
        number = regex.compile(
            rf"(?<!{W}|\d[.,:'])(?P<sign>(?<!\S)[-−])?(?P<whole>{_whole(rules)})"
            rf"(?:{regex.escape(rules.decimal)}(?P<part>\d+))?(?!{W}|[.,:']\d)(?P<unit>\s(?:{'|'.join(sorted(units))})\b)?"
        )

        def words(match):
            sign = f"{rules.minus} " if match["sign"] else ""
            if match["part"]:
                said = self.say(Decimal(f"{_digits(match['whole'])}.{match['part']}"), language)
            else:
                said = self._plain(match["whole"], language, year=not (match["sign"] or match["unit"]))
            return f"{sign}{said}{match['unit'] or ''}"

        return _ein(number.sub(words, text), language)

    def _plain(self, figures: str, language: str, year: bool) -> str:
        digits = _digits(figures)
        if digits[0] == "0" and len(digits) > 1:  # a telephone number, 007: figure by figure
            return " ".join(self.say(int(digit), language) for digit in digits)
        year = year and figures == digits and int(digits) in YEARS and language in LANGUAGES
        try:
            return self.say(int(digits), language, "year" if year else "cardinal")
        except (OverflowError, NotImplementedError):  # too large for words
            return figures

    def _times(self, text: str, language: str, rules: Language) -> str:
        hour = rf"(?:\s?{rules.hour}\b)" if rules.hour else r"(?!)"
        pattern = rf"(?<!{W}|\d[.,:])([01]?\d|2[0-3])(?::([0-5]\d)(?!{W}|[.,:]\d){hour}?|\.([0-5]\d){hour})"

        def words(match):
            hours, minutes = int(match[1]), int(match[2] or match[3])
            said = self.say(minutes, language) if minutes else ""
            if rules.hour:
                return f"{self.say(hours, language)} {rules.hour} {said}".strip()
            if not minutes and not regex.match(r"\s?[ap]\.?m\b", text, pos=match.end()):
                said = "o'clock"
            return f"{self.say(hours, language)} {'oh ' if 0 < minutes < 10 else ''}{said}".strip()

        return _ein(regex.sub(pattern, words, text), language)

    def _ordinal(self, match, text: str, language: str) -> str:
        said = self.say(int(next(filter(None, match.groups()))), language, "ordinal")
        if language != "de":
            return said
        # der dritte, am dritten, in der dritten (Klasse), dritter (Oktober)
        before = text[: match.start()].split()[-2:]
        if not before or before[-1] not in "der die das dem den des am im vom zum zur beim bis ab".split():
            return f"{said}r"
        dative = before[-1] == "der" and before[0] in "in zu von aus mit an auf bei seit nach".split()
        return said if before[-1] in ("der", "die", "das") and not dative else f"{said}n"


def _digits(figures: str) -> str:
    return "".join(c for c in figures if c.isdecimal())


def _whole(rules: Language) -> str:
    return rf"\d{{1,3}}(?:{regex.escape(rules.thousands)}\d{{3}})+(?!\d)|\d{{1,3}}(?:'\d{{3}})+(?!\d)|\d+"


def _ein(text: str, language: str) -> str:
    """German says ein Uhr, ein Euro, but eins alone."""
    return regex.sub(r"\beins (?=uhr|euro|dollar|pfund|prozent|grad)", "ein ", text) if language == "de" else text

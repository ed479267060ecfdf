"""Text as it is scored and, if the YAML says so, as it is learned: one normaliser for both.

Whisper's own is made for English: it writes `hatte` for `hätte`, `een` for `één` and `is` for Dutch `'s`. All
normalisers share one face, `normaliser(text, language) -> text`; a YAML names one for scoring and one for targets.
What each rule does is told with examples in docs/reference/normaliser.md.
"""

import unicodedata
from itertools import pairwise

import regex

from carryover.text.languages import LANGUAGES, SPOKEN, code_of
from carryover.text.numbers import Numbers

W = r"[\p{L}\p{M}\p{N}]"  # \w knows no combining marks in all scripts, and takes _ for a letter
_ONE_FORM = str.maketrans(dict.fromkeys("’‘‚‛ʼʻ`´׳", "'"))
# Dutch clitics (Afrikaans, Breton) begin with an apostrophe that belongs to the word: 's ochtends, 't, zo 'n, 'k
_CLITIC = rf"(?:s|t|n|k|m|r|d|ns)(?!{W})"
_FINAL = rf"(?:[sxzß]|(?<!{W})(?:po|mo|be|a))"  # dogs' bones, Hans' Auto; Italian un po', Gaelic a' chàr
_OPENS = regex.compile(rf"(?<!{W})'(?=\S)(?!{_CLITIC})")
_CLOSES = regex.compile(rf"(?<=\S)'(?!{W})")
_KEPT = regex.compile(
    rf"(?P<clitic>(?<!{W})'(?={_CLITIC}))|(?P<inner>(?<={W})'(?={W}))|(?P<final>(?<={_FINAL})'(?!{W}))"
    rf"|(?P<number>(?<=\p{{Nd}})[.,:](?=\p{{Nd}}))|(?<=l)·(?=l)|(?<=(?<!{W})\p{{L}})(?:\+\+|\#)(?!{W})"
    r"|(?<=\p{Hebrew})״(?=\p{Hebrew})|(?<=[\p{Tibetan}&&[\p{L}\p{M}]])[་༌](?=[\p{Tibetan}&&[\p{L}\p{M}]])",
    regex.V1,
)
_SUFFIX = regex.compile(rf"(?<={W}):(?=\p{{L}})")  # EU:n, of languages that write it so
_WITH_SUFFIX = (None, "fi", "sv")
_GENDER = regex.compile(r"(?<=\p{L}\p{M}*)(?:\*+(?=\p{L})|[_:/·]-?(?=innen))")
_GENDER_DE = regex.compile(r"(?<=\p{L}\p{M}*)[_:/·]-?(?=(?:in|innen|[erns])(?!\p{L}))")
_WORD_BREAK = regex.compile(r"(?<=[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])\u200b")  # scripts without spaces
_FIGURE = r"\p{Nd}+(?:[.,']\p{Nd}+)*"
_AMOUNT = regex.compile(rf"(?<!\p{{Nd}}\s?)([€$£¥])\s?({_FIGURE})")  # € 5 is said as 5 €
_SYMBOL = regex.compile(rf"(?:(?<![\p{{Nd}}.,])(1)\s?)?(°\s?[cf](?!{W})|[{SPOKEN}])")


class _Forms(dict):
    """One form for what is one letter: for str.translate, filled as characters come."""

    def __missing__(self, point: int) -> str:
        char = chr(point)
        self[point] = found = self._form(char)
        return found

    @staticmethod
    def _form(char: str) -> str:
        # joiners, marks of direction, soft hyphens, byte order marks; tatweel stretches a word, selectors choose a look
        if unicodedata.category(char) == "Cf" or regex.match(r"[\u0640\u034f\p{Variation_Selector}]", char):
            return ""
        tag, _, _ = unicodedata.decomposition(char).partition(" ")
        if tag not in ("<wide>", "<narrow>", "<compat>", "<isolated>", "<initial>", "<medial>", "<final>"):
            return char  # ² and ½ say something else than 2 and 1/2
        form = unicodedata.normalize("NFKC", char)
        kinds = {unicodedata.category(c)[0] for c in form}
        # Thai am is one letter to its readers, and … is no word
        keeps = tag in ("<wide>", "<narrow>") or ("M" not in kinds and kinds & {"L", "N"})
        return form if keeps else char


_FORMS = _Forms()


class Normaliser:
    """Lower case, no punctuation; diacritics, ß, apostrophes of words, decimal signs and symbols that are said stay.

    Hyphens and dashes separate words (`Oberspreewald-Lausitz` is two). Without `numbers`, digits are kept as they are
    written: a system that writes `zwei` for `2` is counted wrong by `WER` and `WER_raw` alike.

    Parameters
    ----------
    numbers : bool
        Figures as words, by num2words: both in targets and in scoring, where a YAML says so for both.

    Raises
    ------
    ImportError
        For `numbers` without num2words.

    Example
    -------
    >>> Normaliser()("’s Ochtends — om één uur: „Hätte“ Hans' Straße 3,5 %?", "nl")
    "'s ochtends om één uur hätte hans' straße 3,5 procent"
    """

    def __init__(self, numbers: bool = False):
        self.numbers = Numbers() if numbers else None
        # written into run.json: results of different normalisers are not comparable
        self.name = "carryover-2" + (f", numbers by num2words {self.numbers.version}" if numbers else "")

    def __call__(self, text: str, language: str | None = None) -> str:
        """Text without what is not said.

        Parameters
        ----------
        text : str
        language : str, optional
            Its code ("nl", "de-AT"), for what symbols and numbers are called; without one, % stays %.

        Raises
        ------
        ValueError
            For `numbers` in a language that num2words does not know.
        """
        code = code_of(language)
        if self.numbers:
            self.numbers.require(code)
        # what a rule takes out can bring two others together (€:0 -> € 0 -> 0 €): until nothing changes
        said = self._words(self._letters(text), code)
        while (again := self._words(self._letters(said), code)) != said:
            said = again
        return said

    @staticmethod
    def _letters(text: str) -> str:
        """One form of each letter and sign, in lower case."""
        text = unicodedata.normalize("NFD", _WORD_BREAK.sub(" ", text)).translate(_FORMS)
        # composed after lowering: J with a caron has no composed form, j has
        text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower()).replace("i̇", "i")
        text = regex.sub(rf"(?<={W})′(?=\p{{L}})|(?<=\p{{L}}\p{{M}}*)′(?={W})", "'", text)  # a prime: else minutes
        return regex.sub(r"(?<=\p{Hebrew})[\"”“](?=\p{Hebrew})", "״", text.translate(_ONE_FORM))

    def _words(self, text: str, code: str | None) -> str:
        text = _GENDER.sub("", text)
        if code == "de":
            text = _GENDER_DE.sub("", text)
        text = _AMOUNT.sub(r" \2 \1", text)
        if self.numbers:
            text = self.numbers.money(text, code)
        text = _SYMBOL.sub(lambda match: self._symbol(match, code), text)
        if self.numbers:
            text = self.numbers(" ".join(text.split()), code)
        kept = {i for match in _KEPT.finditer(text) for i in range(*match.span())} - _quotes(text)
        if code in _WITH_SUFFIX:
            kept |= {match.start() for match in _SUFFIX.finditer(text)}
        keeps = (
            c if i in kept or c in SPOKEN or unicodedata.category(c)[0] in "LMN" else " " for i, c in enumerate(text)
        )
        return unicodedata.normalize("NFC", " ".join("".join(keeps).split()))

    @staticmethod
    def _symbol(match, code: str | None) -> str:
        one, symbol = match[1], match[2].replace(" ", "")
        name = LANGUAGES[code].symbols[symbol][one is None] if code in LANGUAGES else symbol
        joined = name != symbol and symbol == "%" and match.string[match.end() :][:1].isalpha()  # 5%ige
        return f"{one or ''} {name}{'' if joined else ' '}"


def _quotes(text: str) -> set[int]:
    """Places of apostrophes that close a quotation and are no end of a word: 'the dogs' bones', not the second one.

    An opened quotation ends before the next one opens: after a sign or a letter that no word ends on with an
    apostrophe (`'ga weg' zei Hans' moeder`), else at the last place that can be its end.
    """
    opens = [match.start() for match in _OPENS.finditer(text)]
    closes = [match.start() for match in _CLOSES.finditer(text)]
    final = {match.start() for match in _KEPT.finditer(text) if match["final"]}
    found = set()
    for start, end in pairwise([*opens, len(text)]):
        if ends := [i for i in closes if start < i < end]:
            found.add(next((i for i in ends if i not in final), ends[-1]))
    return found


class Verbatim:
    """The null object of Normaliser: the text as the corpus has it, in Unicode's composed form, with single spaces."""

    name = "verbatim"

    def __call__(self, text: str, language: str | None = None) -> str:
        return " ".join(unicodedata.normalize("NFC", text).split())

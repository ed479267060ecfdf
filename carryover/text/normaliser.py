"""Text as it is scored and, if the YAML says so, as it is learned: one normaliser for both.

Whisper's own `normalize` is made for English: it writes `hatte` for `hätte`, `een` for `één` and `is` for Dutch `'s`.
The two normalisers below share one face, `normaliser(text) -> text`; a YAML names one for scoring and one for targets.
"""

import re
import unicodedata

# with ‚ so that ‚das Haus‘ is a quotation and its end no genitive; _ is punctuation here, but a word character to re
_ONE_FORM = str.maketrans({"’": "'", "‘": "'", "‚": "'", "ʼ": "'", "`": "'", "´": "'", "_": " "})
_SOFT_HYPHEN = "\u00ad"  # stands unseen within a word
# Dutch clitics begin with an apostrophe that belongs to the word: 's ochtends, 't, zo 'n, 'k
_CLITIC = r"(?:s|t|n|k|m|r|d|ns)\b"
_QUOTED = re.compile(rf"(?<!\w)'(?!{_CLITIC})([^']+)'(?!\w)")
_KEPT = re.compile(
    rf"(?P<clitic>(?<!\w)'(?={_CLITIC}))|(?P<inner>(?<=\w)'(?=\w))|(?P<genitive>(?<=[sxzß])'(?!\w))"
    r"|(?P<decimal>(?<=\d)[.,](?=\d))"
)


class Normaliser:
    """Lower case, no punctuation; diacritics, ß, apostrophes of words and decimal signs stay.

    Hyphens and dashes separate words (`Oberspreewald-Lausitz` is two). Digits are kept as they are written: a
    system that writes `zwei` for `2` is counted wrong by `WER` and `WER_raw` alike.

    Example
    -------
    >>> Normaliser()("’s Ochtends — om één uur: „Hätte“ Hans' Straße 3,5 %?")
    "'s ochtends om één uur hätte hans' straße 3,5"
    """

    name = "carryover-1"  # written into run.json: results of different normalisers are not comparable

    def __call__(self, text: str) -> str:
        # composed after lowering: J with a caron has no composed form, j has
        text = unicodedata.normalize("NFC", text.replace(_SOFT_HYPHEN, "").lower()).translate(_ONE_FORM)
        text = _QUOTED.sub(r" \1 ", text)
        kept = {match.start() for match in _KEPT.finditer(text)}
        chars = (c if i in kept or unicodedata.category(c)[0] in "LMN" else " " for i, c in enumerate(text))
        return " ".join("".join(chars).split())


class Verbatim:
    """The null object of Normaliser: the text as the corpus has it, in Unicode's composed form, with single spaces."""

    name = "verbatim"

    def __call__(self, text: str) -> str:
        return " ".join(unicodedata.normalize("NFC", text).split())

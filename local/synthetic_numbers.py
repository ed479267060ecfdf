"""Number words of Dutch, German and English, for the sentences of the embedded corpus."""

NL_ONES = "nul één twee drie vier vijf zes zeven acht negen tien elf twaalf dertien veertien vijftien zestien zeventien"
NL_ONES = (NL_ONES + " achttien negentien").split()
NL_TENS = "twintig dertig veertig vijftig zestig zeventig tachtig negentig".split()

DE_ONES = "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn"
DE_ONES = (DE_ONES + " siebzehn achtzehn neunzehn").split()
DE_TENS = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()

EN_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
EN_ONES = (EN_ONES + " seventeen eighteen nineteen").split()
EN_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def dutch(n: int) -> str:
    """Cardinal from 0 to 100: 23 -> drieëntwintig (a trema where `en` follows an e), 31 -> eenendertig."""
    if n < 20:
        return NL_ONES[n]
    if n == 100:
        return "honderd"
    one, ten = n % 10, NL_TENS[n // 10 - 2]
    if one == 0:
        return ten
    return {1: "een", 2: "twee", 3: "drie"}.get(one, NL_ONES[one]) + ("ën" if one in (2, 3) else "en") + ten


def german(n: int) -> str:
    """Cardinal from 0 to 100: 21 -> einundzwanzig; a lone 1 is `eins`."""
    if n < 20:
        return DE_ONES[n]
    if n == 100:
        return "hundert"
    one, ten = n % 10, DE_TENS[n // 10 - 2]
    return ten if one == 0 else {1: "ein"}.get(one, DE_ONES[one]) + "und" + ten


def german_ordinal(n: int) -> str:
    """Ordinal from 1 to 31 as dates and floors take it (am dritten Mai, im dritten Stock)."""
    return {1: "ersten", 3: "dritten", 7: "siebten", 8: "achten"}.get(n, german(n) + ("sten" if n > 19 else "ten"))


def english(n: int) -> str:
    """Cardinal from 0 to 100, without hyphens: 21 -> twenty one."""
    if n < 20:
        return EN_ONES[n]
    if n == 100:
        return "a hundred"
    return EN_TENS[n // 10 - 2] + (f" {EN_ONES[n % 10]}" if n % 10 else "")


def english_ordinal(n: int) -> str:
    """Ordinal from 1 to 31, as dates and floors take it (on the third floor)."""
    first, _, last = english(n).rpartition(" ")
    irregular = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
    irregular |= {"twelve": "twelfth", "twenty": "twentieth", "thirty": "thirtieth"}
    return f"{first} {irregular.get(last, last + 'th')}".strip()


# Every number up to 60 and then the tens: above 60 only the compounds' known halves would be repeated.
NUMBERS = [*range(1, 61), 70, 80, 90, 100]

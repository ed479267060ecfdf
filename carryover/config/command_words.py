"""Options that are taken out of a command line before its keys are read: `--NAME VALUE` and `--NAME=VALUE`."""

from collections.abc import Sequence


def take(option: str, argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take every `option` (such as "--preset") and its value out of a command line.

    Returns
    -------
    (values, rest)
        One value for each time the option is given, stripped, "" where none follows; the other arguments.
    """
    values, rest, words = [], [], list(argv)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name != option:
            rest.append(word)
            continue
        if not equals and words and not words[0].startswith("--"):
            value = words.pop(0)
        values.append(value.strip())
    return values, rest

"""A corpus's code of a language -> a model's: Common Voice says sv-SE where Whisper says sv."""

from collections.abc import Container

# What cannot be had by leaving out region and script; several where models differ (large-v3 alone has Cantonese).
OTHERWISE = {
    "zh-hk": ("yue", "zh"), "yue": ("zh",), "cmn": ("zh",), "nb": ("no",), "jv": ("jw",), "jw": ("jv",), "fil": ("tl",),
    "iw": ("he",), "he": ("iw",), "in": ("id",), "ji": ("yi",), "mo": ("ro",),
}  # fmt: skip


def language_of_model(language: str, known: Container[str]) -> str | None:
    """The model's code of a language, None where it has none.

    The code itself, else what the table says of it, else the same of its language without script and region: zh-CN and
    zh-TW are zh, pt-BR is pt, nb_NO is no, cmn_hans_cn is zh.

    Parameters
    ----------
    language : str
        As the corpus writes it; case and _ for - do not matter.
    known : container of str
        The model's codes.
    """
    if language in known:
        return language
    code = language.lower().replace("_", "-")
    for one in (code, code.partition("-")[0]):
        for other in (one, *OTHERWISE.get(one, ())):
            if other in known:
                return other
    return None

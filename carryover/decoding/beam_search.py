"""Beam search of CTC, which may listen to an n-gram model of words; the face is that of `Greedy`.

A tokenizer is `carryover.text.Characters` or `Pieces`.
"""

import gzip
import importlib.util
import math
from pathlib import Path

import torch
from speechbrain.decoders.ctc import CTCBeamSearcher


class BeamSearch:
    """SpeechBrain's CTCBeamSearcher (after pyctcdecode): the text y with the highest score

        log p(y|x) + alpha * log p_LM(y) + beta * (words of y),

    natural logarithms, p(y|x) summed over the paths that stay in the beam, p_LM with its sentence end and 10^-10 more
    for each word that is not in the model's list. alpha and beta are chosen on validation, never on test.

    With `length_penalty` c above 0 the beam's last texts compete once more: the one with the highest

        (log p(y|x) + alpha * log p_LM(y)) / n^c + beta * n,    n = words of y (1 for an empty text),

    is taken. This is the length penalty of transformers' generate, and as in Wu et al. (2016, section 7, there with
    ((5 + n) / 6)^c) only logarithms are divided: they are never positive, so a larger c favours longer texts.

    Three things are handled here that its searcher leaves to the caller: relative lengths are cut down to one frame too
    few (so it is given frames), the sentence end is never scored (so "der" ends a sentence as well as "haus"), and an
    ARPA file's words that have no back-off weight are taken for unknown (so the list is read here).

    For a trained model: 7 s of sure posteriors take 0.1 s on a CPU core, flat ones a minute. Validate with Greedy.

    Parameters
    ----------
    tokenizer : Characters or Pieces
        Pieces are put together to words for the language model.
    lm : str, optional
        An n-gram model of words: ARPA (also .gz), or a binary of kenlm's build_binary. Its text must have gone through
        the same normaliser as the targets.
    beam_size : int
        Texts kept after each frame.
    alpha : float
        Weight of the language model; without one neither alpha nor beta has an effect.
    beta : float
        What each word is worth: it makes up for the probability that a word costs in the model.
    words : str, optional
        File with the words of `lm`, one a line. Needed with a binary, which does not tell them.
    token_prune_min_logp, beam_prune_logp : float
        Symbols below the first are not tried in a frame, texts below the best by more than the second are dropped.
        -inf searches everything within the beam, slowly.
    prune_history : bool
        Of texts whose next words the language model scores alike, only the best goes on: faster; a sum over paths may
        lose its smaller terms, and `length_penalty` finds fewer texts to choose from (give False).
    length_penalty : float
        c; 0 takes the text with the highest score. Chosen on validation, as alpha and beta.

    Raises
    ------
    ImportError
        When `lm` is given and kenlm is not installed.
    FileNotFoundError
        For a missing file of `lm` or `words`.
    ValueError
        For a binary without `words`, for a model or list without words, and for a negative `length_penalty`.
    """

    def __init__(
        self,
        tokenizer,
        lm: str | None = None,
        beam_size: int = 100,
        alpha: float = 0.5,
        beta: float = 1.5,
        words: str | None = None,
        token_prune_min_logp: float = -5.0,
        beam_prune_logp: float = -10.0,
        prune_history: bool = True,
        length_penalty: float = 0.0,
    ):
        if not 0 <= length_penalty < math.inf:
            raise ValueError(f"length_penalty: {length_penalty}; give 0 (none) or more, e.g. 0.5 or 1")
        if words and not lm:
            raise ValueError(f"words: {words} is the list of a language model, and lm names none; give lm or no words")
        if lm:
            for key, file in (("lm", lm), ("words", words)):
                if file and not Path(file).is_file():
                    raise FileNotFoundError(f"{key}: no file {file}")
            # SpeechBrain's scorer needs both and its error names only kenlm
            missing = [name for name in ("kenlm", "pygtrie") if importlib.util.find_spec(name) is None]
            if missing:
                raise ImportError(
                    f"lm: {lm} needs {' and '.join(missing)}: pip install -e '.[lm]' (kenlm is compiled: it takes "
                    "g++ and some minutes), or decode without lm"
                )
        self._searcher = _Searcher(
            tokenizer.blank,
            tokenizer.labels,
            kenlm_model_path=str(lm) if lm else None,
            unigrams=_words(Path(words or lm)) if lm else None,
            alpha=alpha,
            beta=beta,
            beam_size=beam_size,
            beam_prune_logp=beam_prune_logp,
            token_prune_min_logp=token_prune_min_logp,
            prune_history=prune_history,
            topk=beam_size if length_penalty else 1,
        )
        self._length_penalty, self._word_bonus = length_penalty, beta if lm else 0.0

    def weigh(self, alpha: float, beta: float) -> None:
        """Go on with other weights of the language model, which is loaded already; without one they have no effect."""
        if self._searcher.lm is None:
            return
        for part in (self._searcher, self._searcher.lm):
            part.alpha, part.beta = alpha, beta
        self._word_bonus = beta

    def __call__(self, log_probs: torch.Tensor, frames: torch.Tensor) -> list[str]:
        """(B, T, V) log-probabilities (no logits: a score against the LM's means something), (B,) frames -> B texts."""
        if log_probs.shape[-1] != len(self._searcher.vocab_list):
            raise ValueError(
                f"log_probs: {log_probs.shape[-1]} units, but the tokenizer has {len(self._searcher.vocab_list)} "
                "symbols; the tokenizer belongs to another model"
            )
        log_probs = log_probs.detach().float().cpu().numpy()
        return [
            max(self._searcher.decode_log_probs(one, n), key=self._score).text
            for one, n in zip(log_probs, frames.tolist(), strict=True)
        ]

    def _score(self, found) -> float:
        """What a hypothesis of the searcher (its lm_score is the whole score) is worth under the length penalty."""
        words = len(found.text.split())
        bonus = self._word_bonus * words
        return (found.lm_score - bonus) / max(words, 1) ** self._length_penalty + bonus


class _Searcher(CTCBeamSearcher):
    """SpeechBrain's, with the sentence end in the score (its is_eos is never set, and would score an empty word)."""

    def finalize_decoding(self, beams, cached_lm_scores, cached_p_lm_scores, force_next_word=False, is_end=False):
        beams = super().finalize_decoding(beams, cached_lm_scores, cached_p_lm_scores, force_next_word, is_end)
        if self.lm is None or not is_end:
            return beams
        for beam in beams:
            _, state = cached_lm_scores[(beam.text, False)]
            # kenlm's logarithms are decimal
            beam.lm_score += self.alpha * math.log(10) * self.lm._get_raw_end_score(state.state)
        return self.sort_beams(beams)


_BINARY = b"mmap lm http://kheafield.com/code"  # how kenlm's binary files begin


def _words(file: Path) -> set[str]:
    """The words of an ARPA file, or of a list with one word a line."""
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rb") as handle:
        if handle.read(len(_BINARY)) == _BINARY:
            raise ValueError(f"lm: {file} is a binary, which does not tell its words; give them as words, one a line")
    words, arpa, unigrams = set(), False, False
    with opened(file, "rt", encoding="utf-8") as handle:
        for line in map(str.strip, handle):
            if line.startswith("\\"):  # \data\, \1-grams:, \2-grams:, \end\
                if unigrams:
                    break
                arpa, unigrams = True, line == "\\1-grams:"
            elif line and unigrams:
                words.add(line.split()[1])  # log p, word, perhaps a back-off weight
            elif line and not arpa:
                words.add(line)
    words -= {"<s>", "</s>", "<unk>"}
    if not words:
        raise ValueError(f"{file}: no words found; expected an ARPA file, or one word a line")
    return words

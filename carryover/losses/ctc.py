"""CTC (Graves et al. 2006): likelihood, decoding and draws; and a head for it beside a decoder.

The head serves hybrid CTC/attention training (Watanabe et al. 2017). A Whisper from random weights first learns to
write plausible sentences without listening: on the embedded corpus its cross-attention was still flat after 14 000
clips (docs/LOG.md). CTC gives the encoder a gradient from the first update. The head is used in training only and is
no part of an export.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby, pairwise

import torch
from speechbrain.utils.data_pipeline import provides, takes


class NoCTC(torch.nn.Module):
    """The null object of CTCHead: no term."""

    def forward(self, states, frames, targets, lengths, units):
        return {}


class CTCHead(torch.nn.Module):
    """A linear layer from encoder states to pieces and blank, and its loss.

    Parameters
    ----------
    width : int
        Width D of the encoder.
    pieces : int
        Size V of the vocabulary; blank is V.
    """

    def __init__(self, width: int, pieces: int):
        super().__init__()
        self.linear = torch.nn.Linear(width, pieces + 1)
        self.blank = pieces

    @classmethod
    def of(cls, model) -> "CTCHead":
        """A head for a Whisper."""
        return cls(model.config.d_model, model.config.vocab_size)

    def forward(
        self,
        states: torch.Tensor,
        frames: torch.Tensor,
        targets: torch.Tensor,
        lengths: torch.Tensor,
        units: int,
    ) -> dict[str, torch.Tensor]:
        """-> {"ctc": sum of -log p(target | states) over the batch, divided by `units`}.

        Parameters
        ----------
        states : torch.Tensor
            (B, P, D) encoder states.
        frames : torch.Tensor
            (B,) states that hold sound; those after them are the window's silence.
        targets, lengths : torch.Tensor
            (B, L) ids without prompt and end, (B,) their number.
        units : int
            What the batch's other terms are means over, so that terms add up under accumulation.
        """
        with torch.autocast(states.device.type, enabled=False):
            log_probs = self.linear(states[:, : int(frames.max())].float()).log_softmax(dim=-1)  # (B, T, V + 1)
            loss = torch.nn.functional.ctc_loss(
                log_probs.transpose(0, 1), targets, frames, lengths, blank=self.blank, reduction="sum"
            )  # an impossible target is infinite here, and the update is skipped and reported, not silently free
        return {"ctc": loss / units}


def frames_needed(targets: Sequence[int]) -> int:
    """The fewest frames in which CTC can write a target: its symbols, and a blank between each two equal neighbours.

    An utterance with fewer frames than this has log p = -inf; leave it out when the corpus is prepared.
    """
    targets = list(targets)
    return len(targets) + sum(one == next_one for one, next_one in pairwise(targets))


def encode_known(tokenizer, text: str) -> list[int]:
    """Ids of what has a symbol; what has none (a character, or a gloss) is left out."""
    if unknown := tokenizer.unknown(text):
        words = [word for word in text.split() if word not in unknown]
        if tokenizer.unknown(" ".join(words)):  # characters; a gloss goes as a whole
            words = ["".join(char for char in word if char not in unknown) for word in words]
        text = " ".join(filter(None, words))
    return tokenizer.encode(text)


def targets(tokenizer, target_text: Callable[[str, str], str], training: bool = True):
    """Dynamic item of a reading pipeline: text -> "target", its "tokens" (L,), "frames_needed" to write them.

    A text that the symbols cannot write is an error in training; to be measured it keeps what they can write, for the
    loss, while the error rates count its whole text.
    """
    encode = tokenizer.encode if training else partial(encode_known, tokenizer)

    @takes("text", "language")
    @provides("target", "tokens", "frames_needed")
    def target(text, language):
        yield (target := target_text(text, language))
        yield torch.tensor(ids := encode(target), dtype=torch.long)
        yield frames_needed(ids)

    return target


def log_likelihood(
    log_probs: torch.Tensor, frames: torch.Tensor, targets: torch.Tensor, lengths: torch.Tensor, blank: int
) -> torch.Tensor:
    """log p(y|x) of each utterance: the log of the sum, over all paths that collapse to y, of their probabilities.

    Graves et al. 2006, eq. 3 and 8. Natural logarithm, summed over symbols (neither per token nor per frame).

    Parameters
    ----------
    log_probs : torch.Tensor
        (B, T, V) float32, normalised over V.
    frames : torch.Tensor
        (B,) integers: how many of the T frames are speech; the rest is padding and takes no part.
    targets, lengths : torch.Tensor
        (B, L) padded ids without blanks, and (B,) their number. What stands in the padding is of no matter.
    blank : int
        Id of blank.

    Returns
    -------
    log_p : torch.Tensor
        (B,). -inf where `frames` < `frames_needed`: such a target has no path. torch's zero_infinity would call it
        free instead, and the mean over a batch would look better for it. Its gradient is NaN: the caller skips it.

    Raises
    ------
    TypeError
        For half precision: bfloat16 is off by up to 0.016 in each frame at log p = -5.
    """
    if log_probs.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"log_probs are {log_probs.dtype}; CTC needs float32: take log_softmax of logits.float()")
    return -torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1),  # (B, T, V) -> (T, B, V)
        targets,
        frames,
        lengths,
        blank=blank,
        reduction="none",
        zero_infinity=False,
    )


def label_likelihood(
    log_probs: torch.Tensor,
    frames: torch.Tensor,
    targets: torch.Tensor,
    lengths: torch.Tensor,
    blank: int,
    labels: str,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`log_likelihood` (B,) of the transcript (labels: gold) or of a draw of the model (sampled), and its length (B,).

    What the Fisher information is estimated from; other arguments as `log_likelihood`. A drawn y without a symbol
    counts as one long where a mean over symbols is wanted.
    """
    if labels == "sampled":
        drawn = sample(log_probs.detach(), frames, blank, generator)
        lengths = torch.tensor([len(y) for y in drawn], device=log_probs.device)
        drawn = [torch.tensor(y or [0], device=log_probs.device) for y in drawn]
        targets = torch.nn.utils.rnn.pad_sequence(drawn, batch_first=True)
    return log_likelihood(log_probs, frames, targets, lengths, blank), lengths.clamp(min=1)


def collapse(ids: torch.Tensor | Sequence[int], blank: int) -> list[int]:
    """A frame path -> its symbols: equal neighbours merged first, blanks dropped then (B of Graves et al. 2006)."""
    path = ids.tolist() if isinstance(ids, torch.Tensor) else ids
    return [symbol for symbol, _ in groupby(path) if symbol != blank]


def greedy(log_probs: torch.Tensor, frames: torch.Tensor, blank: int) -> list[list[int]]:
    """The most probable frame path of each utterance, collapsed (best path decoding).

    Parameters
    ----------
    log_probs : torch.Tensor
        (B, T, V); logits do as well.
    frames : torch.Tensor
        (B,) valid frames.

    Returns
    -------
    ids : list of B lists
    """
    paths = log_probs.argmax(dim=-1).tolist()  # (B, T); one transfer from the device for the whole batch
    return [collapse(path[:n], blank) for path, n in zip(paths, frames.tolist(), strict=True)]


def sample(
    log_probs: torch.Tensor, frames: torch.Tensor, blank: int, generator: torch.Generator | None = None
) -> list[list[int]]:
    """A draw of y from p(y|x) for each utterance: one symbol a frame, each frame by itself, and the path collapsed.

    CTC's frames are independent given the input, so this is an exact draw: p(y|x) is the probability that a path
    drawn so collapses to y. It gives the labels of the true Fisher information (`labels: sampled`).

    Parameters
    ----------
    log_probs : torch.Tensor
        (B, T, V), normalised over V.
    frames : torch.Tensor
        (B,) valid frames.
    generator : torch.Generator, optional
        On the device of `log_probs`. Utterances draw one after the other and never for padding, so a batch draws
        what its utterances would draw one at a time.

    Returns
    -------
    ids : list of B lists
        May be empty: silence is a draw like others.
    """
    probs = log_probs.detach().exp()
    return [
        collapse(torch.multinomial(probs[i, :n], 1, generator=generator)[:, 0], blank) if n else []
        for i, n in enumerate(frames.tolist())
    ]


def blank_ratio(log_probs: torch.Tensor, frames: torch.Tensor, blank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames whose most probable symbol is blank, and all valid frames: two counts, (), which add up over batches.

    A model that has learned to write nothing, as all do at first, stands at 1.0; one that stays there is not learning.

    Parameters
    ----------
    log_probs : torch.Tensor
        (B, T, V); logits do as well.
    frames : torch.Tensor
        (B,) valid frames.
    """
    best = log_probs.argmax(dim=-1)  # (B, T)
    valid = torch.arange(best.shape[1], device=best.device) < frames.to(best.device)[:, None]
    return ((best == blank) & valid).sum(), valid.sum()

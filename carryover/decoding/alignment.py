"""When each word of a transcript is said, by aligning the transcript with CTC's probabilities."""

import torch
import torchaudio

from carryover.text.words import Word


def aligned(log_probs: torch.Tensor, text: str, tokenizer, seconds: float) -> list[Word]:
    """Words of a text on the most probable path of CTC that writes it (torchaudio's forced_align).

    A word lasts from the first frame of its first symbol to the last frame of its last one: CTC's symbols are short, so
    it is heard for longer than it lasts here.

    Parameters
    ----------
    log_probs : torch.Tensor
        (T, V) of one recording, its own frames alone.
    text : str
        What was decoded from them.
    tokenizer : carryover.text.Characters or Pieces
    seconds : float
        Length of the recording: T frames.
    """
    ids = tokenizer.encode(text)
    if not ids:
        return []
    path, scores = torchaudio.functional.forced_align(
        log_probs[None].float().cpu(), torch.tensor([ids], dtype=torch.int32), blank=tokenizer.blank
    )
    spans = torchaudio.functional.merge_tokens(path[0], scores[0], blank=tokenizer.blank)
    frame = seconds / len(log_probs)
    words: list[list] = [[]]
    for label, span in zip((tokenizer.labels[id] for id in ids), spans, strict=True):
        if label.startswith((" ", "▁")):
            words.append([])
        if label.strip(" ▁"):
            words[-1].append(span)
    times = [(round(word[0].start * frame, 3), round(word[-1].end * frame, 3)) for word in words if word]
    return [Word(said, *time) for said, time in zip(text.split(), times, strict=True)]

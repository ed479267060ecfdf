"""A red flag, and for each kind of it what to try."""

from dataclasses import dataclass

# What to try, in the words of docs/TUNING.md and the keys of the YAMLs.
ADVICE = {
    "overfitting": "try dropout, weight_decay, augmentation",
    "by heart": "no plateau: fewer updates, more data, augmentation, or train less of it",
    "WER rises": "look for loops in predictions_*.csv, try lr / 3",
    "deletions grow": "check that texts say what their clips do; lr / 2",
    "plateau": "try lr x 2 to x 10, freeze less, check that texts and audio match",
    "divergence": "try lr / 2 to / 10, then warmup x 2",
    "non-finite": "try lower lr, bf16 for fp16; listen to the clips that are named above",
    "gradient spikes": "try lr / 2, max_grad_norm 1, longer warmup; look for bad clips",
    "clipped": "raise max_grad_norm to that, or try lr / 2",
    "rate too high": "try a tenth of it",
    "loss zero": "weights that were lost in fp16, or empty targets: begin anew with lr / 10, in bf16 or fp32",
    "one term": "see loss_weights",
    "many epochs": "3 to 20 are usual; lower max_updates, or take more data",
    "no gradient": "check what is frozen or detached, and that CTC targets fit their frames",
    "all blank": "try another lr (x 3, / 3), longer warmup; check that texts match the audio",
    "loops": "look at predictions_*.csv, lower generation_length or tokens_per_second",
    "prompt echo": "it reads its prompt, not the audio: train the projector longer, or lr x 3, / 3",
    "WER over 100": "look for loops in predictions_*.csv, lower generation_length",
    "rate zero": "nothing is learned; check lr, lr_schedule and the length that decay is planned for",
    "rate stuck": "the schedule is not followed; is it stepped at every update?",
    "warm-up unfinished": "try warmup: 0.1, a share of all updates",
    "small set": "take more before comparing runs by it",
    "waiting for data": "try num_workers 4 to 8, or faster storage",
    "penalty dominates": "try lambda / 10",
    "penalty negligible": "try lambda x 100; this run is plain fine-tuning",
    "test set incomplete": "see rejected.csv, mend the recordings, or report the share",
    "texts in training": "report the share, or test on unseen texts",
    "speakers in training": "report it, or test on unseen speakers",
}
KINDS = tuple(ADVICE)


@dataclass(frozen=True)
class Flag:
    """Something that the log shows.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    update : int
        Optimizer updates that were done when it showed.
    evidence : str
        The numbers that show it.
    advice : str
        What to try.
    """

    kind: str
    update: int
    evidence: str
    advice: str

    @property
    def line(self) -> str:
        """All of it on one line of the screen, some 160 characters at most."""
        return f"red flag ({self.kind}): {self.evidence}; {self.advice}"

"""When a rule calls something a fault: all numbers in one table, with the reason for each."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Numbers that the rules compare a log with.

    Parameters
    ----------
    shortest, patience : int
        Plateau, all blank, penalty negligible: these are judged over half of the planned updates, but `shortest` at
        least (less tells nothing) and `patience` at most; at the end of a run, over half of it. CTC from random weights
        leaves the blanks within some hundred updates, and within a third of a short run.
    validations : int
        Overfitting: validations since the lowest loss, without a lower WER. 3, as the patience of fine-tuning guides.
    rise, fall : float
        Overfitting: the validation loss is up by this share while the training loss is down by that share. A loss over
        some 100 utterances that has settled moves by 2 to 5 % between validations; 10 % is beyond that.
    heart, heart_WER : float
        By heart: the training loss is below this part of the validation loss (1 / `heart`) and half of its first value,
        and the validation WER, `heart_WER` or more, has not fallen for `validations`. Whisper base, its decoder alone
        on 400 clips for 200 updates: training loss 0.13, WER 23.9 after 21.7 as it came. Converged runs stay below 2.
    WER_rise, deviations : float
        WER rises: by this share over its lowest, and by so many square roots of the errors, which is what chance makes
        of them, in the last `validations`; the validation loss is down by `fall`.
    deletions, deletions_rise : float
        Deletions grow: to this share of the words, by this share over their fewest (and by `deviations`), with no more
        insertions and no fewer errors than then.
    plateau_events : int
        Plateau: so many train events at least, 8 or more; from quarters of 4 on their scatter is known.
    plateau_drop : float
        Plateau: from the third to the last quarter of the run so far the mean loss fell by less than this share, three
        standard errors of the difference added, so that a noisy log says nothing. A loss that goes as n^-0.1, slow
        for speech, falls by 3.3 % between them, as n^-0.25 by 8 %.
    far_WER : float
        Plateau, penalty dominates: at this WER (percent) half of the words are wrong, far from done. A plateau without
        a WER since its third quarter began: while the loss is at `plateau_loss` of its first value.
    plateau_loss : float
        A loss that still stands at 80 % of its first value has hardly ever moved.
    far, off : float
        Divergence: the median loss of the last 50 updates (and three events) is `far` times its lowest or the first
        loss, at once, or `off` times its lowest throughout a quarter of the run so far (200 updates and 10 events at
        least). Where losses scatter by 30 % from update to update, as CTC's do, the highest such median of 20 000
        updates is 1.5 times the lowest.
    spike, spikes, burst : float, int, float
        Gradient spikes: so often the median norm of the last 100 train events (10 at least), so many times within
        100, or once by the factor `burst`. Norms scatter by a factor of 2 to 3; clipping deals with a single outlier.
    zero_updates : int
        No gradient: norm exactly 0 for so many updates. One batch of impossible CTC targets can do it once.
    no_loss_events : int
        Loss zero: a training loss of exactly 0 in so many train events in a row, and not every word right.
    clipped, clipped_events : float, int
        Clipped: this share of the gradients in so many train events in a row, after the warm-up, and for as long
        as a plateau. A share of 0.9 is what many healthy runs of large models have.
    high_rate : float
        Rate too high: so many times what is usual for the model's kind and size.
    outweighs, term_events : float, int
        One term: weighed, so many times the sum of the other loss terms, in so many train events in a row and when half
        of the planned updates are done, as for a plateau. Distillation begins at nothing where old and new model are
        one, and that is no fault.
    epochs : float
        Many epochs: more than this are planned. 3 to 20 are usual.
    blank : float
        All blank: share of blanks among the frames. Labels that are far apart (signs) stay at 0.9 to 0.97 for good.
    loops : int
        Loops, prompt echo, WER over 100: in two validations in a row, this one or later, or in the test of the final
        weights. A model that has heard nothing of a language begins there.
    looping : float
        Loops, prompt echo: share of utterances with one thing again and again (`loops` of an event), or the prompt.
        They hide at any WER: where 2 % say ten times the words of their references, the WER is 18 points higher by
        them. One of 100 is no habit.
    stuck_events : int
        Rate stuck: the same rate in so many train events in a row, though the schedule moves.
    words, utterances : int
        Small set: fewer reference words (below 100 a word is more than a point of WER), or fewer utterances (a
        bootstrap over less than some 20 has intervals that are too short). An empty one is known by its size, not by
        how fast it was scored: a log has no seconds of audio of a set, and what no longer loops is decoded faster.
    waiting : float
        Waiting for data: share of the time of up to ten train events (three and a minute at least). At 0.3 the run
        could be 1 / 0.7 = 1.4 times as fast.
    dominates, dominating_events : float, int
        Penalty dominates: at `far_WER` or more, penalty / loss is above this in so many train events in a row (and 100
        updates), or has fallen to `past_peak` of its peak and is still 0.1 or more. A large ratio alone is no fault: in
        german_adaptation.yaml with EWC it rose to 2.4 where German was learned well (lambda 1e2: test WER 17); where it
        was held off (1e4, 1e5, 1e6: WER 68, 87, 97) it had fallen from 0.72, 0.54, 0.59 to 0.60, 0.47, 0.47 halfway.
    past_peak : float
        0.9; weights that follow the new language move away from the old ones, and their ratio rises to the end.
    negligible : float
        Penalty negligible: penalty / loss never reached this. Where it ended at 0.03 (L2-SP, lambda 1e-4) Dutch was
        as lost as without. A penalty of exactly 0 is a baseline (lambda 0), and no fault.

    Raises
    ------
    ValueError
        For plateau_events below 8.
    """

    shortest: int = 200
    patience: int = 5000
    validations: int = 3
    rise: float = 0.10
    fall: float = 0.05
    heart: float = 4.0
    heart_WER: float = 10.0
    WER_rise: float = 0.10
    deviations: float = 3.0
    deletions: float = 0.05
    deletions_rise: float = 1.0
    plateau_events: int = 16
    plateau_drop: float = 0.03
    far_WER: float = 50.0
    plateau_loss: float = 0.8
    far: float = 3.0
    off: float = 1.5
    spike: float = 10.0
    spikes: int = 3
    burst: float = 100.0
    zero_updates: int = 10
    no_loss_events: int = 3
    clipped: float = 0.95
    clipped_events: int = 5
    high_rate: float = 10.0
    outweighs: float = 30.0
    term_events: int = 5
    epochs: float = 100.0
    blank: float = 0.99
    loops: int = 3
    looping: float = 0.02
    stuck_events: int = 5
    words: int = 100
    utterances: int = 20
    waiting: float = 0.3
    dominates: float = 1.0
    dominating_events: int = 5
    past_peak: float = 0.9
    negligible: float = 1e-3

    def __post_init__(self):
        if self.plateau_events < 8:
            raise ValueError(f"plateau_events: {self.plateau_events} have no quarters to compare; give 8 or more")

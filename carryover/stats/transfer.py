"""What a sequence of languages did to each other, by the definitions of CL-MASR (Della Libera et al. 2023).

W[k][i] is the WER of language i after stage k, both counted from 0, for i <= k.
"""

import math
from collections.abc import Sequence

Matrix = Sequence[Sequence[float]]


def average(W: Matrix, k: int) -> float:
    """AWER: mean of the WERs of the languages learned so far."""
    return sum(W[k][: k + 1]) / (k + 1)


def backward(W: Matrix, k: int) -> float:
    """BWT: mean over the languages before of the WER after their own stage minus the WER now; below 0: forgetting.

    nan at the first stage (Lopez-Paz and Ranzato 2017, eq. 3, with error rates for accuracies and at every stage).
    """
    return sum(W[i][i] - W[k][i] for i in range(k)) / k if k else math.nan


def forward(W: Matrix, k: int, alone: float) -> float:
    """FWT: WER of a model that learned language k alone, from the first stage's model, minus the WER after its stage.

    nan at the first stage. Above 0: the languages between have helped, and the method has not hindered.
    """
    return alone - W[k][k] if k else math.nan

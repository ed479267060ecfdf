"""How an epoch begins: its readers start, and the random numbers that follow are the same however they do."""

from collections.abc import Iterator

import torch

from carryover.training.evaluation import random_state_kept


def begin(loader, begun: bool) -> Iterator:
    """The batches of an epoch; of one that is gone on with after a resume, the rest.

    An epoch draws one number from torch's generator when it begins, whether its readers are started, which get it for
    a seed, or are still there from the epoch before. Of an epoch that is gone on with it was drawn before the
    checkpoint.

    Parameters
    ----------
    loader : torch.utils.data.DataLoader
    begun : bool
        Whether some of its updates are made.
    """
    with random_state_kept():
        batches = iter(loader)
    if not begun:
        torch.empty((), dtype=torch.int64).random_()  # as a loader does
    return batches

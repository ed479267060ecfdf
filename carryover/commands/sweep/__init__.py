"""A grid of runs: every value of some keys with every seed, as runs of train.py; goes on where it was stopped."""

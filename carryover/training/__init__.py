"""The training loop and what it is composed of."""

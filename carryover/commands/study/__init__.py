"""A comparison of methods under one plan: the same budget of trials for each, chosen on validation, then tested."""

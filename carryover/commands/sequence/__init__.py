"""Several languages one after the other: each stage a run that starts from the one before."""

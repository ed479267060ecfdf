"""A run's model in the formats of other programs, checked against the run's own decoding, with a model card."""

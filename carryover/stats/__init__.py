"""Error rates, intervals and significance."""

"""Real models on real speech; skipped where they are not."""

"""From a command line to settings: the YAML, presets, memory profiles, the overfit gate."""

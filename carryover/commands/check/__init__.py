"""What is looked at before a long run: rules over settings, data and model, and a measurement of a few updates."""

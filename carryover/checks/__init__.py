"""What is looked at before an experiment's first update: rules over settings, data and model, and memory by part."""

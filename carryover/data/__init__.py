"""Utterances and manifests, reading audio and landmarks, batches."""

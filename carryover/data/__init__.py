"""Utterances, limits and manifests, reading audio and landmarks, batches."""

from carryover.data.limits import Limits, MetadataLimits
from carryover.data.utterance import Utterance

__all__ = ["Limits", "MetadataLimits", "Utterance"]

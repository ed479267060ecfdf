"""Peak learning rates at which pretrained models are usually fine-tuned, by their kind and size."""

SPEECH_ENCODER = 1e-4  # wav2vec2 and its like: 3e-5 to 1e-4 in the papers, up to 3e-4 in recipes for XLSR-53


def whisper(parameters: int) -> float:
    """A 40th of the peak that a Whisper of this size was pre-trained with.

    Pre-training: 1.5e-3 (39 M parameters), 1e-3 (74 M), 5e-4 (244 M), 2.5e-4 (769 M), 1.75e-4 (1550 M); Radford et al.
    2022, table 17. They go as parameters^-0.6 to within 16 %. Fine-tuning at a 40th is its authors' advice.
    """
    return 1.5e-3 / 40 * (39e6 / parameters) ** 0.6

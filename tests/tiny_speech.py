"""A small corpus of tones, a small Whisper and the shape of a small w2v-BERT, made on the spot: a run on them takes
seconds."""

import csv
import shutil
from pathlib import Path

import numpy as np
import soundfile

STARTER = Path(__file__).parents[1] / "assets" / "whisper_starter"
WORDS = "een twee drie vier vijf zes zeven acht negen tien zet de lamp aan in keuken om uur".split()


def corpus(folder: Path) -> Path:
    """Write manifest.tsv and 40 clips of coloured noise, one spectrum a word, with their Dutch words; -> the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(5)
    rows = []
    for i in range(40):
        words = list(chance.choice(WORDS, size=chance.integers(1, 4)))
        tones = [
            np.sin(2 * np.pi * (200 + 150 * WORDS.index(w)) * np.arange(4800) / 16000) * chance.uniform(0.05, 0.5)
            for w in words
        ]
        wav = np.concatenate(tones) + 0.003 * chance.standard_normal(4800 * len(words))
        soundfile.write(folder / f"{i:02d}.wav", wav.astype(np.float32), 16000, subtype="PCM_16")
        split = "train" if i < 28 else "valid" if i < 34 else "test"
        rows.append((f"{i:02d}.wav", "nl", f"s{i % 3}", " ".join(words), split))
    with open(folder / "manifest.tsv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t").writerows([("path", "language", "speaker", "text", "split"), *rows])
    return folder


def ctc_shape(folder: Path) -> Path:
    """Write a w2v-BERT's shape: width 32, 2 layers; no weights; -> the folder."""
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig

    Wav2Vec2BertConfig(
        vocab_size=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        output_hidden_size=32, feature_projection_input_dim=160, position_embeddings_type="rotary",
        conv_depthwise_kernel_size=7, mask_time_prob=0.05, pad_token_id=0,
    ).save_pretrained(folder)  # fmt: skip
    SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=2).save_pretrained(folder)
    return folder


def whisper(folder: Path) -> Path:
    """Write a Whisper with random weights: width 32, 2 + 2 layers, a window of 4 s, the starter's tokenizer; -> the
    folder."""
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    config = WhisperConfig.from_pretrained(
        STARTER, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=64, decoder_ffn_dim=64, max_source_positions=200, max_target_positions=64, init_std=0.2,
    )  # fmt: skip
    torch.manual_seed(7)
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80, chunk_length=4).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(STARTER / name, folder)
    return folder

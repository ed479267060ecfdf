"""Write the starter model's shape into assets/whisper_starter: configuration, tokenizer, feature extractor. No weights.

    python assets/make_starter.py
    python train.py hparams/whisper_starter.yaml
    carryover export results/whisper_starter/1234 --out assets/whisper_starter

The tokenizer is a byte-level BPE of 310 pieces (256 bytes and 54 merges), learned from the normalised training
sentences of both languages, with Whisper's special tokens for Dutch and German: any text can be written with it.
"""

import json
import sys
from pathlib import Path

from tokenizers import ByteLevelBPETokenizer
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperTokenizer

SPECIAL = [
    "<|endoftext|>", "<|startoftranscript|>", "<|nl|>", "<|de|>", "<|translate|>", "<|transcribe|>",
    "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
]  # fmt: skip
PIECES = 310
SECONDS = 10


def make_tokenizer(sentences: list[str]) -> WhisperTokenizer:
    """Byte-level BPE of `PIECES` pieces with Whisper's special tokens after them."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(sentences, vocab_size=PIECES, min_frequency=5, show_progress=False)
    pieces = bpe.get_vocab()
    merges = [tuple(merge) for merge in json.loads(bpe._tokenizer.to_str())["model"]["merges"]]
    tokenizer = WhisperTokenizer(vocab=pieces, merges=merges)
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    return tokenizer


def main(folder: Path = Path(__file__).parent / "whisper_starter") -> None:
    """Write the folder."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from carryover.text import Normaliser
    from local.synthetic import plan

    normaliser = Normaliser()
    tokenizer = make_tokenizer([normaliser(clip.text) for language in ("nl", "de") for clip in plan(language, "train")])
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    eot = ids["<|endoftext|>"]
    config = WhisperConfig(
        vocab_size=len(tokenizer), d_model=128, num_mel_bins=80,
        encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=512,
        decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=512,
        max_source_positions=50 * SECONDS, max_target_positions=224, init_std=0.05,
        pad_token_id=eot, bos_token_id=eot, eos_token_id=eot, decoder_start_token_id=ids["<|startoftranscript|>"],
        suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    for part in (config, tokenizer, WhisperFeatureExtractor(feature_size=80, chunk_length=SECONDS)):
        part.save_pretrained(folder)


if __name__ == "__main__":
    main()

"""Makes assets/ctc_small: the shape of a small w2v-BERT, without weights, for the embedded CTC experiments.

python assets/make_ctc_small.py
"""

from pathlib import Path

from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig

STRIDE = 3  # filter-bank frames side by side: 33 frames a second are a third cheaper than w2v-BERT's own 50
FOLDER = Path(__file__).parent / "ctc_small"


def main() -> None:
    """Write config.json and preprocessor_config.json: 4 conformer layers of width 144."""
    Wav2Vec2BertConfig(
        vocab_size=32, hidden_size=144, num_hidden_layers=4, num_attention_heads=4, intermediate_size=288,
        output_hidden_size=144, feature_projection_input_dim=STRIDE * 80, position_embeddings_type="rotary",
        conv_depthwise_kernel_size=15, mask_time_prob=0.05, architectures=["Wav2Vec2BertForCTC"],
        pad_token_id=0, bos_token_id=None, eos_token_id=None,
    ).save_pretrained(FOLDER)  # fmt: skip
    SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=STRIDE).save_pretrained(FOLDER)


if __name__ == "__main__":
    main()

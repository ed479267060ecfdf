"""hparams/whisper_real.yaml as benchmarks train it: a folder of clips, on a CPU, without what varies an update."""

ON_A_CPU = {
    "corpus": "!name:local.table.utterances", "precision": "fp32", "num_workers": "0", "eval_batch_size": "8",
    "grad_accumulation_factor": "1", "epochs": "100", "lr_schedule": "linear", "label_smoothing": "0.0",
    "augment_prob": "0.0",
}  # fmt: skip

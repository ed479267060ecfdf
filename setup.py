"""Installs the package `carryover` alone: recipes/, local/ and train.py are used from the checkout."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="carryover",
    version="0.1.0",
    description="SpeechBrain recipes that carry a speech model over to a new language without losing what it knew",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["carryover", "carryover.*"]),
    package_data={"carryover.config": ["presets.yaml"], "carryover.report.page": ["page.html", "page.css", "page.js"]},
    python_requires=">=3.10",
    install_requires=[
        # the pair has to match: torchaudio's extension is built against one torch; 2.11.1 does not load with 2.11.0
        "torch==2.11.0",
        "torchaudio==2.11.0",
        "speechbrain==1.1.*",
        "transformers>=5.23,<6",
        "hyperpyyaml==1.2.*",
        "sentencepiece",
        "jiwer==4.*",
        "safetensors",
        "filelock",  # one process a run folder
        "soundfile",
        "scipy>=1.15",
        "kaldialign",  # word alignments of the report
        "regex",  # scripts and combining marks in the normaliser
        "tqdm",
        "typer",
        "tensorboard",
        "matplotlib",
        "jinja2",  # the page of a report
        "rich",  # carryover watch
        "espeakng-loader==0.2.4",  # speaks the embedded corpus; pinned, for the samples depend on it
    ],
    extras_require={
        "test": ["pytest", "pytest-xdist", "hypothesis", "ruff", "peft", "num2words", "silero-vad", "pyarrow"],
        "lora": ["peft"],  # adapters: the key lora, and carryover transcribe and evaluate --adapter
        "bitsandbytes": ["bitsandbytes"],
        "wandb": ["wandb"],
        "docs": ["mkdocs-material>=9.5,<10"],  # `mkdocs build`: the manual as a site
        "numbers": ["num2words"],  # figures as words, in targets and scoring
        "energy": ["nvidia-ml-py"],  # joules of NVIDIA GPUs in metrics.jsonl
        "demo": ["gradio>=6,<7"],  # carryover demo: a page to speak to
        "vad": ["silero-vad"],  # finds speech in recordings of any length (carryover transcribe --vad)
        "lm": ["kenlm", "pygtrie"],  # beam search with an n-gram model; kenlm is built from source
        "ctranslate2": ["ctranslate2"],  # carryover export --to ctranslate2
        "onnx": ["onnx", "onnxruntime", "onnxscript"],  # carryover export --to onnx
        "parquet": ["pyarrow"],  # the hub's versions of corpora (local/parquet.py)
        "pose": ["pose-format"],  # landmarks in .pose files
        "mediapipe": ["mediapipe<0.10.30"],  # landmarks of videos; later wheels have no holistic model
    },
    entry_points={"console_scripts": ["carryover = carryover.commands.app:main"]},
)

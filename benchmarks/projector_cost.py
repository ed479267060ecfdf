"""What it saves to train a projector between two frozen models: time of an update and peak memory, side by side.

    python benchmarks/projector_cost.py             # whisper-base's encoder, a language model of SmolLM2-135M's shape
    python benchmarks/projector_cost.py --assets    # the models of hparams/speech_llm_whisper.yaml
    python benchmarks/projector_cost.py --device cuda --batch 8

Each variant runs in a process of its own, for a process's peak memory is never given back:

    projector   encoder and language model frozen, the encoder's states kept: it runs once a clip (the recipe's default)
    each step   the same, but the encoder runs in every update (keep_states: null)
    LoRA        as `projector`, with adapters of rank 8 on the language model (extra: lora)
    everything  all weights trained

An update is forward, backward and AdamW over one batch of noise of `--seconds` and answers of `--tokens` tokens,
float32. Memory: the process's peak resident memory on a CPU (weights, gradients, optimizer, activations, kept states,
libraries), the allocator's peak on a GPU. Time: the process's own processor time on a CPU, wall time on a GPU; median
of `--updates` after a first one, in which states are made.
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, WhisperConfig, WhisperFeatureExtractor, WhisperModel

from carryover import losses
from carryover.models.audio_encoder import load as load_encoder
from carryover.models.chat import Chat
from carryover.models.frozen import Kept
from carryover.models.language_model import load as load_language_model
from carryover.models.lora import LoRA, NoLoRA
from carryover.models.projector import SwiGLU

ASSETS = Path(__file__).parents[1] / "assets"
VARIANTS = ("projector", "each step", "LoRA", "everything")
ENCODER = dict(
    d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048, decoder_layers=1,
    decoder_attention_heads=8, decoder_ffn_dim=512,
)  # fmt: skip
LANGUAGE_MODEL = dict(
    hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
    vocab_size=49152, max_position_embeddings=8192, tie_word_embeddings=True,
)  # fmt: skip


def make_models(folder: Path) -> tuple[str, str]:
    """Folders of an encoder of whisper-base's shape and a language model of SmolLM2-135M's, random weights."""
    torch.manual_seed(0)
    encoder, language_model = folder / "encoder", folder / "language_model"
    WhisperModel(WhisperConfig(**ENCODER)).save_pretrained(encoder)
    WhisperFeatureExtractor().save_pretrained(encoder)
    LlamaForCausalLM(LlamaConfig(**LANGUAGE_MODEL)).save_pretrained(language_model)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):  # its ids are ids of the larger one
        (language_model / name).write_bytes((ASSETS / "prefix_lm" / name).read_bytes())
    return str(encoder), str(language_model)


def run(variant: str, args) -> dict:
    """Updates of one variant in this process: parameters, seconds of an update, peak bytes."""
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    kept = Kept(None if variant == "each step" else "float32")
    kept.plain = True
    encoder = load_encoder(args.encoder, freeze=variant != "everything", kept=kept).to(args.device)
    chat = Chat(args.language_model)
    lora = LoRA(rank=8) if variant == "LoRA" else NoLoRA()
    reader = load_language_model(args.language_model, chat, lora=lora).to(args.device)
    reader.adapters.to(args.device)
    projector = SwiGLU.between(encoder, reader, hidden=4 * reader.width).to(args.device)
    if variant == "everything":
        reader.hf.requires_grad_(True).train()
        encoder.train()
    everything = {id(p): p for part in (encoder, reader.hf, projector) for p in part.parameters()}.values()
    trained = [p for p in everything if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)

    wavs = torch.randn(args.batch, round(16_000 * args.seconds), device=args.device)
    lengths = torch.full((args.batch,), wavs.shape[1], device=args.device)
    tokens = torch.randint(5, 50, (args.batch, args.tokens), device=args.device)
    answer_lengths = torch.full((args.batch,), args.tokens, device=args.device)
    prompts = [chat.prompt("{audio}transcribe")] * args.batch

    def update() -> None:
        vectors, n = projector(*encoder(wavs, lengths))
        prefix = reader.prefix(vectors, n, prompts)
        log_probs = reader.logits(*prefix, tokens, answer_lengths).log_softmax(dim=-1)
        losses.nll(log_probs, tokens, torch.ones_like(tokens, dtype=torch.bool)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    times = []
    for _ in range(args.updates + 1):
        start = clock(args.device)
        update()
        times.append(clock(args.device) - start)
    return {
        "trained": sum(p.numel() for p in trained), "all": sum(p.numel() for p in everything),
        "first": times[0], "seconds": statistics.median(times[1:]), "peak": peak(args.device),
    }  # fmt: skip


def clock(device: str) -> float:
    """Seconds: of this process's work on a CPU, of the wall on a GPU."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def peak(device: str) -> int:
    """Peak memory in bytes."""
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return torch.cuda.max_memory_allocated()


def main() -> None:
    """Run each variant in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--assets", action="store_true", help="the embedded models instead of random ones")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each clip")
    parser.add_argument("--tokens", type=int, default=20, help="of each answer, its end among them")
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--encoder", help=argparse.SUPPRESS)
    parser.add_argument("--language-model", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(run(args.one, args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        embedded = str(ASSETS / "whisper_starter"), str(ASSETS / "prefix_lm")
        encoder, language_model = embedded if args.assets else make_models(Path(folder))
        found = {}
        for variant in VARIANTS:
            if variant == "LoRA" and not importlib.util.find_spec("peft"):
                print("LoRA: peft is not installed (pip install -e '.[lora]'); left out")
                continue
            words = [
                sys.executable,
                *sys.argv,
                "--one",
                variant,
                "--encoder",
                encoder,
                "--language-model",
                language_model,
            ]
            own = os.environ | {"CARRYOVER_CACHE": str(Path(folder) / "cache")}
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=own)
            found[variant] = json.loads(done.stdout.splitlines()[-1])
    whole = found["everything"]
    print(
        f"Update of {args.batch} clips of {args.seconds:g} s and {args.tokens} tokens, "
        f"{whole['all'] / 1e6:.1f} M parameters, {args.device}, {args.threads} thread(s), {args.updates} updates\n\n"
        "| variant | trained (M) | first update (s) | update (s) | of everything | peak (MiB) | of everything |\n"
        "|---|---:|---:|---:|---:|---:|---:|"
    )
    for variant, f in found.items():
        print(
            f"| {variant} | {f['trained'] / 1e6:.2f} | {f['first']:.2f} | {f['seconds']:.2f} | "
            f"{f['seconds'] / whole['seconds']:.2f} | {f['peak'] / 2**20:.0f} | {f['peak'] / whole['peak']:.2f} |"
        )


if __name__ == "__main__":
    main()

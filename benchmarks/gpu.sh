#!/bin/sh
# What training costs on this machine's first GPU, in under 9 minutes: results/gpu/gpu.md and gpu.json.
#   sh benchmarks/gpu.sh [--out FOLDER]    # what it measures: benchmarks/gpu.py
cd "$(dirname "$0")/.." || exit 1
export CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES:-0}" HF_HUB_OFFLINE=1
export PYTORCH_ALLOC_CONF="${PYTORCH_ALLOC_CONF:-expandable_segments:True}"
exec timeout --signal=INT --kill-after=10 530 python -m benchmarks.gpu "$@"

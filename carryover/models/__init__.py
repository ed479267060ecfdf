"""Pretrained models of transformers behind the faces that the recipes use."""

"""Ablation studies of PyTorch Lightning projects: a question in, a delta with its interval out."""

__version__ = "0.1.0"

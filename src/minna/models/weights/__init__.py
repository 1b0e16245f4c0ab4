"""Hugging Face names and layouts <-> ours, one file per family, both ways."""

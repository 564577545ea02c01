"""Faster training and inference: memory format, precision, compilation, folded norms."""

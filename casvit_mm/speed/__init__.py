"""The same numbers in less time: memory format, precision, compilation, folded norms."""

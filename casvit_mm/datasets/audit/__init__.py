"""The audit of a dataset: its facts, its issues, and their repair."""

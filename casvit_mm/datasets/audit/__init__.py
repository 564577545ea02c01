"""The audit of a dataset: its statistics, its issues and their repair."""

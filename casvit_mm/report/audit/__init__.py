"""The report of a dataset audit."""

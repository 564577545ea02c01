"""Hooks of a run, one a file."""

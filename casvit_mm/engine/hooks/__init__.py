"""Hooks of a run, one per file."""

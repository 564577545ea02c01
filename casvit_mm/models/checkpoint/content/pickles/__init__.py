"""Interprets a pickle: its steps, its values, and what it may name."""

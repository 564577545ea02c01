"""Compares the formats of exported models: time, memory, size."""

"""Losses of the demos, beside those of the toolboxes."""

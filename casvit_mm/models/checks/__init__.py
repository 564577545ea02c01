"""Checks that a model does while it computes."""

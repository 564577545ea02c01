"""Draws results on their images."""

"""Configs: how they are read, what they say, and whether their parts fit together."""

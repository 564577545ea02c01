"""Configs: reading, viewing, editing, and checking that their parts fit together."""

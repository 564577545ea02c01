"""Implementations of the commands of :mod:`casvit.cli`; they get the parsed arguments."""

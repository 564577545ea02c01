"""Optimiser wrappers and their constructors."""

"""Optimiser wrappers, and how parameters are grouped."""

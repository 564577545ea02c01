"""Benchmarks of forward passes and training steps, and the limits to compare them with.

Nothing here is imported with the package, only by the command ``casvit bench``.
"""

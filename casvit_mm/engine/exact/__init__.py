"""Runs that go on after an interruption exactly as if there had been none.

Nothing in a run depends on how often a generator of random numbers has been asked before: a sample
gets its numbers from the seed and its position, a step from the seed and its iteration.
"""

"""Runs exported models without torch: from an image to the network's input, and back to results."""

"""Datasets for classification: their rules, audit and repair."""

"""Inference with trained models: the PyTorch backend of the Predictor."""

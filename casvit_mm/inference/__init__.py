"""A trained model, ready to predict: the PyTorch backend of the Predictor."""

"""The quick data check at the start of every run."""

"""What a run does if its disk is full, read-only or gone."""

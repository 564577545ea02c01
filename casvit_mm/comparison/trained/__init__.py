"""Short trainings of candidates: the same recipe, in which only the backbone differs."""

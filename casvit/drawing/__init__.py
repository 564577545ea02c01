"""Results drawn on their images."""

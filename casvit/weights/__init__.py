"""The weights that the authors publish: found by name, downloaded only if asked."""

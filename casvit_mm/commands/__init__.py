"""What the commands of :mod:`casvit.cli` run."""

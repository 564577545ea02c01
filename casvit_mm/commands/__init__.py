"""What the commands of :mod:`casvit.cli` run, once their arguments are read."""

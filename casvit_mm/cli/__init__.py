"""The commands: arguments in, calls into the rooms, exit code out."""

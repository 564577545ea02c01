"""The commands, one module each: its docstring is the --help, and it imports only its arguments."""

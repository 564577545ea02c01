"""The commands: each module is one, its docstring the --help, its imports those of arguments."""

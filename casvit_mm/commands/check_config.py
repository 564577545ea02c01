"""Lists what a config does beyond naming values."""

from argparse import Namespace

from casvit.configs import find_config
from casvit.names import printable
from casvit.sentences import count_of, from_here
from casvit_mm.config.beyond_data import look_through


def run(args: Namespace) -> int:
    """Prints the findings, file by file.

    Args:
        args: The parsed arguments.

    Returns:
        1 if there is more than values, else 0.

    Raises:
        CliError: A file cannot be read or parsed.
    """
    files = look_through(find_config(args.config))
    for file in files:
        found = [f'  line {line}: {text}' if line else f'  {text}' for line, text in file.findings]
        found += [f'  names the weights {name}' for name in file.weights]
        print(printable(from_here(file.path)))
        print('\n'.join(map(printable, found)) or '  values only')
    more = sum(bool(file.findings) for file in files)
    if more:
        print(
            f'{more} of {count_of(len(files), "file")} {"does" if more == 1 else "do"} more than '
            'name values, and would be run if a command read this config.'
        )
    return 1 if more else 0

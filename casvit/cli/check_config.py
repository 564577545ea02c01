"""Lists what a config does beyond naming values, without running it.

  casvit check_config stranger.py
      modules that it imports, functions that it calls, files that it inherits from, weights that
      it loads; the same for every file that it inherits from

A config of OpenMMLab is a Python file, and reading it runs it: look before you use one that
somebody else wrote. The exit code is 0 if there are only values, and 1 if there is more. Values
only is no promise of harmlessness: classes that a config names do what they do.
"""

from argparse import ArgumentParser


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument(
        'config', metavar='FILE', help='config file, or the name of one that comes with the package'
    )

"""How to type a command so that it works in the user's shell."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from casvit.sentences import from_here


def command(*arguments: object) -> str:
    """A command line of this program, quoted for the shell.

    Args:
        *arguments: The arguments, such as ``'test'``, a config and a checkpoint. Absolute paths
            below this folder are shortened.

    Returns:
        ``casvit …`` if that starts this environment's program; otherwise the command with the path
        of this interpreter, which works without activation.
    """
    return _quoted([*_program(), *(from_here(str(each), home=False) for each in arguments)])


def _program() -> list[str]:
    found, here = shutil.which('casvit'), Path(sys.executable)
    if found and Path(found).absolute().parent == here.parent:
        return ['casvit']
    # Not resolved: in a virtual environment, the interpreter is a link to another one.
    return [from_here(here, home=False), '-m', 'casvit']


def _quoted(words: list[str]) -> str:
    return subprocess.list2cmdline(words) if os.name == 'nt' else shlex.join(words)

"""The command `casvit compare`, from a checkout: casvit/cli/compare.py."""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec('casvit') is None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from casvit.cli.main import run_tool

# Data loading processes import this file again if they are spawned.
if __name__ == '__main__':
    sys.exit(run_tool('compare'))

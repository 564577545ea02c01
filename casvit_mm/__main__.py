"""``python -m casvit_mm COMMAND``: the same as ``casvit COMMAND``."""

import sys

from casvit.cli.main import main

if __name__ == '__main__':
    sys.exit(main())

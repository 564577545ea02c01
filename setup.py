"""Puts configs/ into the wheel, where OpenMMLab looks for the configs of an installed package."""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


def read_version() -> str:
    """Reads the version without importing the package, which would need torch."""
    source = (ROOT / 'casvit_mm' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", source, re.MULTILINE).group(1)


class BuildWithConfigs(build_py):
    """Adds `configs/` as `casvit_mm/.mim/configs`; an editable install finds it in place."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, 'casvit_mm', '.mim', 'configs')
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / 'configs', target, ignore=shutil.ignore_patterns('__pycache__'))


setup(version=read_version(), cmdclass={'build_py': BuildWithConfigs})

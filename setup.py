"""The parts of the build that pyproject.toml cannot express: configs, models, the index page."""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
CODE_BLOCK = re.compile(r'^(```.*?^```$)', re.MULTILINE | re.DOTALL)
# An image in the checkout, and its caption: the line in italics below it.
IMAGE = re.compile(r'^!\[[^]]*\]\((?![a-z]+:)[^)]*\)\n+(\*[^*\n]+\*\n+)?', re.MULTILINE)
LINK = re.compile(r'(?<!!)\[([^]]+)\]\((?![a-z]+:|#)([^)\s]+)\)')


def index_page(readme: str) -> str:
    """Removes what an index page cannot resolve from the README: images and links into a checkout.

    Args:
        readme: The README in Markdown.

    Returns:
        The same without images of the checkout, and with ``text (`path`)`` for links into it.
    """
    parts = CODE_BLOCK.split(readme)
    parts[::2] = [LINK.sub(r'\1 (`\2`)', IMAGE.sub('', part)) for part in parts[::2]]
    return ''.join(parts)


class BuildWithConfigs(build_py):
    """Adds configs and the index of models as `casvit_mm/.mim`; an editable install needs none."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, 'casvit_mm', '.mim')
            shutil.rmtree(target, ignore_errors=True)
            unwanted = shutil.ignore_patterns('__pycache__')
            shutil.copytree(ROOT / 'configs', target / 'configs', ignore=unwanted)
            shutil.copy(ROOT / 'model-index.yml', target)


setup(
    long_description=index_page((ROOT / 'README.md').read_text(encoding='utf-8')),
    long_description_content_type='text/markdown',
    cmdclass={'build_py': BuildWithConfigs},
)

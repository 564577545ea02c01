"""What pyproject.toml cannot say: configs/ inside the wheel, and the README for an index page."""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
CODE_BLOCK = re.compile(r'^(```.*?^```$)', re.MULTILINE | re.DOTALL)
# An image of the checkout, and the line in italics that is its caption.
IMAGE = re.compile(r'^!\[[^]]*\]\((?![a-z]+:)[^)]*\)\n+(\*[^*\n]+\*\n+)?', re.MULTILINE)
LINK = re.compile(r'(?<!!)\[([^]]+)\]\((?![a-z]+:|#)([^)\s]+)\)')


def index_page(readme: str) -> str:
    """The README without what an index page cannot follow: images and links into the checkout.

    Args:
        readme: Its Markdown.

    Returns:
        The same, with images of the checkout left out, and ``text (`path`)`` for links into it.
    """
    parts = CODE_BLOCK.split(readme)
    parts[::2] = [LINK.sub(r'\1 (`\2`)', IMAGE.sub('', part)) for part in parts[::2]]
    return ''.join(parts)


class BuildWithConfigs(build_py):
    """Adds `configs/` as `casvit_mm/.mim/configs`; an editable install finds it in place."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, 'casvit_mm', '.mim', 'configs')
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / 'configs', target, ignore=shutil.ignore_patterns('__pycache__'))


setup(
    long_description=index_page((ROOT / 'README.md').read_text(encoding='utf-8')),
    long_description_content_type='text/markdown',
    cmdclass={'build_py': BuildWithConfigs},
)

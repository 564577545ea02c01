"""The commands and the code that README and docs show."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    *(REPOSITORY / name for name in ('README.md', 'CONTRIBUTING.md')),
    *sorted((REPOSITORY / 'docs').glob('*.md')),
]
BLOCK = re.compile(
    r'(?:<!-- needs (?P<needs>[^>]*) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)```', re.S
)


@dataclass(frozen=True)
class Command:
    """A command of a page.

    Attributes:
        page: The page's name.
        words: The command and its arguments.
        needs: What the page says that it needs and tests do not have, such as COCO; else None.
    """

    page: str
    words: tuple[str, ...]
    needs: str | None

    def __str__(self) -> str:
        return f'{self.page}: {" ".join(self.words)[:70]}'

    @property
    def tool(self) -> str | None:
        """The name of our command; None for other programs."""
        if self.words[0] == 'casvit':
            name = self.words[1]
            return {'check': 'check_dataset'}.get(name, name)
        found = re.fullmatch(r'python tools/(\w+)\.py', ' '.join(self.words[:2]))
        return found[1] if found and found[1] != 'install' else None

    @property
    def arguments(self) -> list[str]:
        return list(self.words[2:])


def commands() -> Iterator[Command]:
    """Every command in a block of shell code."""
    for page in PAGES:
        for block in BLOCK.finditer(page.read_text(encoding='utf-8')):
            if block['kind'] != 'bash':
                continue
            for line in block['text'].replace('\\\n', ' ').splitlines():
                for part in line.split(' && '):
                    if words := shlex.split(part, comments=True):
                        yield Command(page.name, tuple(words), block['needs'])


def python_blocks(page: str) -> list[str]:
    """The blocks of Python code of a page."""
    text = (REPOSITORY / page).read_text(encoding='utf-8')
    return [block['text'] for block in BLOCK.finditer(text) if block['kind'] == 'python']

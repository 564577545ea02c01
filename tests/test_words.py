"""The field's words, one for each thing, in all that users read."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
# What to say, by what is not said.
WORDS = {
    r'pictures?|photographs?': 'image',
    r'data sets?': 'dataset',
    r'label maps?|index maps?': 'semantic mask',
    r'label values?': 'class index',
    r'faults?': 'issue',
    r'weight files?': 'checkpoint',
    r'found out': 'detected automatically',
    r'without a word': 'silently',
    r'by heart': 'overfit',
    r'examples of nothing': 'background images',
}
BANNED = re.compile(rf'(?<![\w`-])(?:{"|".join(WORDS)})(?![\w-])', re.IGNORECASE)
# Names that datasets and files on disk have.
ON_DISK = {'pictures', 'photos'}
PAGES = [
    *(REPOSITORY / 'docs').glob('*.md'),
    *(REPOSITORY / f'{name}.md' for name in ('README', 'CHANGELOG', 'CONTRIBUTING')),
    REPOSITORY / 'Makefile',
    *(REPOSITORY / 'casvit_mm').rglob('*.html'),
    *(REPOSITORY / 'configs').rglob('*.py'),
]
CODE = [
    *(REPOSITORY / 'casvit').rglob('*.py'),
    *(REPOSITORY / 'casvit_mm').rglob('*.py'),
    *(REPOSITORY / 'tools').rglob('*.py'),
]


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def strings(file: Path) -> Iterator[str]:
    """Messages, help texts and docstrings of a module."""
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize('file', CODE, ids=name)
def test_messages_and_docstrings_use_the_words_of_the_field(file):
    found = [text for text in strings(file) if text not in ON_DISK and BANNED.search(text)]
    assert not found, f'{BANNED.search(found[0])[0]!r} in {found[0]!r}'


@pytest.mark.parametrize('file', PAGES, ids=name)
def test_pages_and_configs_use_the_words_of_the_field(file):
    text = file.read_text(encoding='utf-8')
    found = [line for line in text.splitlines() if BANNED.search(line)]
    assert not found, f'{BANNED.search(found[0])[0]!r} in {found[0]!r}'


@pytest.mark.parametrize(
    'said', ['a picture', 'two data sets', 'Label map', 'a fault', 'found out']
)
def test_a_word_that_is_not_said_is_noticed(said):
    assert BANNED.search(f'This is {said}.')


@pytest.mark.parametrize('kept', ['missing-picture', 'num_pictures', '--no-pictures', 'default'])
def test_public_names_outlive_the_words(kept):
    assert not BANNED.search(f'The kind {kept} is known.')

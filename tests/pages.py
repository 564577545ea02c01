"""Reads the page of a data check as a browser does: its elements, texts and addresses."""

import re
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np

VOID = {'meta', 'img', 'br', 'link', 'input', 'hr'}


class Element:
    """An element of a page."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag, self.attributes = tag, attributes
        self.children: list[Element | str] = []

    @property
    def text(self) -> str:
        parts = (each if isinstance(each, str) else each.text for each in self.children)
        return ' '.join(' '.join(parts).split())

    @property
    def below(self) -> list['Element']:
        """All elements in it, in the order of the page."""
        found = []
        for each in self.children:
            if isinstance(each, Element):
                found += [each, *each.below]
        return found

    def all(self, tag: str = '', **attributes: str) -> list['Element']:
        """The elements of a tag whose attributes contain these words."""
        return [
            each
            for each in self.below
            if each.tag == (tag or each.tag)
            and all(
                word in each.attributes.get(name.rstrip('_').replace('_', '-'), '').split()
                for name, word in attributes.items()
            )
        ]


class Page(HTMLParser):
    """A page; fails if elements are not closed in order."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.source = Path(file).read_text(encoding='utf-8')
        self.root = Element('', {})
        self.open = [self.root]
        self.feed(self.source)
        self.close()
        assert self.open == [self.root]

    def handle_starttag(self, tag, attributes):
        element = Element(tag, {name: value or '' for name, value in attributes})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.open[-1].children.append(Element(tag, {n: v or '' for n, v in attributes}))

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def handle_data(self, text):
        self.open[-1].children.append(text)

    @property
    def cards(self) -> list[Element]:
        return self.root.all('figure', class_='card')

    @property
    def charts(self) -> list[Element]:
        """The parts of charts that have an alternative text: by title, what is drawn."""
        return self.root.all('figure', class_='chart')

    def issues(self) -> dict[str, Element]:
        found = self.root.all('details', class_='issue')
        return {each.attributes['data-kind']: each for each in found}


def check_page(page: Page) -> None:
    """What holds for every page: it loads nothing, runs one script, and has texts for images."""
    everything = page.root.below
    for each in everything:
        for name, value in each.attributes.items():
            assert not name.startswith('on'), f'{name} of {each.tag}'
            if name in ('src', 'href', 'data-large', 'xlink:href', 'srcset', 'action'):
                assert value.startswith(('data:image/', '#')), value[:60]
        assert each.tag not in ('iframe', 'object', 'embed', 'link', 'base')
    (script,) = page.root.all('script')
    policy = page.root.all('meta')[2].attributes['content']
    content = ''.join(part for part in script.children if isinstance(part, str))
    assert f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    style = page.root.all('style')[0].children[0]
    assert 'url(' not in style and '@import' not in style
    assert 'prefers-color-scheme: dark' in style
    identities = [each.attributes['id'] for each in everything if 'id' in each.attributes]
    assert len(set(identities)) == len(identities)
    for link in page.root.all('a'):
        assert link.attributes['href'].lstrip('#') in identities
    for card in page.cards:
        shown = card.all('img')
        assert (shown or card.all('div', class_='missing')) and card.all('div', class_='name')
        assert all(image.attributes['alt'] and image.attributes['data-large'] for image in shown)
    for chart in page.charts:
        told = [e.attributes['aria-label'] for e in chart.all(role='img')]
        told += [e.attributes['alt'] for e in chart.all('img')]
        assert told and all(told) and chart.all('h3')[0].text
        for each in chart.below:
            for name in ('x', 'y', 'cx', 'cy', 'x1', 'x2', 'y1', 'y2', 'width'):
                value = each.attributes.get(name, '')
                if value.endswith('%'):
                    assert -1e-6 <= float(value[:-1]) <= 100.01
    headings = page.root.all('h1') + page.root.all('h2')
    assert headings[0].tag == 'h1'


def shown_image(card: Element, name: str = 'data-large') -> np.ndarray:
    """The image of a card, RGB."""
    address = card.all('img')[0].attributes[name]
    found = re.fullmatch(r'data:image/jpeg;base64,([A-Za-z0-9+/=]+)', address)
    return cv2.imdecode(np.frombuffer(b64decode(found[1]), np.uint8), 1)[..., ::-1]


def marked(image: np.ndarray) -> np.ndarray:
    """The pixels in the red of highlights. Shape: ``(H, W)``, bool."""
    return np.abs(image.astype(int) - (214, 16, 48)).max(-1) < 40

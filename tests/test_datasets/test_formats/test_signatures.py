"""Formats of other tools are named without a library, and never wrongly."""

import json
import re
import time
from pathlib import Path

import exported
import foreign
import pytest

from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.formats import voc
from casvit_mm.datasets.formats.coco import read as coco
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.formats.folders import folders
from casvit_mm.datasets.formats.foreign import disclaim, read, readable, recognise
from casvit_mm.datasets.formats.foreign.signatures import SIGNATURES, find
from casvit_mm.datasets.shapes import objects as shapes


def named(root):
    return recognise(list(folders(root)))


@pytest.mark.parametrize('name', [*foreign.READ, *foreign.NAMED])
def test_a_format_is_recognised_by_its_files(name, tmp_path):
    {**foreign.READ, **foreign.NAMED}[name](tmp_path)
    foreign.image(tmp_path / 'more/images/a.jpg')
    assert named(tmp_path) == name.strip()


@pytest.mark.parametrize('name', foreign.NAMED)
def test_a_format_that_no_reader_knows_is_named_with_what_to_do(name, tmp_path):
    foreign.NAMED[name](tmp_path)
    with pytest.raises(DatasetError) as caught:
        read(tmp_path)
    assert f'is {name.strip()} (' in str(caught.value)
    assert 'Export the dataset as COCO, Pascal VOC or YOLO' in str(caught.value)
    assert 'casvit-mm[' not in str(caught.value), 'the extra would not help'
    assert not readable(folders(tmp_path))


@pytest.mark.parametrize('task', [None, 'detection', 'semantic'])
@pytest.mark.parametrize('name', foreign.NAMED)
def test_the_check_says_so_whatever_the_task(name, task, tmp_path):
    foreign.NAMED[name](tmp_path)
    foreign.image(tmp_path / 'images/a.jpg')
    with pytest.raises(DatasetError, match=f'is {re.escape(name.strip())} '):
        read_dataset(tmp_path, task)


def test_semantic_masks_next_to_files_of_another_tool_are_read(tmp_path):
    foreign.NAMED['VGG Image Annotator (VIA) CSV'](tmp_path)
    for name in ('images/a.jpg', 'masks/a.png'):
        foreign.image(tmp_path / name)
    assert read_dataset(tmp_path).format.startswith('semantic masks')


@pytest.mark.parametrize('name', foreign.READ)
def test_without_the_extra_the_sentence_names_the_format_and_the_extra(name, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'datumaro.components.environment', None)
    foreign.READ[name](tmp_path)
    with pytest.raises(DatasetError) as caught:
        read(tmp_path)
    assert f'The dataset is {name} (' in str(caught.value)
    assert "pip install 'casvit-mm[formats]'" in str(caught.value)


def test_the_page_lists_every_format():
    page = ' '.join((Path(__file__).parents[3] / 'docs/data_check.md').read_text().split())
    for signature in SIGNATURES:
        assert signature.name.lower() in page.lower(), signature.name


@pytest.mark.parametrize('name', ['coco', *exported.EXPORTS])
def test_formats_that_casvit_reads_are_not_taken_for_others(name, tmp_path):
    if name != 'coco':
        pytest.importorskip('supervision')
    root = tmp_path / 'coco'
    shapes.generate(root, num_train=3, num_val=2, progress=False)
    if name != 'coco':
        root = exported.EXPORTS[name](root, tmp_path / name)
    assert named(root) == ''
    assert read(root) is None


def test_files_that_only_resemble_a_format_are_not_named(tmp_path):
    files = {
        'features.json': dict(type='FeatureCollection', coordinates=[1, 2], label='a'),
        'config.json': dict(objects=[], size=3, height=2, width=1),
        'labels.json': dict(labels=['cat', 'dog']),
        'items.json': dict(categories=[], items=[]),
        'gt.txt': '1,2,3\n',
        'label_2/a.txt': 'two words\n',
        'gt/gt.txt': 'no numbers at all\n',
        'labelTxt/a.txt': 'a b c\n',
        'page.xml': '<!-- <annotations> --><html><meta/><image/></html>',
        'things.csv': 'image,xmin,ymin,xmax,ymax,label\n',
        'train': 'a\nb\n',
        'test': '\x80\n',
        'notes.txt': 'wider_face_train_bbx_gt.txt',
    }
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        foreign.text(tmp_path / name, text)
    assert named(tmp_path) == ''


def test_windows_text_is_recognised(tmp_path):
    text = '<?xml version="1.0"?><annotations><meta><task/></meta><image id="0"/></annotations>'
    for number, encoding in enumerate(('utf-16', 'utf-8-sig')):
        path = foreign.text(tmp_path / str(number) / 'annotations.xml', '')
        path.write_text(text, encoding=encoding)
        assert named(path.parent) == 'CVAT for images 1.1'


def test_text_made_to_slow_the_search_down_does_not(tmp_path):
    for number, text in enumerate((' ' * 70000, '<?>' * 20000, '<!--' * 15000, '<??>-->' * 9000)):
        foreign.text(tmp_path / f'{number}.xml', text)
    started = time.monotonic()
    assert named(tmp_path) == ''
    assert time.monotonic() - started < 5


def test_a_pickle_is_refused_and_never_loaded(tmp_path):
    mark = tmp_path / 'ran'
    foreign.pickled(tmp_path / 'cifar-10-batches-py', mark)
    foreign.image(tmp_path / 'a.jpg')
    with pytest.raises(DatasetError, match='pickled Python data, which is never loaded'):
        read(tmp_path)
    assert not mark.exists()


def test_files_that_resemble_formats_of_casvit_are_left_to_the_other_reader(tmp_path):
    content = dict(
        dm_format_version='1.0', infos={}, categories=dict(label={}), items=[dict(annotations=[])]
    )
    foreign.text(tmp_path / 'annotations/train.json', json.dumps(content))
    foreign.labelme_xml(tmp_path / 'xml')
    shapes.generate(tmp_path / 'shapes', num_train=2, num_val=1, progress=False)
    listing = list(folders(tmp_path))
    claimed = dict(coco=coco.find(listing), voc=voc.find(listing))
    assert [len(places) for places in claimed.values()] == [3, 1], 'they do resemble them'
    left = disclaim(claimed, listing)
    assert {name: len(places) for name, places in left.items()} == dict(coco=2)
    assert {path.parents[1].name for path in left['coco']} == {'shapes'}


def test_every_file_of_a_format_is_found_among_many(tmp_path):
    for number in range(60):
        foreign.text(
            tmp_path / f'task_{number}.xml',
            '<annotations><meta><job/></meta><image id="0"/></annotations>',
        )
    (found,) = find(folders(tmp_path))
    assert len(found.files) == 60


def test_links_pipes_and_missing_files_do_not_stop_the_search(tmp_path):
    import os

    os.mkfifo(tmp_path / 'annotations.xml')
    (tmp_path / 'a.json').symlink_to(tmp_path / 'nowhere.json')
    assert named(tmp_path) == ''


def test_the_made_cvat_dataset_is_named(photographs):
    root = Path(photographs) / 'awkward/cvat_xml'
    if not root.is_dir():
        pytest.skip('the folder awkward is not there')
    assert named(root) == 'CVAT for images 1.1'

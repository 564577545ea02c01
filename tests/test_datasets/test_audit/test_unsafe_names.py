"""Class names that mmengine or a terminal may take for instructions."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from images import write_image

from casvit.names import (
    name_issue,
    printable,
    read_lines,
    refuse_unsafe_names,
    safe_names,
)
from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.audit.masks import audit_masks
from casvit_mm.datasets.audit.objects import audit_objects
from casvit_mm.datasets.audit.repair_masks import repair_masks
from casvit_mm.datasets.audit.repair_objects import repair_objects
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.issues import Severity
from casvit_mm.report.audit.page import write_mask_page, write_object_page

pytest.importorskip('supervision')
PAYLOAD = "{{$NOT_SET_ANYWHERE:',),ran:=open('ran','w'),('}}"
# A JSON file can store all of these, a text file not.
UNSAFE = [
    PAYLOAD,
    '{{_base_.model}}',
    'a{{{b',
    'a\nb',
    'a\x1b[2Jb',
    'a\x00b',
    'a\x85b',
    'a\u2028b',
    'a\u202egnp.b',
    'a\ufeffb',
    'a\udcffb',
]
SAFE = [
    'cat',
    'a{b}c',
    '{ {',
    'größe 🐈',
    '\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645',
    '👩\u200d🚀',
    "it's",
    '100 %',
    '$x$',
    '',
]


def coco(root, name):
    content = dict(
        images=[dict(id=1, file_name='a.png', width=40, height=30)],
        categories=[dict(id=1, name=name), dict(id=2, name='dog')],
        annotations=[
            dict(id=i, image_id=1, category_id=i, bbox=[1, 1, 9, 9], area=81, iscrowd=0)
            for i in (1, 2)
        ],
    )
    (root / 'x.json').write_text(json.dumps(content))
    return 'x.json: categories[0] (id 1) '


def labelme(root, name):
    shapes = [
        dict(label=label, points=[[5, 5], [20, 20]], shape_type='rectangle')
        for label in ('dog', name)
    ]
    (root / 'a.json').write_text(json.dumps(dict(imagePath='a.png', shapes=shapes)))
    return 'a.json: shapes[1] '


def voc(root, name):
    box = '<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>'
    objects = ''.join(f'<object><name>{n}</name>{box}</object>' for n in ('dog', name))
    text = f'<annotation><filename>a.png</filename>{objects}</annotation>'
    (root / 'a.xml').write_text(text, encoding='utf-8')
    return 'a.xml: object[1] '


def yolo_yaml(root, name):
    (root / 'a.txt').write_text('0 0.5 0.5 0.4 0.4\n1 0.5 0.5 0.3 0.3\n')
    # JSON is YAML, and can escape characters that plain text cannot store.
    (root / 'data.yaml').write_text(json.dumps(dict(names=[name, 'dog'], train='.')))
    return 'data.yaml: categories[0] (id 1) '


def yolo_text(root, name):
    (root / 'a.txt').write_text('0 0.5 0.5 0.4 0.4\n1 0.5 0.5 0.3 0.3\n')
    (root / 'classes.txt').write_text(f'{name}\ndog\n', encoding='utf-8')
    return 'classes.txt: categories[0] (id 1) '


HOLDS = {
    coco: lambda name: True,
    labelme: lambda name: True,
    voc: lambda name: '\x00' not in name and '\x1b' not in name and '\udcff' not in name,
    yolo_yaml: lambda name: '\udcff' not in name and '\ufeff' not in name,
    yolo_text: lambda name: '\n' not in name and '\udcff' not in name,
}
CASES = [(write, name) for write, holds in HOLDS.items() for name in UNSAFE if holds(name)]


@pytest.mark.parametrize(('write', 'name'), CASES)
def test_an_unsafe_class_name_is_an_error_and_the_repair_renames_it(tmp_path, write, name):
    root = tmp_path / 'data'
    root.mkdir()
    write_image(root / 'a.png')
    where = write(root, name)
    audit = audit_objects(read_dataset(root), progress=False)
    (issue,) = audit.issues.of(Severity.ERROR)
    assert issue.kind == 'unsafe-name' and where in str(issue)
    assert name in audit.classes, 'as written in the file'
    write_object_page(audit, tmp_path / 'index.html', [(255, 0, 0)] * 2)
    assert '\x1b' not in (tmp_path / 'index.html').read_text()

    repair_objects(audit, tmp_path / 'fixed')
    fixed = audit_objects(read_dataset(tmp_path / 'fixed'), progress=False)
    assert not fixed.issues.of(Severity.ERROR) and 'dog' in fixed.classes
    (new,) = set(fixed.classes) - {'dog'}
    changes = (tmp_path / 'fixed/changes.txt').read_text()
    assert f'is renamed to {new!r}' in changes and len(changes.splitlines()) == 1


@pytest.mark.parametrize('name', [name for name in UNSAFE if HOLDS[yolo_text](name)])
def test_an_unsafe_class_name_of_semantic_masks_is_an_error_too(tmp_path, name):
    from PIL import Image

    root = tmp_path / 'data'
    for folder in ('images', 'masks'):
        (root / folder).mkdir(parents=True)
    write_image(root / 'images/a.png')
    mask = Image.new('L', (40, 30))
    mask.putpixel((3, 3), 1)
    mask.save(root / 'masks/a.png')
    (root / 'classes.txt').write_text(f'ground\n{name}\n', encoding='utf-8')
    audit = audit_masks(read_dataset(root, 'semantic'), progress=False)
    (issue,) = audit.issues.of(Severity.ERROR)
    assert issue.kind == 'unsafe-name'
    assert str(issue).startswith(f'{root}/classes.txt: class 1 is named ')
    write_mask_page(audit, tmp_path / 'index.html')
    changes = repair_masks(audit, tmp_path / 'fixed')
    assert 'is renamed to' in changes[0]
    again = audit_masks(read_dataset(tmp_path / 'fixed', 'semantic'), progress=False)
    assert not again.issues.of(Severity.ERROR) and again.classes[0] == 'ground'


@pytest.mark.parametrize('name', SAFE)
def test_a_name_in_any_script_is_safe(name):
    assert not name_issue(name) and safe_names([name]) == [name] and printable(name) == name
    refuse_unsafe_names([name], 'x.json')


@pytest.mark.parametrize('name', UNSAFE)
def test_a_run_refuses_an_unsafe_name(name):
    with pytest.raises(DatasetError, match=r'class 1 of x\.json') as found:
        refuse_unsafe_names(['cat', name], 'x.json')
    assert str(found.value).isprintable() and 'Rename' in str(found.value)


@given(st.lists(st.text('ab{}$\n\u202e\udcff ', max_size=4), unique=True))
def test_new_names_are_safe_and_unique_and_safe_ones_are_kept(names):
    new = safe_names(names)
    assert len(set(new)) == len(names) and not any(map(name_issue, new))
    assert all(a == b for a, b in zip(names, new, strict=True) if not name_issue(a))


@given(st.text())
def test_printable_text_is_one_line_that_utf_8_can_encode(text):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1 and shown.encode('utf-8') is not None
    assert '\x1b' not in shown


def test_lines_are_split_only_at_line_ends(tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_bytes('a\u2028b\r\nc\x0bd\n'.encode())
    assert read_lines(path) == ['a\u2028b', 'c\x0bd', '']
    path.write_bytes(b'\x81\x8d')
    with pytest.raises(DatasetError, match=r'classes\.txt is not text in UTF-8.* save it as UTF-8'):
        read_lines(path)

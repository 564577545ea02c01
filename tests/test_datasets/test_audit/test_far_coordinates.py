"""Coordinates that are not numbers, or a billion pixels away: reported, never drawn or filled."""

import time

import pytest
from images import write_image

from casvit_mm.datasets.audit.objects import audit_objects
from casvit_mm.datasets.audit.repair_objects import repair_objects
from casvit_mm.datasets.audit.repair_options import RepairOptions
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.issues import Severity
from casvit_mm.report.audit.sheet import object_sheet

pytest.importorskip('supervision')
VALUES = ['NaN', 'Infinity', '-1e9', '1e9', '1e12', '1e308', '-1e308', f'{10**30}']

# All objects may have been lost; which of a box and its mask is right is not guessed.
ALLOWED = {'nothing-to-learn', 'box-mask-mismatch'}


def yolo(root, value):
    (root / 'classes.txt').write_text('cat\n')
    lines = ['0 0.5 0.5 0.3 0.3', f'0 0.5 0.5 {value} 0.4', f'{value} 0.5 0.5 0.4 0.4']
    lines.append(f'0 0.5 0.5 {value} 0.4 0.3 0.3 0.1 0.1')
    (root / 'a.txt').write_text('\n'.join(lines))
    return 3


def labelme(root, value):
    shape = '{"label": "cat", "shape_type": "%s", "points": [[5, 5], [20, %s], [5, 20]]}'
    shapes = ', '.join(shape % (kind, value) for kind in ('polygon', 'rectangle'))
    (root / 'a.json').write_text(f'{{"imagePath": "a.png", "shapes": [{shapes}]}}')
    return 2


def voc(root, value):
    box = '<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>20</xmax><ymax>{}</ymax></bndbox>'
    polygon = (
        f'<polygon><x1>5</x1><y1>5</y1><x2>9</x2><y2>{value}</y2><x3>9</x3><y3>9</y3></polygon>'
    )
    objects = f'<object><name>cat</name>{box.format(20)}{polygon}</object>'
    objects += f'<object><name>cat</name>{box.format(value)}</object>'
    (root / 'a.xml').write_text(f'<annotation><filename>a.png</filename>{objects}</annotation>')
    return 2


def coco(root, value):
    record = '{"id": %d, "image_id": 1, "category_id": 1, "area": 4, "iscrowd": 0, '
    record += '"bbox": [%s, 5, %s, 5], "segmentation": [[1, 1, %s, 5, 5, 5]]}'
    records = [(1, value, 9, 9), (2, 5, value, 9), (3, 5, 9, value)]
    (root / 'x.json').write_text(
        '{"images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}], "categories": '
        f'[{{"id": 1, "name": "cat"}}], "annotations": [{", ".join(record % r for r in records)}]}}'
    )
    return 1


@pytest.mark.parametrize('value', VALUES)
@pytest.mark.parametrize('write', [yolo, labelme, voc, coco])
@pytest.mark.filterwarnings('ignore::RuntimeWarning')
def test_an_object_with_such_coordinates_is_an_error_and_costs_no_time(tmp_path, write, value):
    root = tmp_path / 'data'
    root.mkdir()
    write_image(root / 'a.png')
    number = write(root, value)
    start = time.perf_counter()
    audit = audit_objects(read_dataset(root), progress=False)
    object_sheet(audit, 4, 0, [(255, 0, 0)])
    assert time.perf_counter() - start < 5
    errors = [f for f in audit.issues.of(Severity.ERROR) if f.kind != 'unknown-category']
    assert len(errors) >= number - 1
    repair_objects(audit, tmp_path / 'fixed', RepairOptions(allow_loss=1))
    fixed = audit_objects(read_dataset(tmp_path / 'fixed'), progress=False)
    assert {issue.kind for issue in fixed.issues.of(Severity.ERROR)} <= ALLOWED

"""What a fine-tuning run reads: masks that it wrote itself whenever their values were converted."""

import json

import numpy as np
import pytest
from semantic_data import labels_of, write_pairs

pytest.importorskip('mmseg')

from mmseg.datasets.transforms import LoadAnnotations

from casvit_mm.datasets.audit.masks import audit_masks
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.issues import Severity
from casvit_mm.datasets.pairs_dataset import PairsDataset
from casvit_mm.finetune.data import prepare_masks


def prepared(root, out, **options):
    audit = audit_masks(read_dataset(root, 'semantic'), progress=False, **options)
    assert not audit.issues.of(Severity.ERROR)
    return prepare_masks(audit, out, 0.25, 0)


def loaded(data, split):
    """The masks of a split as a run loads them, by the name of their image."""
    dataset = PairsDataset(
        ann_file=str(data.splits[split].ann_file),
        metainfo=dict(classes=data.classes, palette=data.palette),
        pipeline=[LoadAnnotations()],
    )
    items = [dataset[index] for index in range(len(dataset))]
    return {item['img_path'].rsplit('/', 1)[1]: item['gt_seg_map'] for item in items}


ENCODINGS = {
    'plain': ({}, ''),
    'palette': (dict(mode='P'), ''),
    '16 bits': (dict(mode='I;16'), ''),
    'rgb': (dict(mode='RGB'), ''),
    'rgba tiff': (dict(mode='RGBA', mask='labels/{split}/{name}.tif'), ''),
    'from one': (dict(values=(1, 2, 3)), 'Idx\tName\n1\ta\n2\tb\n3\tc\n'),
    'ids': (dict(values=(7, 40, 200)), 'Value\tName\n200\tc\n7\ta\n40\tb\n'),
}


@pytest.mark.parametrize('kind', ENCODINGS)
def test_a_run_loads_class_indices_whatever_the_masks_hold(tmp_path, kind):
    options, legend = ENCODINGS[kind]
    root = write_pairs(tmp_path / 'data', **options)
    if legend:
        (root / 'objectInfo150.txt').write_text(legend)
    data = prepared(root, tmp_path / 'run')
    assert len(data.classes) == len(data.palette) == 3 and data.ignore_index == 255
    for place, split in enumerate(('train', 'val')):
        found = loaded(data, split)
        assert len(found) == 4
        for name, labels in found.items():
            assert np.array_equal(labels, labels_of(100 * place + int(name[-7:-4])))
    records = json.loads(data.splits['train'].ann_file.read_text())
    written = all('run/data/label_maps' in record['seg_map_path'] for record in records)
    assert written == (kind not in ('plain', 'palette', '16 bits'))
    assert written == any('converted to class indices' in note for note in data.notes)


def test_images_of_no_split_are_used_for_training(tmp_path):
    root = write_pairs(tmp_path / 'data')
    write_pairs(root, 3, image='images/{name}.jpg', mask='labels/{name}.png', splits=('x',))
    data = prepared(root, tmp_path / 'run')
    assert data.splits['train'].size == 7 and data.splits['val'].size == 4


def test_images_of_no_split_beside_training_images_are_divided_with_them(tmp_path):
    root = write_pairs(tmp_path / 'data', 8, splits=('train',))
    write_pairs(root, 4, image='images/{name}.jpg', mask='labels/{name}.png', splits=('x',))
    data = prepared(root, tmp_path / 'run')
    sizes = {name: split.size for name, split in data.splits.items()}
    assert sum(sizes.values()) == 12 and sizes['val'] == 3

"""Images outside the splits of a dataset are neither lost nor in the way."""

import json

import pytest
from images import write_image

from casvit_mm.commands.data import audited
from casvit_mm.datasets.audit.repair_objects import repair_objects
from casvit_mm.datasets.formats.find import read_dataset

BOX = '0 0.5 0.5 0.4 0.4\n'


def yolo(root, *splits, suffix='.png'):
    """Images in folders of splits ('' for none), each with a label file."""
    root.mkdir()
    for number, split in enumerate(splits):
        (root / split).mkdir(exist_ok=True)
        write_image(root / split / f'{number}{suffix}', seed=number)
        (root / split / f'{number}.txt').write_text(BOX)
    (root / 'classes.txt').write_text('cat\n')
    return root


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.webp'])
def test_annotated_images_beside_the_splits_are_part_of_train(tmp_path, suffix):
    root = yolo(tmp_path / 'data', 'train', 'val', '', '', suffix=suffix)
    write_image(root / f'loose{suffix}', seed=9)
    dataset = read_dataset(root, 'detection')
    audit = audited(dataset, 'detection')
    found = {name: (f.images, sum(f.objects.values())) for name, f in audit.facts.items()}
    assert found == dict(train=(3, 3), val=(1, 1))
    assert any('1 image outside the splits have no annotations' in n for n in dataset.notes)
    assert any('2 images outside the splits are part of train' in n for n in dataset.notes)
    assert audit.issues.counts() == {}
    repair_objects(audit, tmp_path / 'fixed')
    again = audited(read_dataset(tmp_path / 'fixed'), 'detection')
    assert {name: fact.images for name, fact in again.facts.items()} == dict(train=3, val=1)


def test_without_a_train_split_all_others_are_it(tmp_path):
    root = yolo(tmp_path / 'data', 'val', '', '')
    write_image(root / 'background.png', seed=9)
    audit = audited(read_dataset(root, 'detection'), 'detection')
    assert {name: fact.images for name, fact in audit.facts.items()} == dict(train=3, val=1)


def test_an_issue_names_the_file_from_before_the_merge(tmp_path):
    root = yolo(tmp_path / 'data', 'train', 'val', '')
    (root / '2.txt').write_text('0 0.5 0.5 0.0 0.4\n')
    found = audited(read_dataset(root, 'detection'), 'detection').issues.issues
    (issue,) = (issue for issue in found if issue.kind == 'empty-box')
    assert (issue.kind, issue.file, issue.record) == ('empty-box', str(root / '2.txt'), 'line 1')


def coco(file, images, categories, first=1):
    """A COCO file with one object in each image."""
    names = [dict(id=i, name=name) for i, name in enumerate(categories, 3)]
    content = dict(
        images=[
            dict(id=i, file_name=name, width=40, height=30) for i, name in enumerate(images, first)
        ],
        categories=names,
        annotations=[
            dict(id=i, image_id=i, category_id=names[i % len(names)]['id'], bbox=[1, 1, 9, 9])
            for i, _ in enumerate(images, first)
        ],
    )
    file.write_text(json.dumps(content))


def test_several_coco_files_of_one_split_are_merged(tmp_path):
    for number in range(5):
        write_image(tmp_path / f'{number}.png', seed=number)
    coco(tmp_path / 'train_job1.json', ['0.png', '1.png'], ['cat', 'dog'])
    coco(tmp_path / 'train_job2.json', ['1.png', '2.png'], ['dog', 'cow'])
    coco(tmp_path / 'val.json', ['3.png', '4.png'], ['cat', 'dog', 'cow'])
    dataset = read_dataset(tmp_path, 'detection')
    assert any('2 annotation files belong to the split train' in note for note in dataset.notes)
    audit = audited(dataset, 'detection')
    # 1.png is listed in both files: it is one image with two objects.
    assert audit.facts['train'].images == 3
    assert audit.facts['train'].objects == dict(cat=1, dog=2, cow=1)
    assert not dataset.splits['train'].verbatim

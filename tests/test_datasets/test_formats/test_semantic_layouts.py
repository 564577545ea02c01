"""Images and semantic masks are paired in the layouts of public datasets and of tools."""

import shutil

import numpy as np
import pytest
from PIL import Image
from semantic_data import labels_of, write_mask, write_pairs, write_photo

from casvit.errors import DatasetError
from casvit_mm.datasets.audit.masks import audit_masks
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.issues import Severity

LAYOUTS = {
    'mmseg': ('img_dir/{split}/{name}.jpg', 'ann_dir/{split}/{name}.png'),
    'in a folder': ('mine/img_dir/{split}/{name}.png', 'mine/ann_dir/{split}/{name}.png'),
    'ade20k': ('images/{split}ing/{name}.jpg', 'annotations/{split}ing/{name}.png'),
    'by split': ('{split}/images/{name}.jpeg', '{split}/masks/{name}.png'),
    'camvid': ('{split}/{name}.png', '{split}annot/{name}.png'),
    'img and mask': ('img/{split}/{name}.jpg', 'mask/{split}/{name}.tif'),
    'carvana': ('{split}/{name}.jpg', '{split}_masks/{name}_mask.png'),
    'one folder': ('{split}/{name}.jpg', '{split}/{name}_mask.png'),
    'deepglobe': ('{split}/{number}_sat.jpg', '{split}/{number}_mask.png'),
    'bdd100k': ('images/10k/{split}/{name}.jpg', 'labels/10k/{split}/{name}_train_id.png'),
    'drone': ('{split}/original_images/{name}.jpg', '{split}/label_images_semantic/{name}.png'),
    'inner name': ('mask_set/{split}/images/{name}.bmp', 'mask_set/{split}/gt/{name}.bmp'),
    'named masks': ('images/{split}/img_{name}.jpg', 'masks/{split}/mask_{name}.png'),
    'isic': ('{split}_images/{name}.jpg', '{split}_GroundTruth/{name}_segmentation.png'),
}  # fmt: skip


def checked(root, **options):
    return audit_masks(read_dataset(root, 'semantic'), progress=False, **options)


def errors(audit):
    return [str(issue) for issue in audit.issues.of(Severity.ERROR)]


def sizes(dataset):
    return {name: len(pairs) for name, pairs in dataset.splits.items()}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_image_gets_its_own_mask_in_each_layout(layout, tmp_path):
    image, mask = LAYOUTS[layout]
    splits = ('train', 'valid') if layout != 'ade20k' else ('train', 'test')
    write_pairs(tmp_path, 3, image=image, mask=mask, splits=splits)
    dataset = read_dataset(tmp_path, 'semantic')
    assert sizes(dataset) == {'train': 3, 'val' if splits[1] == 'valid' else 'test': 3}
    for place, pairs in enumerate(dataset.splits.values()):
        for pair in pairs:
            number = int(''.join(c for c in pair.image.stem if c.isdigit()))
            expected = labels_of(100 * place + number)
            assert np.array_equal(np.array(Image.open(pair.mask)), expected)
    assert errors(checked(tmp_path)) == []


def test_a_folder_and_its_parent_give_the_same_dataset(tmp_path):
    write_pairs(tmp_path / 'mine', image=LAYOUTS['mmseg'][0], mask=LAYOUTS['mmseg'][1])
    (tmp_path / 'mine/class_names.txt').write_text('sky\nroad\ncar\n')
    for root in (tmp_path, tmp_path / 'mine'):
        audit = checked(root)
        assert audit.classes == ['sky', 'road', 'car'] and errors(audit) == []
        assert sizes(audit.dataset) == dict(train=4, val=4)


def voc(root, years=('2007', '2012'), segmented=4, others=2):
    """VOC's layout: masks with a palette and void borders, and images that are in no list."""
    names = [f'{years[i % 2]}_{i:06d}' for i in range(segmented + others)]
    for index, name in enumerate(names):
        write_photo(root / f'JPEGImages/{name}.jpg', index)
        if index >= segmented:
            continue
        labels = labels_of(index, 2) * 8
        labels[4] = 255
        write_mask(root / f'SegmentationClass/{name}.png', labels, 'P')
        objects = labels_of(index, 2)
        objects[20:] *= 2
        objects[4] = 255
        write_mask(root / f'SegmentationObject/{name}.png', objects, 'P')
    lists = root / 'ImageSets/Segmentation'
    lists.mkdir(parents=True)
    half = segmented // 2
    for name, part in (
        ('train', names[:half]),
        ('val', names[half:segmented]),
        ('trainval', names[:segmented]),
    ):
        (lists / f'{name}.txt').write_text('\n'.join(part) + '\n')
    return root


@pytest.mark.parametrize('inside', ['', 'VOCdevkit/VOC2012'])
def test_only_the_listed_images_of_voc_count(tmp_path, inside):
    voc(tmp_path / inside, segmented=6, others=3)
    audit = checked(tmp_path)
    assert errors(audit) == [] and sizes(audit.dataset) == dict(train=3, val=3)
    assert audit.classes[0] == 'background' and audit.classes[8] == 'cat'
    assert any('3 images without a semantic mask' in note for note in audit.dataset.notes)
    assert audit.facts['val'].masks['cat'] == 3


def test_own_names_in_vocs_layout_take_precedence(tmp_path):
    voc(tmp_path)
    names = ['_background_', *(f'kind {index}' for index in range(1, 9))]
    (tmp_path / 'class_names.txt').write_text('\n'.join(names))
    assert checked(tmp_path).classes == names


def test_a_listed_image_without_a_mask_is_an_error(tmp_path):
    voc(tmp_path, segmented=4, others=1)
    with (tmp_path / 'ImageSets/Segmentation/val.txt').open('a') as file:
        file.write('2007_000004\n2012_009999\n')
    found = checked(tmp_path).issues.of(Severity.ERROR)
    assert [issue.kind for issue in found] == ['missing-label-map'] * 2
    assert '2007_000004.jpg has no semantic mask' in str(found[0])
    assert '2012_009999.jpg has no semantic mask, and does not exist' in str(found[1])


@pytest.mark.parametrize('line', ['{name}', '{name}.jpg', 'photos/{name}.jpg masks/{name}.png'])
@pytest.mark.parametrize('folder', ['splits', '.'])
def test_lists_of_each_split_are_followed(tmp_path, line, folder):
    write_pairs(
        tmp_path, 5, image='photos/{name}.jpg', mask='masks/{name}.png', splits=('a', 'b', 'c')
    )
    (tmp_path / folder).mkdir(exist_ok=True)
    for split, part in (('train', 'a'), ('val', 'b')):
        lines = [line.format(name=f'{part}_{index:03d}') for index in range(5)]
        (tmp_path / folder / f'{split}.txt').write_text('\r\n'.join(lines))
    dataset = read_dataset(tmp_path, 'semantic')
    assert sizes(dataset) == dict(train=5, val=5)
    assert all(pair.image.stem.startswith('b') for pair in dataset.splits['val'])
    assert 'no list of a split names them: 5 images.' in ' '.join(dataset.notes)


def cityscapes(root, train_ids=True, cities=('aachen', 'bochum'), test=True):
    stored = [7, 26, 0, 11]
    for split in ('train', 'val', *(['test'] if test else [])):
        for number, city in enumerate(cities * 2):
            name = f'{city}_{number:06d}_000019'
            write_photo(root / f'leftImg8bit/{split}/{city}/{name}_leftImg8bit.png', number)
            labels = labels_of(number, 4)
            if split == 'test':
                labels[:] = 2
            base = root / f'gtFine/{split}/{city}/{name}_gtFine_'
            ids = np.array(stored, np.uint8)[labels]
            write_mask(base.with_name(f'{base.name}labelIds.png'), ids)
            write_mask(base.with_name(f'{base.name}instanceIds.png'), ids * 100, 'I;16')
            write_mask(base.with_name(f'{base.name}color.png'), ids * 9, 'RGBA')
            base.with_name(f'{base.name}polygons.json').write_text('{"objects": []}')
            if train_ids:
                trained = np.array([0, 13, 255, 2], np.uint8)[labels]
                write_mask(base.with_name(f'{base.name}labelTrainIds.png'), trained)
    return root


@pytest.mark.parametrize('train_ids', [True, False])
def test_cityscapes_is_read_as_it_is_downloaded(tmp_path, train_ids):
    audit = checked(cityscapes(tmp_path, train_ids))
    assert errors(audit) == [] and sizes(audit.dataset) == dict(train=4, val=4)
    assert len(audit.classes) == 19 and audit.classes[13] == 'car'
    assert audit.dataset.palette[0] == (128, 64, 128)
    pixels = audit.facts['train'].pixels
    assert {name for name, number in pixels.items() if number} == {'road', 'car', 'building'}
    assert 0 < audit.facts['train'].ignored < 0.5
    assert any('The split test is left out' in note for note in audit.dataset.notes)


def test_the_two_kinds_of_ids_of_cityscapes_give_the_same_class_indices(tmp_path):
    both, one = (cityscapes(tmp_path / name, name == 'both') for name in ('both', 'one'))
    facts = [checked(root).facts['val'].pixels for root in (both, one)]
    assert facts[0] == facts[1]


def test_fine_annotations_of_cityscapes_are_preferred_to_coarse_ones(tmp_path):
    root = cityscapes(tmp_path, test=False)
    for path in sorted((root / 'gtFine').rglob('*_gtFine_label*Ids.png')):
        coarse = tmp_path / str(path.relative_to(root)).replace('gtFine', 'gtCoarse')
        write_mask(coarse, np.full((32, 48), 7, np.uint8))
        extra = tmp_path / str(coarse.relative_to(root)).replace('/train/', '/train_extra/')
        write_mask(extra, np.full((32, 48), 7, np.uint8))
    write_photo(root / 'leftImg8bit/train_extra/aachen/aachen_000000_000019_leftImg8bit.png')
    audit = checked(root)
    assert errors(audit) == [] and sizes(audit.dataset) == dict(train=4, val=4)
    assert all('gtFine' in str(pair.mask) for pair in audit.dataset.splits['train'])
    assert any('1 image of train_extra left out' in note for note in audit.dataset.notes)


def ade20k(root, classes=150):
    rows = [f'{value}\t0.1\t9\t9\tthing{value}, thing' for value in range(1, classes + 1)]
    lines = ['Idx\tRatio\tTrain\tVal\tName', *rows]
    root.mkdir(parents=True)
    (root / 'objectInfo150.txt').write_text('\n'.join(lines))
    for split in ('training', 'validation'):
        write_pairs(
            root,
            image='images/{split}/ADE_{name}.jpg',
            mask='annotations/{split}/ADE_{name}.png',
            splits=(split,),
            values=[0, 1, classes],
        )
    return root


def test_ade20k_is_read_as_it_is_downloaded(tmp_path):
    root = ade20k(tmp_path / 'ADEChallengeData2016')
    for data in (root, tmp_path):
        audit = checked(data)
        assert errors(audit) == [] and sizes(audit.dataset) == dict(train=4, val=4)
        assert len(audit.classes) == 150 and audit.classes[149] == 'thing150'
        used = {name for name, number in audit.facts['train'].pixels.items() if number}
        assert used == {'thing1', 'thing150'}
        assert 'reduce_zero_label' in ' '.join(audit.dataset.notes)


def test_the_sample_of_ade20k_has_no_errors(photographs):
    audit = checked(photographs / 'ade20k_sample')
    assert errors(audit) == [] and audit.classes[:2] == ['wall', 'building']
    assert set(audit.issues.counts()) <= {'unused-class'}


def test_drawings_and_colour_copies_are_neither_images_nor_masks(tmp_path):
    image, mask = 'JPEGImages/{number}.jpg', 'SegmentationClass/{number}.png'
    write_pairs(tmp_path, splits=('train',), image=image, mask=mask)
    for name in ('ClassVisualization', 'Object', 'ObjectVisualization', 'ObjectPNG'):
        shutil.copytree(tmp_path / 'JPEGImages', tmp_path / f'Segmentation{name}')
    shutil.copytree(tmp_path / 'SegmentationClass', tmp_path / 'masks_color')
    dataset = read_dataset(tmp_path, 'semantic')
    assert sizes(dataset) == {'all': 4}
    assert all(pair.mask.parent.name == 'SegmentationClass' for pair in dataset.splits['all'])
    assert any('4 semantic masks of the same name' in note for note in dataset.notes)


def test_test_images_without_any_mask_are_left_out_with_a_note(tmp_path):
    write_pairs(tmp_path)
    for index in range(3):
        write_photo(tmp_path / f'images/test/{index}.jpg', index)
    audit = checked(tmp_path)
    assert errors(audit) == [] and sizes(audit.dataset) == dict(train=4, val=4)
    assert 'The split test is left out: its 3 images' in ' '.join(audit.dataset.notes)


def test_an_image_of_one_split_is_not_paired_with_a_mask_of_another(tmp_path):
    write_pairs(tmp_path, image='images/{split}/{number}.jpg', mask='labels/{split}/{number}.png')
    (tmp_path / 'labels/train/2.png').unlink()
    (tmp_path / 'images/val/2.jpg').unlink()
    kinds = {issue.kind for issue in checked(tmp_path).issues.of(Severity.ERROR)}
    assert kinds == {'missing-label-map', 'unpaired-label-map'}


def test_a_folder_without_masks_says_what_was_expected(tmp_path):
    write_photo(tmp_path / 'images/a.jpg')
    write_mask(tmp_path / 'masks/b.png', labels_of(0))
    with pytest.raises(DatasetError, match=r'No image in .* has a semantic mask of the same name'):
        read_dataset(tmp_path, 'semantic')

"""Masks from which a model would learn nothing, or something else, are said and repaired."""

import numpy as np
import pytest
from PIL import Image
from semantic_data import HEIGHT, WIDTH, labels_of, write_mask, write_pairs

from casvit.errors import DatasetError
from casvit_mm.datasets.audit.masks import audit_masks
from casvit_mm.datasets.audit.repair_masks import repair_masks
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.issues import Severity
from casvit_mm.datasets.semantic_masks import misread


def checked(root, **options):
    return audit_masks(read_dataset(root, 'semantic'), progress=False, **options)


def kinds(audit, severity=Severity.ERROR):
    return [issue.kind for issue in audit.issues.of(severity)]


def masks_of(root):
    return {path.name: np.array(Image.open(path)) for path in root.glob('annotations/*/*.png')}


def assert_holds_the_class_indices(root, classes, splits=('train', 'val')):
    for place, split in enumerate(splits):
        for index in range(4):
            mask = Image.open(root / f'annotations/{split}/{split}_{index:03d}.png')
            assert mask.mode == 'L'
            assert np.array_equal(np.array(mask), labels_of(100 * place + index, classes))


SPREAD = [(0, 128, 255), (0, 127, 254), (0, 85, 170, 255), (0, 38, 75, 113), (0, 50, 100, 150, 200)]


@pytest.mark.parametrize('values', SPREAD)
@pytest.mark.parametrize('mode', ['L', 'RGB', 'RGBA'])
def test_grey_levels_are_named_and_mapped_in_ascending_order_once_there_are_names(
    tmp_path, values, mode
):
    root = write_pairs(tmp_path / 'data', classes=len(values), values=values, mode=mode)
    audit = checked(root)
    assert kinds(audit) == ['spread-values']
    (issue,) = audit.issues.of(Severity.ERROR)
    assert f'one for each of {len(values)} classes' in issue.detail
    with pytest.raises(DatasetError, match=r'classes\.txt has to name the classes'):
        repair_masks(audit, tmp_path / 'fixed')
    assert not (tmp_path / 'fixed').exists()

    names = [f'kind {index}' for index in range(len(values))]
    (root / 'classes.txt').write_text('\n'.join(names))
    audit = checked(root)
    assert kinds(audit) == ['spread-values'] and audit.classes == names
    repair_masks(audit, tmp_path / 'fixed')
    assert_holds_the_class_indices(tmp_path / 'fixed', len(values))
    assert checked(tmp_path / 'fixed').classes == names
    assert kinds(checked(tmp_path / 'fixed')) == []


def test_255_stays_ignored_if_there_is_one_name_less_than_values(tmp_path):
    root = write_pairs(tmp_path / 'data', classes=4, values=(0, 85, 170, 255))
    (root / 'classes.txt').write_text('a\nb\nc\n')
    repair_masks(checked(root), tmp_path / 'fixed')
    for found in masks_of(tmp_path / 'fixed').values():
        assert set(np.unique(found)) == {0, 1, 2, 255}


def test_another_number_of_names_than_values_is_said(tmp_path):
    root = write_pairs(tmp_path / 'data', classes=4, values=(0, 60, 120, 180))
    (root / 'names.txt').write_text('a\nb\nc\nd\ne\n')
    with pytest.raises(DatasetError, match=r'of the 4 values.*it names 5'):
        repair_masks(checked(root), tmp_path / 'fixed')


@pytest.mark.parametrize(
    ('values', 'classes', 'palette', 'expected'),
    [
        ({0, 1, 2}, 0, False, None),
        ({0, 1, 7}, 0, False, None),
        ({0, 8, 255}, 0, False, None),
        ({0, 8, 20, 255}, 0, True, None),
        ({0, 8}, 0, True, None),
        ({0, 8}, 0, False, 'binary-mask'),
        ({0, 255}, 0, True, 'binary-mask'),
        ({0, 20, 60}, 150, False, None),
        ({0, 20, 60}, 3, False, 'spread-values'),
        ({0, 2, 4, 6}, 0, False, 'spread-values'),
        ({0, 2, 4}, 0, False, None),
        ({0, 255}, 0, False, 'binary-mask'),
        (set(), 0, False, None),
    ],
)
def test_class_indices_with_gaps_are_no_grey_levels(values, classes, palette, expected):
    found = misread(values, classes, 255, palette=palette)
    assert (found and found.kind) == expected


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA'])
@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_equal_channels_are_read_as_class_indices_and_written_as_one(tmp_path, mode, suffix):
    root = write_pairs(tmp_path / 'data', mask='labels/{split}/{name}.' + suffix, mode=mode)
    audit = checked(root)
    assert kinds(audit) == [] and audit.classes == ['class_0', 'class_1', 'class_2']
    assert any('equal channels' in note for note in audit.dataset.notes)
    assert audit.facts['train'].masks['class_2'] == 4
    changes = repair_masks(audit, tmp_path / 'fixed')
    assert changes == ['8 semantic masks with several equal channels: written with one.']
    assert_holds_the_class_indices(tmp_path / 'fixed', 3)


@pytest.mark.parametrize('mode', ['RGB', 'RGBA'])
def test_black_and_white_saved_as_colours_is_a_mask_of_two_classes(tmp_path, mode):
    root = write_pairs(tmp_path / 'data', classes=2, values=(0, 255), mode=mode)
    audit = checked(root)
    assert kinds(audit) == ['binary-mask']
    repair_masks(audit, tmp_path / 'fixed')
    assert_holds_the_class_indices(tmp_path / 'fixed', 2)


def test_one_name_and_masks_of_0_and_1_lack_the_name_of_the_background(tmp_path):
    root = write_pairs(tmp_path / 'data', classes=2)
    (root / 'classes.txt').write_text('crack\n')
    audit = checked(root)
    assert kinds(audit) == ['label-value']
    assert 'names only one class' in audit.issues.of(Severity.ERROR)[0].detail
    repair_masks(audit, tmp_path / 'fixed')
    again = checked(tmp_path / 'fixed')
    assert again.classes == ['background', 'crack'] and kinds(again) == []
    assert_holds_the_class_indices(tmp_path / 'fixed', 2)


LOSSY = {
    'jpg': ('labels/{split}/{name}.jpg', {}),
    'JPEG named png': ('labels/{split}/{name}.png', dict(format='JPEG', quality=95)),
    'webp': ('labels/{split}/{name}.webp', dict(quality=80)),
    'tiff': ('labels/{split}/{name}.tif', dict(compression='jpeg')),
}


@pytest.mark.parametrize('kind', LOSSY)
@pytest.mark.parametrize('named', [True, False])
@pytest.mark.parametrize('values', [(0, 1, 2), (0, 128, 255)])
def test_masks_in_a_lossy_format_are_one_error_each_and_cannot_be_repaired(
    tmp_path, kind, named, values
):
    mask, options = LOSSY[kind]
    mode = 'RGB' if kind == 'webp' else 'L'
    root = write_pairs(tmp_path / 'data', mask=mask, mode=mode, values=values, **options)
    if named:
        (root / 'classes.txt').write_text('a\nb\nc\n')
    audit = checked(root)
    assert kinds(audit) == ['lossy-mask'] * 8
    assert 'changes values at every edge' in audit.issues.issues[0].detail
    with pytest.raises(DatasetError, match='cannot be restored: export the masks again, as PNG'):
        repair_masks(audit, tmp_path / 'fixed', allow_loss=1)


def test_lossless_webp_is_no_lossy_format(tmp_path):
    root = write_pairs(
        tmp_path, mask='labels/{split}/{name}.webp', mode='RGB', lossless=True, exact=True
    )
    assert kinds(checked(root)) == []


@pytest.mark.parametrize('how', ['compressed', 'resized', 'smoothed'])
def test_noise_along_edges_is_found_also_in_files_without_loss(tmp_path, how):
    root = write_pairs(tmp_path / 'data', classes=2, values=(0, 255), size=(160, 120))
    for path in (root / 'labels').rglob('*.png'):
        mask = Image.open(path)
        if how == 'compressed':
            mask.save(path.with_suffix('.jpg'), quality=60)
            mask = Image.open(path.with_suffix('.jpg'))
            mask.load()
            path.with_suffix('.jpg').unlink()
        elif how == 'resized':
            small = mask.resize((80, 60), Image.Resampling.BICUBIC)
            mask = small.resize((160, 120), Image.Resampling.BICUBIC)
        else:
            mask = mask.rotate(7, Image.Resampling.BICUBIC)
        mask.save(path)
    assert set(kinds(checked(root))) == {'lossy-mask'}


def test_many_classes_of_thin_and_small_areas_are_no_noise(tmp_path):
    root = tmp_path / 'data'
    write_pairs(root, number=2)
    rng = np.random.default_rng(0)
    for path in (root / 'labels').rglob('*.png'):
        labels = np.kron(rng.integers(0, 40, (HEIGHT // 4, WIDTH // 4)), np.ones((4, 4)))
        write_mask(path, labels.astype(np.uint8))
    assert kinds(checked(root)) == []


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize('value', [0, 1, 255])
@pytest.mark.parametrize('named', [True, False])
def test_a_split_of_one_class_or_none_has_nothing_to_learn(tmp_path, split, value, named):
    root = write_pairs(tmp_path)
    if named:
        (root / 'classes.txt').write_text('a\nb\nc\n')
    for path in (root / f'labels/{split}').iterdir():
        write_mask(path, np.full((HEIGHT, WIDTH), value, np.uint8))
    audit = checked(root)
    assert kinds(audit) == ['nothing-to-learn']
    (issue,) = audit.issues.of(Severity.ERROR)
    assert issue.record == f'split {split!r}'
    assert ('ignored' if value == 255 else 'only the class') in issue.detail


def test_the_rarest_class_in_the_last_of_many_masks_is_a_class(tmp_path):
    root = write_pairs(tmp_path, number=70, classes=2, splits=('train',))
    path = sorted((root / 'labels/train').iterdir())[36]
    labels = np.array(Image.open(path))
    labels[:6, :6] = 5
    write_mask(path, labels)
    audit = checked(root)
    assert kinds(audit) == [] and audit.classes[-1] == 'class_5'
    assert len(audit.dataset.palette) == 6


@pytest.mark.parametrize('top', [256, 300, 65535])
def test_values_beyond_8_bits_do_not_wrap_around(tmp_path, top):
    root = write_pairs(tmp_path, mode='I;16', values=(0, 1, top))
    (root / 'classes.txt').write_text('\n'.join(f'class {index}' for index in range(400)))
    audit = checked(root)
    assert set(kinds(audit)) == {'label-value'}
    detail = audit.issues.of(Severity.ERROR)[0].detail
    assert f'the value {top}' in detail and 'a run reads 8 bits' in detail


def test_16_bit_masks_of_small_values_are_class_indices(tmp_path):
    root = write_pairs(tmp_path, mode='I;16')
    assert kinds(checked(root)) == [] and len(checked(root).classes) == 3


def test_a_legend_of_more_than_255_classes_is_one_sentence(tmp_path):
    rng = np.random.default_rng(0)
    colours = rng.choice(256**3, 300, replace=False)
    lines = [f'{c >> 16} {c >> 8 & 255} {c & 255} kind{i}' for i, c in enumerate(colours)]
    write_pairs(tmp_path)
    for path in (tmp_path / 'labels').rglob('*.png'):
        shown = colours[np.array(Image.open(path))]
        pixels = np.stack([shown >> 16, shown >> 8 & 255, shown & 255], 2).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    (tmp_path / 'label_colors.txt').write_text('\n'.join(lines))
    with pytest.raises(DatasetError, match=r'300 classes.*8 bits.*255 classes at most'):
        read_dataset(tmp_path, 'semantic')


def test_names_that_occur_twice_or_differ_by_case_are_issues(tmp_path):
    root = write_pairs(tmp_path)
    (root / 'classes.txt').write_text('Road\nroad\nRoad\n')
    audit = checked(root)
    assert kinds(audit) == ['double-name']
    assert 'similar-names' in kinds(audit, Severity.WARNING)


def test_an_empty_split_gets_no_warning_per_class(tmp_path):
    root = write_pairs(tmp_path)
    for path in (root / 'labels/val').iterdir():
        path.write_bytes(b'')
    audit = checked(root)
    assert set(kinds(audit)) == {'unreadable-label-map'}
    assert kinds(audit, Severity.WARNING) == []


# Repairs.


def test_images_of_no_split_join_the_training_images_under_free_names(tmp_path):
    names = dict(image='images/{split}/{number}.jpg', mask='labels/{split}/{number}.png')
    root = write_pairs(tmp_path / 'data', **names)
    write_pairs(root, 2, image='images/{number}.png', mask='labels/{number}.png', splits=('',))
    changes = repair_masks(checked(root), tmp_path / 'fixed', allow_loss=0)
    names = {path.name for path in (tmp_path / 'fixed/images/train').iterdir()}
    assert names == {'0.jpg', '1.jpg', '2.jpg', '3.jpg', '0-2.png', '1-2.png'}
    assert sum('written as train/' in change for change in changes) == len(changes) == 2
    assert {path.stem for path in (tmp_path / 'fixed/annotations/train').iterdir()} == {
        name.split('.')[0] for name in names
    }


def damaged(tmp_path, number=1):
    root = write_pairs(tmp_path / 'data', 20)
    for path in sorted((root / 'labels/train').iterdir())[:number]:
        path.write_bytes(path.read_bytes()[:60])
    return root


def test_more_than_the_allowed_share_is_not_lost(tmp_path):
    root = damaged(tmp_path)
    with pytest.raises(DatasetError) as found:
        repair_masks(checked(root), tmp_path / 'fixed')
    message = str(found.value)
    assert 'lose 1 of 40 images' in message and '--allow-loss 0.03' in message
    assert '1 x semantic masks that cannot be read' in message
    assert not (tmp_path / 'fixed').exists()
    changes = repair_masks(checked(root), tmp_path / 'fixed', allow_loss=0.03)
    assert len(changes) == 1 and changes[0].endswith('left out')
    assert kinds(checked(tmp_path / 'fixed')) == []


def test_a_few_pixels_outside_the_classes_are_a_small_loss_and_many_a_large_one(tmp_path):
    root = write_pairs(tmp_path / 'data')
    (root / 'classes.txt').write_text('a\nb\nc\n')
    path = root / 'labels/val/val_002.png'
    labels = np.array(Image.open(path))
    labels[0, :5] = 77
    write_mask(path, labels)
    (change,) = repair_masks(checked(root), tmp_path / 'fixed')
    assert 'the value 77 in 5 pixels' in change and 'ignored (255)' in change
    (root / 'classes.txt').write_text('a\nb\n')
    with pytest.raises(DatasetError, match='name the classes that are missing'):
        repair_masks(checked(root), tmp_path / 'other')


def test_a_split_is_never_emptied(tmp_path):
    root = write_pairs(tmp_path / 'data')
    for path in (root / 'labels/val').iterdir():
        path.write_bytes(b'no image')
    with pytest.raises(DatasetError, match='Nothing can be repaired in the split val'):
        repair_masks(checked(root), tmp_path / 'fixed', allow_loss=1)


def test_every_change_is_listed_once(tmp_path):
    root = write_pairs(tmp_path / 'data', classes=2, values=(0, 255))
    path = root / 'images/train/train_001.jpg'
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(path).save(path, exif=exif)
    repair_masks(checked(root), tmp_path / 'fixed')
    lines = (tmp_path / 'fixed/changes.txt').read_text().splitlines()
    assert len(lines) == len(set(lines)) == 2

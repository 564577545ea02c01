"""The audit of datasets for classification, and their repaired copies."""

import shutil

import cv2
import numpy as np
import pytest
from class_folders import write_classes, write_lists
from images import write_image
from PIL import Image

from casvit.errors import DatasetError
from casvit_mm.datasets.audit.classes.audit import audit_classes
from casvit_mm.datasets.audit.classes.repair import repair_classes
from casvit_mm.datasets.audit.repair_options import RepairOptions
from casvit_mm.datasets.formats.find import read_class_dataset
from casvit_mm.report.audit.page import class_table, write_class_page

CLASSES = ['bird', 'cat', 'dog']


def audit(root, **options):
    return audit_classes(read_class_dataset(root), progress=False, **options)


def counts(root, **options):
    return audit(root, **options).issues.counts()


def details(root, kind):
    return [str(issue) for issue in audit(root).issues.issues if issue.kind == kind]


def repair(root, out, **options):
    changes = repair_classes(audit(root), out, RepairOptions(**options))
    assert (out / 'changes.txt').read_text().splitlines() == (changes or ['No issues found.'])
    return changes


@pytest.mark.parametrize('write', [write_classes, write_lists])
def test_a_dataset_without_issues_has_none_and_is_counted(tmp_path, write):
    found = audit(write(tmp_path))
    assert not found.issues.issues
    assert class_table(found)[1:] == [['train', '6', '3'], ['val', '6', '3']]
    assert [fact.sizes.shape for fact in found.facts.values()] == [(6, 2), (6, 2)]


def test_an_unsplit_dataset_is_one_split(tmp_path):
    found = audit(write_classes(tmp_path, splits=('',)))
    assert not found.issues.issues and found.facts['all'].classes == dict.fromkeys(CLASSES, 2)


def image(root):
    return next(path for path in sorted((root / 'train/cat').iterdir()) if path.is_file())


def unreadable(root):
    image(root).write_bytes(b'not an image')


def truncated(root):
    Image.effect_noise((200, 200), 80).convert('RGB').save(root / 'train/cat/9.jpg')
    content = (root / 'train/cat/9.jpg').read_bytes()
    (root / 'train/cat/9.jpg').write_bytes(content[: len(content) // 2])


def rotated(root):
    write_image(root / 'train/cat/9.jpg', orientation=6, seed=99)


def dark(root):
    pixels = np.random.default_rng(0).integers(0, 4096, (30, 40, 3)).astype(np.uint16)
    pixels[0, 0] = 4095
    for path in root.rglob('*.*'):
        if path.suffix in ('.png', '.tif') and path.is_file():
            cv2.imwrite(str(path.with_suffix('.bmp')), cv2.imread(str(path)))
            path.unlink()
    cv2.imwrite(str(root / 'train/cat/9.png'), pixels)


def skipped(root):
    write_image(root / 'train/cat/9.webp', seed=99)


def another_split(root):
    shutil.copy(image(root), root / 'val/cat/copy.png')


def another_class(root):
    shutil.copy(image(root), root / 'val/dog/copy.png')


def empty(root):
    for split in ('train', 'val'):
        (root / split / 'zebra').mkdir()


def hidden(root):
    (root / 'train/.ipynb_checkpoints').mkdir()


def one_more(root):
    shutil.copytree(root / 'train/cat', root / 'train/ant')
    for number, path in enumerate((root / 'train/ant').rglob('*.*')):
        write_image(path, seed=500 + number) if path.is_file() else None


def similar(root):
    for number, split in enumerate(('train', 'val')):
        (root / split / 'Cat').mkdir()
        write_image(root / split / 'Cat/1.jpg', seed=600 + number)


def unsafe(root):
    for split in ('train', 'val'):
        (root / split / 'cat').rename(root / split / '{{cat}}')


def one_class(root):
    for split in ('train', 'val'):
        for name in ('bird', 'dog'):
            shutil.rmtree(root / split / name)


def flat(root):
    shutil.rmtree(root / 'val')
    (root / 'val').mkdir()
    write_image(root / 'val/1.jpg', seed=700)


ISSUES = [
    (unreadable, {'unreadable-picture': 1}),
    (rotated, {}),
    (dark, {'dark-picture': 1}),
    (skipped, {'skipped-picture': 1}),
    (another_split, {'same-picture': 1}),
    (another_class, {'class-conflict': 2}),
    (empty, {'empty-class': 2}),
    (hidden, {'empty-class': 1, 'class-order': 1}),
    (one_more, {'class-order': 1}),
    (similar, {'similar-names': 1}),
    (unsafe, {'unsafe-name': 1}),
    (one_class, {'nothing-to-learn': 2}),
    (flat, {'nothing-to-learn': 1}),
]


@pytest.mark.parametrize(('damage', 'expected'), ISSUES)
def test_an_issue_of_class_folders_is_found_and_no_other(tmp_path, damage, expected):
    damage(write_classes(tmp_path))
    assert counts(tmp_path) == expected


def test_a_truncated_image_is_found(tmp_path):
    truncated(write_classes(tmp_path))
    # Some builds of OpenCV fill the missing part.
    assert counts(tmp_path) in ({'truncated-picture': 1}, {'unreadable-picture': 1})


def test_without_opening_images_their_contents_are_not_known(tmp_path):
    unreadable(write_classes(tmp_path))
    another_class(tmp_path)
    assert not counts(tmp_path, read_images=False)


def test_a_class_folder_that_one_split_has_is_named_with_the_shift(tmp_path):
    one_more(write_classes(tmp_path))
    (detail,) = details(tmp_path, 'class-order')
    assert f"only in {tmp_path / 'train'}: 'ant'" in detail
    assert "class 0 is 'bird' here and 'ant' there" in detail


def test_class_folders_that_are_only_written_differently_are_said(tmp_path):
    write_classes(tmp_path, ('café', 'tea'), splits=('train',))
    write_classes(tmp_path, ('cafe\u0301', 'tea'), splits=('val',))
    (detail,) = details(tmp_path, 'class-order')
    assert r"'caf\xe9' and 'cafe\u0301' differ only in how they are written" in detail


def replaced(old, new):
    def damage(file):
        file.write_text(file.read_text().replace(old, new))

    return damage


LIST_ISSUES = [
    (replaced('1_0.jpg 1', '1_0.jpg cat'), {'broken-record': 1}),
    (replaced('1_0.jpg 1', '1_0.jpg\t1'), {'broken-record': 1}),
    (replaced('1_0.jpg 1\n', '\n1_0.jpg 1\n'), {'broken-record': 1}),
    (replaced(' ', ','), {'broken-record': 6}),
    (lambda file: file.write_bytes(b'\xef\xbb\xbf' + file.read_bytes()), {'broken-record': 1}),
    (lambda file: file.write_text(file.read_text(), 'utf-16'), {'broken-record': 1}),
    (replaced('1_0.jpg 1', '1_0.jpg 3'), {'label-value': 1}),
    (replaced('1_0.jpg 1', '1_0.jpg ' + '9' * 5000), {'label-value': 1}),
    (replaced('1_0.jpg 1', '1_1.jpg 1'), {'listed-twice': 1}),
    (replaced('1_0.jpg 1', '1_1.jpg 2'), {'class-conflict': 2}),
    (replaced('1_0.jpg', 'gone.jpg'), {'missing-picture': 1}),
    (replaced('1_0.jpg', '1_0.JPG'), {'missing-picture': 1}),
    (replaced('1_0.jpg', 'a\0b.jpg'), {'missing-picture': 1}),
    (replaced('1_0.jpg', '../../../etc/passwd'), {'missing-picture': 1}),
    (replaced('1_0.jpg', '/dev/zero'), {'missing-picture': 1}),
    (replaced(' 1\n', ' 2\n'), {'absent-class': 1}),
    (
        lambda file: file.write_text('0_0.jpg 1\n' + '0_1.jpg 1\n'),
        {'nothing-to-learn': 1, 'absent-class': 2},
    ),
]


@pytest.mark.parametrize(('damage', 'expected'), LIST_ISSUES)
def test_an_issue_of_a_list_is_found_and_no_other(tmp_path, damage, expected):
    write_lists(tmp_path)
    (tmp_path / 'classes.txt').write_text('\n'.join(CLASSES))
    damage(tmp_path / 'meta/train.txt')
    assert counts(tmp_path) == expected


def test_a_list_that_starts_at_1_is_asked_about(tmp_path):
    write_lists(tmp_path)
    for file in (tmp_path / 'meta').iterdir():
        for old in (2, 1, 0):
            replaced(f' {old}\n', f' {old + 1}\n')(file)
    assert details(tmp_path, 'unused-class')[0].endswith('do the class indices start at 1?')
    (tmp_path / 'classes.txt').write_text('\n'.join(CLASSES))
    assert counts(tmp_path)['label-value'] == 4


def test_an_image_that_is_written_differently_is_named(tmp_path):
    write_lists(tmp_path)
    (tmp_path / 'train/sub').mkdir()
    (tmp_path / 'train/1_0.jpg').rename(tmp_path / 'train/sub/1_0.jpg')
    replaced('1_0.jpg', 'sub\\1_0.jpg')(tmp_path / 'meta/train.txt')
    assert details(tmp_path, 'missing-picture')[0].endswith("did you mean '1_0.jpg'?")
    (change,) = [line for line in repair(tmp_path, tmp_path / 'out') if 'copied from' in line]
    assert 'line 3' in change and not counts(tmp_path / 'out')


def test_a_list_that_disagrees_with_its_class_folders_is_found(tmp_path):
    write_classes(tmp_path)
    (tmp_path / 'meta').mkdir()
    first = image(tmp_path).relative_to(tmp_path / 'train').as_posix()
    (tmp_path / 'meta/train.txt').write_text(f'{first} 1\n')
    assert not counts(tmp_path)
    (tmp_path / 'meta/train.txt').write_text(f'{first} 2\n')
    assert counts(tmp_path) == {'class-order': 1}


@pytest.mark.parametrize(
    ('damage', 'left'),
    [
        (rotated, {}),
        (skipped, {}),
        (another_split, {}),
        (empty, {}),
        (hidden, {}),
        (similar, {'similar-names': 1}),
        (unsafe, {}),
    ],
)
def test_a_repair_that_loses_nothing_needs_no_option(tmp_path, damage, left):
    write_classes(tmp_path / 'data')
    before = audit(tmp_path / 'data').facts
    damage(tmp_path / 'data')
    assert repair(tmp_path / 'data', tmp_path / 'out') or damage in (rotated, similar)
    assert counts(tmp_path / 'out') == left
    after = audit(tmp_path / 'out').facts
    assert all(after[name].images >= before[name].images - 1 for name in before)


@pytest.mark.parametrize('damage', [unreadable, truncated, another_class, one_more])
def test_a_repair_that_loses_images_has_to_be_allowed(tmp_path, damage):
    damage(write_classes(tmp_path / 'data'))
    with pytest.raises(DatasetError, match='add --allow-loss'):
        repair(tmp_path / 'data', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    repair(tmp_path / 'data', tmp_path / 'out', allow_loss=0.5)
    assert not counts(tmp_path / 'out')


def test_a_copy_has_the_same_bytes_and_nested_folders(tmp_path):
    write_classes(tmp_path / 'data')
    assert repair(tmp_path / 'data', tmp_path / 'out') == []
    for path in (tmp_path / 'data').rglob('*.*'):
        if path.is_file():
            copy = tmp_path / 'out' / path.relative_to(tmp_path / 'data')
            assert copy.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ('suffix', 'written'), [('.webp', '9.png'), ('.tiff', '9.tif'), ('.jfif', '9.jpg')]
)
def test_an_image_that_a_run_skips_is_written_with_a_suffix_that_it_reads(
    tmp_path, suffix, written
):
    write_classes(tmp_path / 'data')
    kept = write_image(tmp_path / f'9{suffix}'.replace('.jfif', '.jpg'), seed=99)
    shutil.copy(kept, tmp_path / 'data/train/cat' / f'9{suffix}')
    repair(tmp_path / 'data', tmp_path / 'out')
    assert (cv2.imread(str(tmp_path / 'out/train/cat' / written)) == cv2.imread(str(kept))).all()


def test_lists_are_written_as_class_folders_in_the_order_of_their_classes(tmp_path):
    write_lists(tmp_path / 'data', classes=list(range(11)))
    repair(tmp_path / 'data', tmp_path / 'out')
    names = sorted(path.name for path in (tmp_path / 'out/train').iterdir())
    assert names == [f'{number:02}' for number in range(11)]
    assert not counts(tmp_path / 'out')


def test_a_class_name_from_a_file_cannot_leave_the_copy(tmp_path):
    write_lists(tmp_path / 'data')
    (tmp_path / 'data/classes.txt').write_text('../../up\n/abs\n..\n')
    changes = repair(tmp_path / 'data', tmp_path / 'out')
    assert len(list((tmp_path / 'out/val').iterdir())) == 3
    assert "The class '..' is written as 'class'." in changes


def test_bits_scale_dark_images(tmp_path):
    dark(write_classes(tmp_path / 'data'))
    repair(tmp_path / 'data', tmp_path / 'out', bits=12)
    assert not counts(tmp_path / 'out')


@pytest.mark.parametrize('damage', [unreadable, skipped, another_class, empty])
def test_the_page_shows_images_with_issues_first(tmp_path, damage):
    damage(write_classes(tmp_path / 'data'))
    page = tmp_path / 'index.html'
    write_class_page(audit(tmp_path / 'data'), page)
    text = page.read_text()
    assert text.count('data-large="data:image/jpeg') >= 11
    assert 'Images by class' in text and 'Image sizes' in text
    assert ('Images with issues' in text) == (damage is not empty)


def loaded_by_mmpretrain(root, split):
    """The classes of a split, and the class index of every image that a run loads from it."""
    custom = pytest.importorskip('mmpretrain.datasets').CustomDataset
    dataset = custom(
        data_root=str(root), data_prefix=split, pipeline=[dict(type='LoadImageFromFile')]
    )
    for number in range(len(dataset)):
        assert dataset[number]['img'].dtype == np.uint8
    return dataset.CLASSES, [int(label) for label in dataset.get_gt_labels()]


@pytest.mark.parametrize('damage', [skipped, another_class, hidden, one_more, unsafe, unreadable])
def test_a_run_loads_every_image_of_a_repaired_copy(tmp_path, damage):
    damage(write_classes(tmp_path / 'data'))
    repair(tmp_path / 'data', tmp_path / 'out', allow_loss=0.5)
    found = {split: loaded_by_mmpretrain(tmp_path / 'out', split) for split in ('train', 'val')}
    assert found['train'][0] == found['val'][0] and len(found['train'][0]) == 3
    facts = audit(tmp_path / 'out').facts
    assert {split: len(found[split][1]) for split in found} == {
        split: fact.images for split, fact in facts.items()
    }


def test_what_harms_a_run_is_silent_in_mmpretrain(tmp_path):
    write_classes(tmp_path)
    before = {split: loaded_by_mmpretrain(tmp_path, split) for split in ('train', 'val')}
    hidden(tmp_path)
    classes, labels = loaded_by_mmpretrain(tmp_path, 'train')
    assert len(classes) == 4 and labels == [label + 1 for label in before['train'][1]]
    assert loaded_by_mmpretrain(tmp_path, 'val') == before['val']
    skipped(tmp_path)
    assert loaded_by_mmpretrain(tmp_path, 'train') == (classes, labels)


@pytest.mark.parametrize('damage', [d for d, kinds in LIST_ISSUES if 'broken-record' in kinds])
def test_a_run_stops_at_a_broken_list(tmp_path, damage):
    custom = pytest.importorskip('mmpretrain.datasets').CustomDataset
    damage(write_lists(tmp_path) / 'meta/train.txt')
    with pytest.raises((ValueError, FileNotFoundError)):
        dataset = custom(
            ann_file=str(tmp_path / 'meta/train.txt'),
            data_prefix=str(tmp_path / 'train'),
            pipeline=[dict(type='LoadImageFromFile')],
        )
        dataset[0]


def test_a_gap_of_many_class_indices_is_not_listed_class_by_class(tmp_path):
    write_lists(tmp_path)
    replaced('1_0.jpg 1', '1_0.jpg 99999')(tmp_path / 'meta/train.txt')
    found = audit(tmp_path)
    assert len(found.classes) == 100_000 and found.issues.counts()['unused-class'] == 1001
    assert any('98,996 further classes' in str(issue) for issue in found.issues.issues)
    replaced('1_0.jpg 99999', '1_0.jpg 100000')(tmp_path / 'meta/train.txt')
    assert counts(tmp_path) == {'label-value': 1}


def test_a_list_of_something_else_beside_class_folders_is_left_out_with_a_note(tmp_path):
    write_classes(tmp_path)
    (tmp_path / 'train.txt').write_text('n01/n01_10026 1\nn01/n01_10027 2\n')
    found = audit(tmp_path)
    assert not found.issues.issues
    assert found.dataset.notes == [
        f'{tmp_path / "train.txt"} was not read: the images are in class folders.'
    ]


@pytest.mark.parametrize('split', ['val', 'test'])
def test_an_empty_folder_of_a_split_is_an_error_unless_it_is_for_tests(tmp_path, split):
    write_classes(tmp_path, splits=('train',))
    (tmp_path / split).mkdir()
    assert counts(tmp_path) == ({'nothing-to-learn': 1} if split == 'val' else {})

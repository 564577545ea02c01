"""Class folders and lists of images: every layout, read as mmpretrain reads it."""

import inspect
import os

import pytest
from class_folders import write_classes, write_lists
from hypothesis import given
from hypothesis import strategies as st
from images import write_image

from casvit.errors import DatasetError
from casvit_mm.datasets.formats.classes import EXTENSIONS, read_class_folders, read_class_list
from casvit_mm.datasets.formats.find import read_class_dataset, read_dataset

NAMES = ['bird', 'cat', 'dog']


def contents(dataset):
    """Number of images and names of the classes by split."""
    return {name: (len(split.images), split.names) for name, split in dataset.splits.items()}


@pytest.mark.parametrize('val', ['val', 'valid', 'validation', 'Val', 'val_images'])
def test_folders_of_splits_are_read_by_their_common_names(tmp_path, val):
    dataset = read_class_dataset(write_classes(tmp_path, splits=('train', val, 'test')))
    assert contents(dataset) == {split: (6, NAMES) for split in ('train', 'val', 'test')}
    assert not dataset.notes and not dataset.issues.issues


@pytest.mark.parametrize('inside', ['', 'data/images', 'ILSVRC/Data/CLS-LOC'])
@pytest.mark.parametrize('splits', [('train', 'val'), ('',)])
def test_the_splits_or_class_folders_may_be_further_inside(tmp_path, inside, splits):
    write_classes(tmp_path / inside, splits=splits)
    (tmp_path / 'readme.txt').write_text('Three animals 2024\n')
    expected = {split or 'all': (6, NAMES) for split in splits}
    assert contents(read_class_dataset(tmp_path)) == expected


def test_a_class_may_be_named_like_a_split(tmp_path):
    write_classes(tmp_path / 'unsplit', ('bus', 'test'), splits=('',))
    assert contents(read_class_dataset(tmp_path / 'unsplit')) == {'all': (4, ['bus', 'test'])}
    write_classes(tmp_path / 'split', ('bus', 'train'))
    found = contents(read_class_dataset(tmp_path / 'split'))
    assert found == {'train': (4, ['bus', 'train']), 'val': (4, ['bus', 'train'])}


@pytest.mark.parametrize('folder', ['meta', '', 'annotations'])
def test_lists_are_read_with_numbers_or_with_the_names_of_a_file(tmp_path, folder):
    write_lists(tmp_path, folder)
    assert contents(read_class_dataset(tmp_path)) == {
        split: (6, ['0', '1', '2']) for split in ('train', 'val')
    }
    (tmp_path / 'classes.txt').write_text('\n'.join(NAMES))
    dataset = read_class_dataset(tmp_path)
    assert contents(dataset) == {split: (6, NAMES) for split in ('train', 'val')}
    split = dataset.splits['val']
    assert all(split.path(image).is_file() for image in split.images)


def test_lists_may_name_images_in_a_shared_folder(tmp_path):
    write_classes(tmp_path / 'images', splits=('',))
    names = [p.relative_to(tmp_path / 'images') for p in tmp_path.rglob('*.*') if p.is_file()]
    for split in ('train', 'val'):
        lines = [f'{name.as_posix()} {NAMES.index(name.parts[0])}\n' for name in names]
        (tmp_path / f'{split}_list.txt').write_text(''.join(lines))
    dataset = read_class_dataset(tmp_path)
    assert {split.folder for split in dataset.splits.values()} == {tmp_path / 'images'}


@pytest.mark.parametrize('place', ['meta/val.txt', 'val.txt'])
def test_imagenet_as_downloaded_is_read(tmp_path, place):
    names = [f'n0{number}' for number in range(3)]
    write_classes(tmp_path, names, splits=('train',))
    for folder in ('val', 'test', 'meta'):
        (tmp_path / folder).mkdir()
    for number in range(3):
        write_image(tmp_path / 'val' / f'ILSVRC2012_val_{number}.JPEG', seed=100 + number)
        write_image(tmp_path / 'test' / f'ILSVRC2012_test_{number}.JPEG', seed=200 + number)
    lines = [f'ILSVRC2012_val_{number}.JPEG {2 - number}\n' for number in range(3)]
    (tmp_path / place).write_text(''.join(lines))
    dataset = read_class_dataset(tmp_path)
    assert contents(dataset) == {'train': (6, names), 'val': (3, names)}
    assert dataset.splits['val'].class_of(dataset.splits['val'].images[0]) == 'n02'
    assert dataset.notes == [
        f'{tmp_path / "test"} has 3 images without classes, which are left out.'
    ]


def test_the_default_suffixes_are_those_of_mmpretrain():
    custom = pytest.importorskip('mmpretrain.datasets').CustomDataset
    assert inspect.signature(custom).parameters['extensions'].default == EXTENSIONS


def test_mmpretrain_reads_the_same_images_and_classes(tmp_path):
    custom = pytest.importorskip('mmpretrain.datasets').CustomDataset
    write_classes(tmp_path)
    folder = tmp_path / 'train'
    # Hidden folders are classes, hidden files no images, and other suffixes are skipped.
    (folder / '.ipynb_checkpoints').mkdir()
    (folder / 'cat' / '._0.png').write_bytes(b'AppleDouble')
    (folder / 'cat' / 'notes.txt').touch()
    write_image(folder / 'cat' / '7.webp')
    (folder / 'dog' / 'loop').symlink_to(folder / 'dog' / 'nested')
    write_image(folder / 'loose.png')
    split = read_class_folders(folder)
    theirs = custom(data_root=str(tmp_path), data_prefix='train')
    assert split.names == list(theirs.CLASSES)
    read = [
        (theirs.get_data_info(i)['img_path'], theirs.get_data_info(i)['gt_label'])
        for i in range(len(theirs))
    ]
    assert [(str(split.path(image)), image.label) for image in split.images] == read
    assert [image.name for image in split.skipped] == ['cat/7.webp'] and split.loose == 1


def test_mmpretrain_reads_the_same_list(tmp_path):
    custom = pytest.importorskip('mmpretrain.datasets').CustomDataset
    write_lists(tmp_path)
    file = tmp_path / 'meta/train.txt'
    with file.open('a') as lines:
        lines.write('a file.jpg 007\r\n  sub/b.jpg 2  \n')
    split = read_class_list(file, tmp_path / 'train')
    theirs = custom(ann_file=str(file), data_prefix=str(tmp_path / 'train'))
    read = [
        (theirs.get_data_info(i)['img_path'], theirs.get_data_info(i)['gt_label'])
        for i in range(len(theirs))
    ]
    assert [(str(split.path(image)), image.label) for image in split.images] == read


def test_a_link_to_an_outer_folder_has_an_end(tmp_path):
    write_classes(tmp_path)
    (tmp_path / 'train/cat/again').symlink_to(tmp_path / 'train')
    assert len(read_class_folders(tmp_path / 'train').images) < 100


def test_what_cannot_be_read_is_one_sentence(tmp_path):
    with pytest.raises(DatasetError, match='does not exist'):
        read_class_dataset(tmp_path / 'nowhere')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(
        DatasetError, match=r'No images in class folders were found in .* It is empty'
    ):
        read_class_dataset(tmp_path / 'empty')
    write_classes(tmp_path / 'twice', splits=('train', 'val', 'valid'))
    with pytest.raises(DatasetError, match="are both the split 'val'"):
        read_class_dataset(tmp_path / 'twice')


def test_class_folders_are_not_detected_but_named(tmp_path):
    write_classes(tmp_path)
    with pytest.raises(DatasetError, match='add --task classification'):
        read_dataset(tmp_path)


LINES = st.lists(
    st.tuples(st.text(max_size=9), st.sampled_from(' ,\t\r\0'), st.text('0129-²٣', max_size=9))
)
CONTENTS = st.binary(max_size=60) | LINES.map(
    lambda lines: '\n'.join(map(''.join, lines)).encode(errors='surrogatepass')
)


@given(CONTENTS)
def test_any_content_of_a_list_is_read_or_refused(tmp_path_factory, content):
    file = tmp_path_factory.mktemp('list') / 'train.txt'
    file.write_bytes(content)
    try:
        split = read_class_list(file, file.parent, ['cat', 'dog'])
    except DatasetError as error:
        assert str(file) in str(error)
        return
    assert all(split.class_of(image) in ('cat', 'dog') for image in split.images)
    assert len(split.images) + split.unread <= content.count(b'\n') + content.count(b'\r') + 1


def test_a_device_or_pipe_is_no_list(tmp_path):
    write_lists(tmp_path)
    (tmp_path / 'meta/train.txt').unlink()
    os.mkfifo(tmp_path / 'meta/train.txt')
    assert list(read_class_dataset(tmp_path).splits) == ['train', 'val']
    with pytest.raises(DatasetError, match='is not a file'):
        read_class_list(tmp_path / 'meta/train.txt', tmp_path)

"""The data check of classification configs: what passes, and the messages for what does not."""

import os
import shutil
from pathlib import Path

import pytest
from mmengine.config import Config
from unreadable import needs_linux, unreadable_file, unreadable_folder

pytest.importorskip('mmpretrain')

from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.preflight.classification import check_classification_data
from casvit_mm.datasets.shapes import single as single_shapes

NAMES = single_shapes.CLASSES


@pytest.fixture(scope='module')
def generated(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('generated')
    single_shapes.generate(root, num_train=12, num_val=6, progress=False)
    return root


@pytest.fixture
def root(generated, tmp_path) -> Path:
    """A copy that tests may damage."""
    return shutil.copytree(generated, tmp_path / 'data')


def config_of(root, classes=6, kind='CustomDataset', **changes) -> Config:
    def loader(split):
        dataset = dict(type=kind, data_root=str(root), data_prefix=split, pipeline=[])
        return dict(dataset={**dataset, **changes})

    return Config(
        dict(
            default_scope='mmpretrain',
            model=dict(
                data_preprocessor=dict(num_classes=1000),
                backbone=dict(type='CASViT'),
                head=dict(num_classes=classes),
            ),
            train_dataloader=loader('train'),
            val_dataloader=loader('val'),
            test_dataloader=loader('val'),
        )
    )


def refusal(cfg, *splits) -> str:
    with pytest.raises(DatasetError) as found:
        check_classification_data(cfg, splits or ('train', 'val'))
    message = str(found.value)
    assert '\n' not in message
    return message


@pytest.mark.parametrize('kind', ['CustomDataset', 'SingleShapesDataset'])
def test_valid_data_are_summarised(root, kind):
    assert check_classification_data(config_of(root, kind=kind)) == [
        f'train: 12 images, 6 classes ({root / "train"})',
        f'val: 6 images, 6 classes ({root / "val"})',
    ]
    assert len(check_classification_data(config_of(root, kind=kind), ('test',))) == 1


def test_the_published_configs_say_where_imagenet_comes_from(configs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(configs / 'classification' / 'casvit-xs_8xb128_in1k.py')
    message = refusal(cfg)
    assert f'The data root data/imagenet/ (in {tmp_path}) does not exist.' in message
    assert 'https://image-net.org/download.php' in message


def imagenet(root, train, val) -> None:
    for split, folders in (('train', train), ('val', val)):
        for folder in folders:
            (root / split / folder).mkdir(parents=True)
            (root / split / folder / '1.JPEG').touch()


def test_imagenet_is_read_from_its_folders(configs, tmp_path):
    folders = [f'n{number:08d}' for number in range(1000)]
    imagenet(tmp_path, folders, folders)
    cfg = Config.fromfile(configs / 'classification' / 'casvit-xs_8xb128_in1k.py')
    for split in ('train', 'val'):
        cfg[f'{split}_dataloader'].dataset.data_root = str(tmp_path)
    assert check_classification_data(cfg) == [
        f'train: 1,000 images, 1,000 classes ({tmp_path / "train"})',
        f'val: 1,000 images, 1,000 classes ({tmp_path / "val"})',
    ]


def test_the_default_dataset_is_generated(tmp_path, monkeypatch):
    def few(root):
        shutil.rmtree(root, ignore_errors=True)
        generate(root, num_train=6, num_val=6, progress=False)

    generate = single_shapes.generate
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    monkeypatch.setattr(single_shapes, 'generate', few)
    facts = check_classification_data(config_of('', kind='SingleShapesDataset'))
    assert facts[0].startswith('train: 6 images, 6 classes')


@pytest.mark.parametrize(('gone', 'what'), [('', 'data root'), ('train', 'image folder')])
def test_a_missing_folder_is_named(root, gone, what):
    shutil.rmtree(root / gone)
    message = refusal(config_of(root))
    assert message.startswith(f'The {what} {root / gone} does not exist.')
    assert '--data-root DIR' in message
    generated = refusal(config_of(root, kind='SingleShapesDataset'))
    assert f'generate_shapes.py --task classification --out {root}' in generated


def test_a_single_class_is_refused(root):
    for name in NAMES[1:]:
        shutil.rmtree(root / 'train' / name)
    message = refusal(config_of(root))
    assert message.startswith(f"{root / 'train'} has only one class folder, 'circle'")


def test_images_without_class_folders_are_named(root):
    for folder in (root / 'train').iterdir():
        for image in folder.iterdir():
            image.rename(root / 'train' / image.name)
        folder.rmdir()
    message = refusal(config_of(root))
    assert f'{root / "train"} has no class folders, only 12 images' in message
    for image in (root / 'train').iterdir():
        image.unlink()
    assert ', nothing: put' in refusal(config_of(root))


def test_empty_class_folders_are_named(root):
    for name in ('cross', 'star'):
        for image in (root / 'val' / name).iterdir():
            image.unlink()
    (root / 'val' / 'cross' / 'notes.txt').touch()
    message = refusal(config_of(root))
    for name in ('cross', 'star'):
        assert f'{root / "val" / name} has no images (.jpg, ' in message
    assert 'fill them, or remove them from every split' in message


def test_class_folders_of_images_that_mmpretrain_skips_are_named(root):
    for image in (root / 'val' / 'cross').iterdir():
        image.rename(image.with_suffix('.webp'))
    message = refusal(config_of(root))
    assert 'has no images' in message and 'but 1 other image (.webp)' in message
    assert check_classification_data(config_of(root, extensions=('.webp', '.png')))


def test_a_hidden_folder_counts_as_a_class_as_it_does_in_mmpretrain(root):
    (root / 'train' / '.ipynb_checkpoints').mkdir()
    assert '.ipynb_checkpoints has no images' in refusal(config_of(root))


def test_classes_that_differ_between_training_and_validation_are_named(root):
    (root / 'val' / 'ring').rename(root / 'val' / 'rings')
    message = refusal(config_of(root))
    assert f"only in {root / 'train'}: 'ring'" in message
    assert f"only in {root / 'val'}: 'rings'" in message
    shutil.rmtree(root / 'val' / 'rings')
    assert "'ring'" in refusal(config_of(root))


def test_a_head_with_another_number_of_classes_is_named(root):
    message = refusal(config_of(root, classes=1000))
    assert 'model.head.num_classes is 1000' in message
    assert f'{root / "train"} is read with 6 classes' in message
    assert '--cfg-options model.head.num_classes=6' in message


def test_a_teacher_with_another_number_of_classes_is_named(root):
    cfg = config_of(root)
    cfg.model.teacher = dict(head=dict(num_classes=1000))
    assert 'model.teacher.head.num_classes is 1000' in refusal(cfg)


def test_another_number_of_class_names_is_refused(root):
    message = refusal(config_of(root, classes=2, metainfo=dict(classes=('circle', 'cross'))))
    assert 'names 2 classes' in message and '6 class folders' in message
    assert f'metainfo=dict(classes={NAMES!r})' in message


def test_class_names_in_another_order_than_the_folders_are_refused(root):
    shuffled = (NAMES[1], NAMES[0], *NAMES[2:])
    message = refusal(config_of(root, metainfo=dict(classes=shuffled)))
    assert "class 0 is 'cross' in the config, but its folder is 'circle'" in message


def test_class_names_that_differ_from_all_folders_are_accepted(root):
    spoken = tuple(f'a {name}' for name in NAMES)
    assert check_classification_data(config_of(root, metainfo=dict(classes=spoken)))


def listed(root, text) -> Config:
    (root / 'train.txt').write_text(text)
    return config_of(root, ann_file='train.txt', metainfo=dict(classes=NAMES))


def lines(root) -> str:
    return ''.join(
        f'{path.relative_to(root / "train").as_posix()} {NAMES.index(path.parent.name)}\n'
        for path in sorted((root / 'train').rglob('*.png'))
    )


def test_a_list_of_images_is_read(root):
    assert check_classification_data(listed(root, lines(root)), ('train',)) == [
        f'train: 12 images, 6 classes ({root / "train"})'
    ]


@pytest.mark.parametrize(
    ('damage', 'expected'),
    [
        (lambda text: text + 'circle/1.png\n', "line 13 is 'circle/1.png': expected a file name"),
        (lambda text: text + 'circle/1.png circle\n', ': line 13 is '),
        (lambda text: text.replace(' 5', ' 6'), 'has the class index 6, but there are 6 classes'),
        (lambda text: text.replace('cross/', 'crosses/'), "are not in {root}/train: 'crosses/"),
        (lambda text: '', 'is empty'),
        (lambda text: '\ufeff' + text, 'is UTF-8 with a byte order mark, but a run reads plain'),
        (lambda text: text.replace('cross/', 'Cross/'), "There is '{root}/train/cross/"),
    ],
)
def test_an_invalid_list_of_images_is_refused_with_the_reason(root, damage, expected):
    message = refusal(listed(root, damage(lines(root))), 'train')
    assert str(root / 'train.txt') in message
    assert expected.format(root=root) in message


def test_several_lists_of_images_need_several_datasets(root):
    cfg = config_of(root, ann_file=['a.txt', 'b.txt'])
    assert "2 annotation files ('a.txt', 'b.txt'), but reads one" in refusal(cfg)
    cfg = config_of(root, ann_file=['a.txt', 'b.txt'], kind='NobodysDataset')
    assert 'was not checked' in check_classification_data(cfg)[0]


def test_a_list_of_images_that_is_missing_or_not_text_is_named(root):
    cfg = config_of(root, ann_file='train.txt')
    assert f'The list of images {root / "train.txt"} does not exist' in refusal(cfg)
    (root / 'train.txt').write_bytes(b'\x89PNG\xff')
    assert 'a run reads plain UTF-8' in refusal(cfg)
    (root / 'train.txt').write_bytes(b'\0\1\2\xff')
    assert f'{root / "train.txt"} is not text' in refusal(cfg)


@pytest.mark.skipif(os.name == 'nt' or os.geteuid() == 0, reason='root may read everything')
def test_a_folder_without_read_permission_is_named(root):
    folder = root / 'train' / 'cross'
    folder.chmod(0)
    try:
        assert f'{folder} cannot be read: Permission denied' in refusal(config_of(root))
    finally:
        folder.chmod(0o700)


def test_datasets_that_are_not_read_from_local_folders_are_not_checked(tmp_path):
    for changes in (
        dict(kind='CIFAR10'),
        dict(kind='NoSuchDataset'),
        dict(data_root='s3://bucket/data'),
        dict(with_label=False),
    ):
        facts = check_classification_data(config_of(tmp_path, **changes))
        assert all(fact.endswith('was not checked') for fact in facts), facts


@needs_linux
def test_a_list_a_folder_and_names_that_the_disk_cannot_read_are_named(root):
    file = unreadable_file(root / 'train.txt')
    cfg = config_of(root, ann_file=str(file))
    assert f'{file} cannot be read: Input/output error.' in refusal(cfg)
    cfg = config_of(root, metainfo=dict(classes=str(file)))
    assert f'{file} cannot be read: Input/output error.' in refusal(cfg)
    folder = unreadable_folder(root / 'train' / 'cross' / 'deep')
    try:
        assert 'cannot be read: File name too long.' in refusal(config_of(root))
    finally:
        shutil.rmtree(folder)


def test_a_list_of_images_that_is_no_list_by_its_size_is_not_read(root):
    (root / 'train.txt').touch()
    os.truncate(root / 'train.txt', 2**30 + 1)
    assert 'train.txt is larger than 1 GiB.' in refusal(config_of(root, ann_file='train.txt'))

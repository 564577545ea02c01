import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules
from mmengine.config import Config

from casvit_mm.config.view import ConfigView
from casvit_mm.datasets import DatasetError
from casvit_mm.datasets.preflight.detection import check_detection_data
from casvit_mm.datasets.shapes import objects as shapes

MakeConfig = Callable[..., Config]
COUNTS = ('model.roi_head.bbox_head.num_classes', 'model.roi_head.mask_head.num_classes')


@pytest.fixture(scope='module', autouse=True)
def _mmdet() -> None:
    register_all_modules()


def refusal(cfg: Config, *splits: str) -> str:
    with pytest.raises(DatasetError) as caught:
        check_detection_data(cfg, splits or ('train', 'val'))
    return str(caught.value)


def edit(root: Path, split: str, change: Callable[[dict[str, Any]], Any]) -> Path:
    path = root / 'annotations' / f'instances_{split}.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def test_valid_data_are_summarised_in_one_line_per_dataset(
    small_set: Path, config_of: MakeConfig
) -> None:
    facts = check_detection_data(config_of(small_set))
    assert len(facts) == 2
    assert facts[0].startswith('train: 6 images, ')
    assert facts[1].startswith('val: 3 images, ')
    assert all('6 classes' in fact and str(small_set) in fact for fact in facts)


def test_only_the_requested_splits_are_checked(small_set: Path, config_of: MakeConfig) -> None:
    shutil.rmtree(small_set / 'val')
    assert len(check_detection_data(config_of(small_set), ('train',))) == 1
    cfg = config_of(small_set)
    cfg.val_dataloader = None
    assert len(check_detection_data(cfg)) == 1


@pytest.mark.parametrize(
    'wrap',
    [
        lambda leaf: dict(type='RepeatDataset', times=2, dataset=leaf),
        lambda leaf: dict(type='ClassBalancedDataset', oversample_thr=0.1, dataset=leaf),
        lambda leaf: dict(type='ConcatDataset', datasets=[leaf]),
        lambda leaf: dict(type='MultiImageMixDataset', pipeline=[], dataset=leaf),
        lambda leaf: dict(
            type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[leaf])
        ),
    ],
)
def test_wrapped_datasets_are_found(
    small_set: Path, config_of: MakeConfig, wrap: Callable[[Any], dict[str, Any]]
) -> None:
    cfg = config_of(small_set)
    cfg.train_dataloader.dataset = wrap(cfg.train_dataloader.dataset)
    assert check_detection_data(cfg, ('train',))[0].startswith('train: 6 images')
    shutil.rmtree(small_set / 'train')
    assert str(small_set / 'train') in refusal(cfg)


def test_all_datasets_of_a_concatenation_are_found() -> None:
    datasets = [dict(ann_file='a'), dict(type='RepeatDataset', dataset=dict(ann_file='b'))]
    nested = dict(type='ConcatDataset', datasets=datasets)
    view = ConfigView(dict(val_dataloader=dict(dataset=nested)))
    assert [leaf['ann_file'] for leaf in view.datasets('val')] == ['a', 'b']
    assert list(view.datasets('train')) == []


# Missing data


def test_a_missing_coco_root_is_named_with_the_address_to_get_coco_from(
    config_of: MakeConfig,
) -> None:
    cfg = config_of('data/nowhere', ann_file='annotations/instances_train2017.json')
    message = refusal(cfg)
    assert f'data/nowhere (in {Path.cwd()}) does not exist' in message
    assert 'https://cocodataset.org/#download' in message
    assert '--data-root DIR' in message


def test_a_missing_custom_root_is_named(tmp_path: Path, config_of: MakeConfig) -> None:
    message = refusal(config_of(tmp_path / 'nowhere'))
    assert f'The data root {tmp_path / "nowhere"} does not exist' in message
    assert '--data-root DIR' in message
    assert 'cocodataset' not in message


def test_a_missing_shapes_root_is_named_with_the_command_that_generates_it(
    tmp_path: Path, config_of: MakeConfig
) -> None:
    message = refusal(config_of(tmp_path / 'nowhere', type='ShapesDataset'))
    assert f'generate_shapes.py --out {tmp_path / "nowhere"}' in message


@pytest.mark.parametrize('root', [lambda: str(shapes.default_root()), lambda: ''])
def test_the_default_shapes_root_is_generated(
    tmp_path: Path,
    config_of: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    root: Callable[[], str],
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    few = partial(shapes.generate, num_train=2, num_val=1, progress=False)
    monkeypatch.setattr(shapes, 'generate', few)
    facts = check_detection_data(config_of(root(), type='ShapesDataset'))
    assert facts[0].startswith('train: 2 images')
    assert shapes.is_generated(shapes.default_root())


def test_a_root_that_is_a_file_is_named(small_set: Path, config_of: MakeConfig) -> None:
    cfg = config_of(small_set / 'dataset.json')
    assert 'dataset.json is a file, not a folder' in refusal(cfg)


def test_a_missing_annotation_file_is_named(small_set: Path, config_of: MakeConfig) -> None:
    path = small_set / 'annotations' / 'instances_val.json'
    path.unlink()
    assert f'The annotation file {path} does not exist' in refusal(config_of(small_set))
    path.mkdir()
    assert f'{path} is a folder, not a file' in refusal(config_of(small_set))


def test_an_absolute_path_of_an_annotation_file_ignores_the_root(
    small_set: Path, config_of: MakeConfig, tmp_path: Path
) -> None:
    moved = tmp_path / 'moved.json'
    shutil.move(small_set / 'annotations' / 'instances_train.json', moved)
    cfg = config_of(small_set, ann_file=str(moved))
    assert str(moved) in check_detection_data(cfg, ('train',))[0]


def test_paths_without_a_root_are_used_as_they_are(
    small_set: Path, config_of: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_set)
    cfg = config_of('')
    assert check_detection_data(cfg, ('train',))
    cfg.train_dataloader.dataset.pop('data_root')
    assert check_detection_data(cfg, ('train',))


def test_a_missing_image_folder_is_named(small_set: Path, config_of: MakeConfig) -> None:
    (small_set / 'val').rename(small_set / 'elsewhere')
    message = refusal(config_of(small_set))
    assert f'The image folder {small_set / "val"} does not exist' in message


def test_missing_images_are_counted_and_the_first_ones_named(
    small_set: Path, config_of: MakeConfig
) -> None:
    for index in (1, 2, 4, 5):
        (small_set / 'train' / f'{index:06d}.jpg').unlink()
    message = refusal(config_of(small_set))
    assert '4 of the 6 images' in message
    assert "'000001.jpg', '000002.jpg', '000004.jpg' and 1 more" in message


@pytest.mark.parametrize(
    ('listed', 'there'),
    [
        ('000001.JPG', '000001.jpg'),
        ('Küche.jpg', 'Ku\u0308che.jpg'),
        ('a%20b.jpg', 'a b.jpg'),
        ('Cam/1.jpg', 'cam/1.jpg'),
    ],
)
def test_a_missing_image_whose_name_is_written_differently_is_named(
    small_set: Path, config_of: MakeConfig, listed: str, there: str
) -> None:
    place = small_set / 'train' / there
    place.parent.mkdir(exist_ok=True)
    (small_set / 'train' / '000001.jpg').rename(place)
    edit(small_set, 'train', lambda c: c['images'][1].update(file_name=listed))
    message = refusal(config_of(small_set))
    assert '1 of the 6 images' in message and f'There is {str(place)!r}' in message


def test_images_in_subfolders_are_found(small_set: Path, config_of: MakeConfig) -> None:
    (small_set / 'train' / 'sub').mkdir()
    (small_set / 'train' / '000000.jpg').rename(small_set / 'train' / 'sub' / 'x.jpg')
    edit(small_set, 'train', lambda c: c['images'][0].update(file_name='sub/x.jpg'))
    check_detection_data(config_of(small_set))
    edit(small_set, 'train', lambda c: c['images'][0].update(file_name='gone/x.jpg'))
    assert '1 of the 6 images' in refusal(config_of(small_set))


def test_a_dataset_that_does_not_say_where_its_images_are_is_refused(
    small_set: Path, config_of: MakeConfig
) -> None:
    assert "data_prefix=dict(img='FOLDER/')" in refusal(config_of(small_set, data_prefix={}))


def test_the_annotation_file_of_the_evaluator_must_exist(
    small_set: Path, config_of: MakeConfig
) -> None:
    cfg = config_of(small_set)
    metric = dict(type='CocoMetric', ann_file=str(small_set / 'nothing.json'))
    cfg.val_evaluator = metric
    assert f'annotation file of val_evaluator {small_set}/nothing.json' in refusal(cfg)
    cfg.val_evaluator = [dict(type='CocoMetric'), metric]
    assert 'nothing.json' in refusal(cfg)
    assert check_detection_data(cfg, ('train',))
    cfg.val_evaluator = dict(type='CocoMetric', ann_file=None)
    assert check_detection_data(cfg)


def test_data_on_another_machine_are_not_checked(config_of: MakeConfig) -> None:
    cfg = config_of('s3://bucket/coco')
    assert 'was not checked' in check_detection_data(cfg)[0]
    cfg = config_of('bucket', backend_args=dict(backend='petrel'))
    assert 'was not checked' in check_detection_data(cfg)[0]


# Contents of annotation files


def test_a_file_that_is_not_coco_is_refused(small_set: Path, config_of: MakeConfig) -> None:
    (small_set / 'annotations' / 'instances_train.json').write_text('{"a": 1}')
    assert 'not a COCO annotation file' in refusal(config_of(small_set))


def test_masks_are_required_if_the_pipeline_loads_them(
    small_set: Path, config_of: MakeConfig
) -> None:
    edit(small_set, 'train', lambda c: c['annotations'][2].pop('segmentation'))
    assert 'annotations[2] (id 3) has no segmentation' in refusal(config_of(small_set))
    boxes = [dict(type='LoadAnnotations', with_bbox=True)]
    assert check_detection_data(config_of(small_set, pipeline=boxes))


BROKEN_MASKS = [
    dict(size=[96, 96], counts="b'00'"),
    dict(size=[96, 96], counts='0P'),
    dict(size=[96, 96], counts=[5, -5, 96 * 96]),
    [[1e9, 1e9, -1e9, 0, 0, 1e9]],
    [[float('nan'), 1, 2, 3, 4, 5]],
]


@pytest.mark.parametrize('mask', BROKEN_MASKS, ids=range(len(BROKEN_MASKS)))
@pytest.mark.parametrize('place', ['pipeline', 'nested', 'metric', 'other file'])
def test_a_mask_that_cannot_be_decoded_is_refused_before_it_is_loaded(
    small_set: Path, config_of: MakeConfig, mask: Any, place: str
) -> None:
    def damage(content: dict[str, Any]) -> None:
        content['annotations'][2]['segmentation'] = mask

    path = edit(small_set, 'val', damage)
    cfg = config_of(small_set, pipeline=[dict(type='LoadAnnotations', with_bbox=True)])
    check_detection_data(cfg)
    loads = [dict(type='LoadAnnotations', with_mask=True)]
    if place == 'pipeline':
        cfg.val_dataloader.dataset.pipeline = loads
    elif place == 'nested':
        nested = [dict(type='RandomChoice', transforms=[loads])]
        cfg.val_dataloader.dataset.pipeline = nested
    elif place == 'metric':
        cfg.val_evaluator = dict(type='CocoMetric', metric=['bbox', 'segm'])
    else:
        other = path.with_name('other.json')
        other.write_text(path.read_text())
        edit(small_set, 'val', lambda content: content['annotations'].pop(2))
        cfg.val_evaluator = [dict(type='CocoMetric', metric='segm', ann_file=str(other))]
        path = other
    message = refusal(cfg)
    assert f'{path}: annotations[2] (id 3) has ' in message and '--fix' in message


def test_crowd_flags_are_required_for_evaluation(small_set: Path, config_of: MakeConfig) -> None:
    edit(small_set, 'train', lambda c: c['annotations'][0].pop('iscrowd'))
    check_detection_data(config_of(small_set))
    edit(small_set, 'val', lambda c: c['annotations'][0].pop('iscrowd'))
    assert "1 annotation has no 'iscrowd'" in refusal(config_of(small_set))


def without_area(content: dict[str, Any]) -> None:
    for annotation in content['annotations']:
        annotation.pop('area')


def without_sizes(content: dict[str, Any]) -> None:
    for image in content['images']:
        image.pop('width')
        image.pop('height')


def with_windows_names(content: dict[str, Any]) -> None:
    for image in content['images']:
        image['file_name'] = f'..\\train\\{image["file_name"]}'


INCOMPLETE = {
    without_area: "annotations have no 'area'",
    without_sizes: "6 images have no 'width' and 'height'",
    with_windows_names: '6 images have a name with Windows separators',
}


@pytest.mark.parametrize('change', INCOMPLETE)
def test_a_file_that_only_finetune_completes_is_refused_with_the_commands_that_do(
    small_set: Path, config_of: MakeConfig, change: Callable[[dict[str, Any]], None]
) -> None:
    path = edit(small_set, 'train', change)
    message = refusal(config_of(small_set))
    assert INCOMPLETE[change] in message and str(path) in message
    assert '`casvit finetune DATA`' in message and '`casvit check DATA --fix OUT`' in message
    with pytest.raises((KeyError, FileNotFoundError, AssertionError)):
        loaded_by_mmdet(small_set, 'train')


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_a_file_in_an_encoding_that_a_run_cannot_read_is_refused(
    small_set: Path, config_of: MakeConfig, encoding: str
) -> None:
    path = small_set / 'annotations' / 'instances_train.json'
    path.write_text(path.read_text(), encoding=encoding)
    message = refusal(config_of(small_set))
    assert 'UTF-' in message and '`casvit finetune DATA`' in message
    with pytest.raises(ValueError):
        loaded_by_mmdet(small_set, 'train')


def loaded_by_mmdet(root: Path, split: str) -> list[dict[str, Any]]:
    """The samples of a split as a run loads them."""
    dataset = CocoDataset(
        data_root=str(root),
        ann_file=f'annotations/instances_{split}.json',
        data_prefix=dict(img=f'{split}/'),
        metainfo=dict(classes=shapes.CLASSES),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)],
    )
    return [dataset[index] for index in range(len(dataset))]


def test_two_annotations_with_the_same_id_are_refused_as_mmdet_does(
    small_set: Path, config_of: MakeConfig
) -> None:
    edit(small_set, 'train', lambda c: c['annotations'][1].update(id=c['annotations'][0]['id']))
    assert 'annotations[1] (id 1) has the same id' in refusal(config_of(small_set))
    with pytest.raises(AssertionError, match='not unique'):
        loaded_by_mmdet(small_set, 'train')


def repeats_a_name(content: dict[str, Any]) -> None:
    content['categories'][1]['name'] = content['categories'][0]['name']


def has_no_box(content: dict[str, Any]) -> None:
    del content['annotations'][2]['bbox']
    del content['annotations'][3]['bbox']


REFUSED = {
    repeats_a_name: "categories[1] (id 2) has the name 'circle'",
    has_no_box: "annotations[2] (id 3) has no 'bbox' (and 1 more)",
}


@pytest.mark.parametrize('change', REFUSED)
def test_the_first_of_the_records_that_a_run_cannot_use_is_named(
    small_set: Path, config_of: MakeConfig, change: Callable[[dict[str, Any]], None]
) -> None:
    edit(small_set, 'train', change)
    message = refusal(config_of(small_set))
    assert REFUSED[change] in message and '`casvit check DATA`' in message


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize('flag', ['iscrowd', 'ignore'])
def test_a_split_of_nothing_but_crowds_is_refused(
    small_set: Path, config_of: MakeConfig, split: str, flag: str
) -> None:
    def mark(content: dict[str, Any]) -> None:
        for annotation in content['annotations']:
            annotation[flag] = 1

    edit(small_set, split, mark)
    message = refusal(config_of(small_set))
    assert f'instances_{split}.json has no object to learn from' in message
    assert 'crowd' in message


@pytest.mark.parametrize('key', ['images', 'categories', 'annotations'])
def test_an_empty_list_in_a_file_is_refused(
    small_set: Path, config_of: MakeConfig, key: str
) -> None:
    edit(small_set, 'train', lambda content: content[key].clear())
    assert f'lists no {key}' in refusal(config_of(small_set))


def test_a_list_of_test_images_is_accepted_only_for_testing(
    small_set: Path, config_of: MakeConfig
) -> None:
    edit(small_set, 'val', lambda c: c.pop('annotations'))
    fact = check_detection_data(config_of(small_set), ('test',))[0]
    assert fact.startswith('test: 3 images, 0 objects')
    assert 'lists no annotations' in refusal(config_of(small_set), 'val')
    edit(small_set, 'val', lambda c: c.update(annotations=[]))
    assert check_detection_data(config_of(small_set), ('test',))
    assert 'lists no annotations' in refusal(config_of(small_set), 'val')


def test_annotations_without_any_matching_image_are_refused(
    small_set: Path, config_of: MakeConfig
) -> None:
    def as_text(content: dict[str, Any]) -> None:
        for annotation in content['annotations']:
            annotation['image_id'] = str(annotation['image_id'])

    edit(small_set, 'train', as_text)
    assert 'compare image_id and category_id' in refusal(config_of(small_set))


def test_stray_annotations_are_mentioned(small_set: Path, config_of: MakeConfig) -> None:
    edit(small_set, 'train', lambda c: c['annotations'][0].update(image_id=999))
    fact = check_detection_data(config_of(small_set))[0]
    assert 'annotations of images that are not listed: 1 (see casvit check)' in fact


# Classes


def with_counts(cfg: Config, number: int) -> Config:
    cfg.merge_from_dict(dict.fromkeys(COUNTS, number))
    return cfg


def test_classes_that_are_not_in_the_file_are_named(small_set: Path, config_of: MakeConfig) -> None:
    classes = ('circle', 'hexagon', 'pentagon')
    cfg = with_counts(config_of(small_set, metainfo=dict(classes=classes)), 3)
    message = refusal(cfg)
    assert "no category 'hexagon', 'pentagon'" in message
    assert '2 of the 3 classes' in message
    assert f'metainfo=dict(classes={shapes.CLASSES})' in message


def test_classes_come_from_the_dataset_class_if_the_config_names_none(
    small_set: Path, config_of: MakeConfig
) -> None:
    cfg = config_of(small_set, metainfo=None)
    message = refusal(cfg)
    assert "'person', 'bicycle', 'car' and 77 more" in message
    assert check_detection_data(config_of(small_set, metainfo=None, type='ShapesDataset'))


def test_the_old_spelling_of_classes_is_pointed_out(small_set: Path, config_of: MakeConfig) -> None:
    cfg = config_of(small_set)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo = dict(CLASSES=shapes.CLASSES)
    assert "'CLASSES', which is ignored" in refusal(cfg)


def test_a_subset_of_the_categories_is_accepted(small_set: Path, config_of: MakeConfig) -> None:
    cfg = config_of(small_set, metainfo=dict(classes=('circle', 'square', 'ring')))
    facts = check_detection_data(with_counts(cfg, 3), ('train',))
    assert '3 classes' in facts[0]
    complete = check_detection_data(config_of(small_set), ('train',))
    assert facts != complete


def test_classes_in_another_order_than_the_file_are_refused(
    small_set: Path, config_of: MakeConfig
) -> None:
    classes = ('square', 'circle', 'ring')
    cfg = with_counts(config_of(small_set, metainfo=dict(classes=classes)), 3)
    message = refusal(cfg)
    assert "class 0 is 'square' in the config and 'circle' in the file" in message
    assert "metainfo=dict(classes=('circle', 'square', 'ring'))" in message


def test_mmdet_numbers_classes_in_the_order_of_the_file(small_set: Path) -> None:
    dataset = CocoDataset(
        data_root=str(small_set),
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        metainfo=dict(classes=('square', 'circle')),
    )
    assert dataset.cat2label == {1: 0, 2: 1}


def test_a_class_named_twice_is_refused(small_set: Path, config_of: MakeConfig) -> None:
    cfg = config_of(small_set, metainfo=dict(classes=('circle', 'circle')))
    assert "the class 'circle' more than once" in refusal(with_counts(cfg, 2))


def test_a_class_name_without_a_comma_is_pointed_out(
    small_set: Path, config_of: MakeConfig
) -> None:
    cfg = config_of(small_set, metainfo=dict(classes='circle'))
    assert "write classes=('circle',)" in refusal(cfg)


def test_classes_may_be_listed_in_a_file(
    small_set: Path, config_of: MakeConfig, tmp_path: Path
) -> None:
    names = tmp_path / 'names.txt'
    names.write_text('\n'.join(shapes.CLASSES) + '\n')
    assert check_detection_data(config_of(small_set, metainfo=dict(classes=str(names))))


def test_a_model_with_another_number_of_classes_is_refused_with_all_heads_named(
    small_set: Path, config_of: MakeConfig
) -> None:
    message = refusal(with_counts(config_of(small_set), 80))
    assert f'{COUNTS[0]} is 80, {COUNTS[1]} is 80' in message
    assert f'--cfg-options {COUNTS[0]}=6 {COUNTS[1]}=6' in message
    assert "6 classes ('circle', 'square', 'triangle' and 3 more)" in message


def test_counts_of_other_things_are_not_treated_as_class_counts() -> None:
    model = dict(
        data_preprocessor=dict(num_classes=9),
        backbone=dict(num_classes=1000),
        rpn_head=dict(num_classes=1),
        roi_head=dict(
            bbox_head=[dict(num_classes=4), dict(num_classes=5)],
            semantic_head=dict(num_classes=183),
        ),
        bbox_head=dict(num_classes=7),
    )
    assert list(ConfigView(dict(model=model)).class_counts()) == [
        ('model.roi_head.bbox_head.0.num_classes', 4),
        ('model.roi_head.bbox_head.1.num_classes', 5),
        ('model.bbox_head.num_classes', 7),
    ]
    assert list(ConfigView({}).class_counts()) == []


# Other kinds of datasets


def test_only_the_existence_of_a_dataset_in_another_format_is_checked(
    small_set: Path, config_of: MakeConfig
) -> None:
    (small_set / 'annotations' / 'instances_train.json').write_text('another format')
    cfg = config_of(small_set, type='LVISV1Dataset')
    assert 'was not checked' in check_detection_data(cfg, ('train',))[0]
    message = refusal(with_counts(cfg, 80), 'train')
    assert f'{COUNTS[0]} is 80' in message


def test_a_subclass_of_cocodataset_is_checked_in_the_same_way(
    small_set: Path, config_of: MakeConfig
) -> None:
    class Mine(CocoDataset):
        METAINFO = dict(classes=shapes.CLASSES)  # noqa: RUF012

    DATASETS.register_module(module=Mine, name='MyShapes', force=True)
    for kind in ('MyShapes', 'mmdet.MyShapes', Mine):
        cfg = config_of(small_set, metainfo=None)
        for loader in (cfg.train_dataloader, cfg.val_dataloader):
            loader.dataset['type'] = kind
        assert len(check_detection_data(cfg)) == 2
    with_counts(cfg, 7)
    assert 'is 7' in refusal(cfg)


def test_a_type_that_is_not_registered_is_not_checked(
    small_set: Path, config_of: MakeConfig
) -> None:
    cfg = config_of(small_set, type='NobodysDataset')
    assert 'was not checked' in check_detection_data(cfg)[0]


def test_a_dataset_without_annotation_file_is_not_checked(tmp_path: Path) -> None:
    loader = dict(dataset=dict(type='NobodysDataset', data_root=str(tmp_path)))
    assert 'was not checked' in check_detection_data(Config(dict(train_dataloader=loader)))[0]


def test_importing_the_check_needs_no_mmdet(run_without_mmdet: Callable[..., None]) -> None:
    run_without_mmdet(
        """
        import casvit_mm.datasets.preflight.detection
        from casvit.errors import MissingPackageError
        try:
            from casvit_mm.datasets import ShapesDataset
        except MissingPackageError as error:
            assert 'Detection needs mmdet' in str(error), error
            assert 'install onedl-mmdetection' in str(error), error
        else:
            raise AssertionError('mmdet is there')
        """
    )


# Real data


def test_real_coco_files_pass_with_all_80_classes(
    photographs: Path, configs: Path, config_of: MakeConfig
) -> None:
    root = photographs / 'coco_mini'
    cfg = config_of(root, metainfo=None)
    for split in ('train', 'val', 'test'):
        year = 'train2017' if split == 'train' else 'val2017'
        cfg[f'{split}_dataloader'].dataset.update(
            ann_file=f'annotations/instances_{year}.json', data_prefix=dict(img=f'{year}/')
        )
    facts = check_detection_data(with_counts(cfg, 80), ('train', 'val', 'test'))
    assert facts[0].startswith('train: 80 images, 739 objects, 80 classes')
    assert facts[1].startswith('val: 79 images, 624 objects, 80 classes')
    assert facts[2].startswith('test: 79 images')
    message = refusal(with_counts(cfg, 6))
    assert f'{COUNTS[0]} is 6' in message
    cfg.train_dataloader.dataset.data_root = str(root / 'nothing')
    assert 'https://cocodataset.org/#download' in refusal(cfg)

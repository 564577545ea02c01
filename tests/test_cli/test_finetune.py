"""From a dataset to a config that is ready for training."""

import os
import shutil
import sys

import exported
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from quick_runs import run_tool

from casvit_mm.config.read import load_config
from casvit_mm.datasets.shapes import objects as shapes

pytest.importorskip('mmdet')
pytest.importorskip('supervision')


@pytest.fixture(scope='module')
def objects(tmp_path_factory):
    generated = tmp_path_factory.mktemp('generated')
    shapes.generate(generated, num_train=12, num_val=6, size=96, progress=False)
    root = generated.with_name('objects')
    for name in ('annotations', 'train', 'val'):
        shutil.copytree(generated / name, root / name)
    for split in ('train', 'val'):
        shutil.copytree(generated / split, root.with_name('masks') / 'images' / split)
        shutil.copytree(generated / 'labels' / split, root.with_name('masks') / 'masks' / split)
    (root.with_name('masks') / 'classes.txt').write_text('\n'.join(('ground', *shapes.CLASSES)))
    return root


@pytest.fixture
def finetune(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(data, *options):
        arguments = [data, '--no-train', '--work-dir', tmp_path / 'run', *options]
        code = run_tool('finetune', arguments)
        said = capsys.readouterr()
        file = tmp_path / 'run/config.py'
        return code, said.out, said.err, Config.fromfile(file) if file.is_file() else None

    return run


TASKS = {
    'detection': ['model.bbox_head.num_classes'],
    'instance': [
        'model.roi_head.bbox_head.num_classes',
        'model.roi_head.mask_head.num_classes',
    ],
    'semantic': ['model.decode_head.num_classes'],
}


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('size', ['xs', 'm'])
def test_the_config_inherits_from_ours_and_sets_the_classes_of_every_head(
    task, size, objects, finetune, tmp_path
):
    data = objects.with_name('masks') if task == 'semantic' else objects
    code, said, _, cfg = finetune(data, '--task', task, '--size', size, '--batch-size', '3')
    assert code == 0, said
    text = (tmp_path / 'run/config.py').read_text()
    assert text.splitlines()[2].startswith('_base_ = ') and len(text.splitlines()) < 190
    assert 'casvit_mm' in cfg.custom_imports.imports and cfg.model.backbone.arch == size
    classes = shapes.CLASSES if task != 'semantic' else ('ground', *shapes.CLASSES)
    for name in TASKS[task]:
        node = cfg
        for part in name.split('.'):
            node = node[part]
        assert node == len(classes)
    init_default_scope(cfg.default_scope)
    for split in ('train', 'val', 'test'):
        dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
        assert len(dataset) == (12 if split == 'train' else 6)
        assert tuple(dataset.metainfo['classes']) == classes
        assert dataset[0]['inputs'].shape[0] == 3
    assert MODELS.build(cfg.model) is not None
    assert 'Starting from random weights' in said and cfg.model.backbone.norm_eval is False
    assert {hook['type'] for hook in cfg.custom_hooks} >= {'EMAHook', 'UnreadableFilesHook'}


def test_every_option_does_what_it_says(objects, finetune):
    options = [
        *('--epochs', '7', '--image-size', '320', '--batch-size', '2', '--layer-decay', '0.8'),
        *('--balance', '--no-ema', '--patience', '4', '--seed', '5'),
    ]
    _, _, _, cfg = finetune(objects, '--task', 'detection', '--size', 'xs', *options)
    assert cfg.train_cfg.max_epochs == 7 and cfg.randomness.seed == 5
    assert cfg.train_dataloader.batch_size == 2
    assert cfg.test_pipeline[1].scale == (320, 320)
    assert [step.type for step in cfg.train_pipeline].count('CachedMosaic') == 1
    assert cfg.optim_wrapper.constructor == 'CASViTLayerDecayConstructor'
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == 0.8
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(2e-4 * (2 / 32) ** 0.5, rel=0.01)
    assert cfg.train_dataloader.dataset.type == 'ClassBalancedDataset'
    kinds = {hook['type']: hook for hook in cfg.custom_hooks}
    options += ['--learning-rate', '3e-4', '--no-augmentation']
    _, said, _, cfg = finetune(objects, '--task', 'detection', *options)
    kept = ['LoadImageFromFile', 'LoadAnnotations', 'Resize', 'PackDetInputs']
    assert [step.type for step in cfg.train_pipeline] == kept and 'Augmentation: none.' in said
    assert cfg.optim_wrapper.optimizer.lr == 3e-4
    assert 'EMAHook' not in kinds and kinds['EarlyStoppingHook'].patience == 4


@pytest.fixture(scope='module')
def detector():
    """The weights of a RetinaNet of size XS with 80 classes, as in a file of the authors."""
    cfg = load_config('retinanet_casvit-xs_fpn_1x_coco').model
    cfg.backbone.init_cfg = None
    init_default_scope('mmdet')
    return MODELS.build(cfg).state_dict()


def saved(detector, file, classes=(), backbone_only=False):
    if backbone_only:
        start = 'backbone.'
        weights = {k.removeprefix(start): v for k, v in detector.items() if k.startswith(start)}
        torch.save(dict(model=weights), file)
    else:
        meta = dict(dataset_meta=dict(classes=classes)) if classes else {}
        torch.save(dict(state_dict=detector, meta=meta), file)
    return file


def test_a_checkpoint_of_a_detector_is_loaded_whole_and_gives_task_size_and_config(
    objects, finetune, tmp_path, detector
):
    file = saved(detector, tmp_path / 'd.pth')
    code, said, _, cfg = finetune(
        objects, '--batch-size', '2', '--checkpoint', file, '--freeze', '2'
    )
    assert code == 0 and cfg.load_from == str(file) and cfg.model.backbone.init_cfg is None
    assert cfg.model.backbone.norm_eval is True and cfg.model.backbone.frozen_stages == 2
    assert cfg.model.type == 'RetinaNet' and cfg.model.backbone.arch == 'xs'
    assert 'random weights' not in said and 'light heads' not in said
    (line,) = [line for line in said.splitlines() if line.startswith('From ')]
    assert 'kept: backbone, neck, box head; new: outputs of box head for your 6 classes' in line


def test_a_checkpoint_of_imagenet_weights_fills_the_backbone_in_its_size(
    objects, finetune, tmp_path, detector
):
    file = saved(detector, tmp_path / 'b.pth', backbone_only=True)
    options = ['--task', 'detection', '--batch-size', '2', '--checkpoint', file]
    _, said, _, cfg = finetune(objects, *options)
    assert cfg.load_from is None and cfg.model.backbone.arch == 'xs'
    assert cfg.model.backbone.init_cfg.checkpoint == str(file)
    assert 'kept: backbone; new: neck, box head, which it does not hold' in said


def test_classes_that_the_checkpoint_knows_are_named(objects, finetune, tmp_path, detector):
    known = [shapes.CLASSES[0], *map(str, range(79))]
    file = saved(detector, tmp_path / 'd.pth', known)
    _, said, _, _ = finetune(objects, '--batch-size', '2', '--checkpoint', file)
    assert f'(without {shapes.CLASSES[0]}, which the file knows)' in said


@pytest.mark.parametrize(
    ('options', 'start'),
    [
        (['--size', 'm'], 'Size M (--size) does not fit the checkpoint '),
        (['--task', 'instance', '--size', 't'], 'Size T (--size) does not fit the checkpoint '),
    ],
)
def test_a_size_that_contradicts_the_checkpoint_is_refused_before_images_are_read(
    options, start, objects, finetune, tmp_path, detector
):
    code, said, error, _ = finetune(
        objects, *options, '--checkpoint', saved(detector, tmp_path / 'd.pth')
    )
    assert code == 2 and f'error: {start}' in error and 'CAS-ViT-XS' in error
    assert not said and 'reading images' not in error


@pytest.mark.parametrize('name', exported.EXPORTS)
def test_images_of_every_format_are_ready_for_training(name, photographs, finetune, tmp_path):
    coco = exported.as_coco(photographs, tmp_path / 'coco')
    data = exported.EXPORTS[name](coco, tmp_path / 'data')
    options = ['--task', 'instance', '--size', 'xs', '--batch-size', '2', '--seed', '3']
    code, said, _, cfg = finetune(data, *options)
    assert code == 0, said
    init_default_scope('mmdet')
    train, val = (DATASETS.build(cfg[f'{s}_dataloader'].dataset) for s in ('train', 'val'))
    split = name == 'label studio'
    assert len(train) + len(val) == (80 if split else 159)
    assert len(val) == (pytest.approx(16, abs=3) if split else 79)
    assert set(train.metainfo['classes']) == set(exported.CLASSES)
    assert ('The dataset had no validation split' in said) == split
    files = [{info['img_path'] for info in d.load_data_list()} for d in (train, val)]
    assert not files[0] & files[1]
    item = next(train[i] for i in range(20) if len(train[i]['data_samples'].gt_instances))
    assert item['data_samples'].gt_instances.masks.areas.any()


def test_void_and_colours_of_street_scenes_are_ready_for_training(photographs, finetune, tmp_path):
    import cv2
    import numpy as np

    data = tmp_path / 'streets'
    shutil.copytree(photographs / 'camvid_mini', data)
    (data / 'classes.txt').write_text('\n'.join(f'class {index}' for index in range(11)))
    options = ['--task', 'semantic', '--size', 'xs', '--batch-size', '2']
    code, _, error, _ = finetune(data, *options)
    assert code == 2 and 'casvit check' in error
    code, _, _, cfg = finetune(data, *options, '--ignore-index', '11')
    assert code == 0 and cfg.model.decode_head.ignore_index == 11
    assert cfg.val_evaluator.ignore_index == 11
    (hook,) = [hook for hook in cfg.custom_hooks if hook['type'] == 'LabelRangeHook']
    assert hook['ignore_index'] == 11
    (data / 'classes.txt').unlink()
    palette = np.random.default_rng(0).permutation(256)[:36].reshape(12, 3).astype(np.uint8)
    for path in data.glob('annotations/*/*.png'):
        cv2.imwrite(str(path), palette[cv2.imread(str(path), -1)][..., ::-1])
    names = [*(f'class {index}' for index in range(11)), 'void']
    rows = [f'{r} {g} {b} {name}' for (r, g, b), name in zip(palette, names, strict=True)]
    (data / 'legend.txt').write_text('\n'.join(rows))
    code, said, _, cfg = finetune(data, *options)
    assert code == 0 and 'converted to class indices in' in said
    init_default_scope('mmseg')
    item = DATASETS.build(cfg.train_dataloader.dataset)[0]
    assert set(item['data_samples'].gt_sem_seg.data.unique().tolist()) <= {*range(11), 255}


def test_user_errors_are_one_sentence(objects, finetune, tmp_path):
    for options, message in [
        (['--task', 'detection', '--freeze', '2', '--batch-size', '2'], 'so it needs --checkpoint'),
        (['--task', 'detection', '--val-share', '0'], '--val-share has to be'),
        (['--task', 'detection', '--checkpoint', 'no.pth'], 'no.pth does not exist'),
        (['--task', 'semantic'], 'images with semantic masks'),
        (
            ['--task', 'detection', '--config', 'mask_rcnn_casvit', '--batch-size', '2'],
            'is for instance, not for --task detection',
        ),
        (['--task', 'detection', '--memory', '0.2'], 'Not even one image'),
        ([], 'Say what to train with --task'),
        (['--task', 'detection', '--config', 'x', '--heads', 'light'], 'leave out one of them'),
        (['--task', 'classification', '--heads', 'light'], 'is not for --task classification'),
    ]:
        code, _, error, _ = finetune(objects, *options, '--size', 'xs')
        assert code == 2 and message in error and 'Traceback' not in error


def test_an_unsplit_dataset_is_split_evenly_by_class_and_reproducibly(objects, finetune, tmp_path):
    import json

    data = tmp_path / 'unsplit'
    (data / 'images').mkdir(parents=True)
    shutil.copytree(objects / 'train', data / 'images', dirs_exist_ok=True)
    shutil.copyfile(objects / 'annotations/instances_train.json', data / 'labels.json')
    seen = []
    for seed in ('1', '1', '2'):
        finetune(data, '--task', 'detection', '--size', 'xs', '--batch-size', '2', '--seed', seed)
        splits = [
            json.loads((tmp_path / f'run/data/{split}.json').read_text())
            for split in ('train', 'val')
        ]
        files = [{image['file_name'] for image in split['images']} for split in splits]
        assert len(files[0] | files[1]) == 12 and not files[0] & files[1]
        seen.append(files)
        shutil.rmtree(tmp_path / 'run')
    assert seen[0] == seen[1]


@pytest.mark.parametrize('unsplit', [False, True])
def test_images_in_class_folders_are_ready_for_training(unsplit, finetune, tmp_path):
    import cv2
    import numpy as np

    classes, data = ['a dog', 'cat', 'émeu'], tmp_path / 'data'
    for split, number in (('', 10),) if unsplit else (('train', 6), ('val', 3)):
        for name in classes:
            (data / split / name).mkdir(parents=True)
            for index in range(number):
                pixels = np.random.default_rng(index).integers(0, 255, (96, 128, 3), np.uint8)
                file = data / split / name / f' {index} {name[0]}{split}.png'
                # OpenCV cannot write every name.
                file.write_bytes(cv2.imencode('.png', np.roll(pixels, ord(name[0])))[1])
    options = ['--task', 'classification', '--size', 'xs', '--batch-size', '4']
    code, said, error, cfg = finetune(data, *options)
    assert code == 0, error
    assert 'Augmentation: crop, flip, colour;' in said and cfg.image_size == 96
    init_default_scope('mmpretrain')
    train, val = (DATASETS.build(cfg[f'{s}_dataloader'].dataset) for s in ('train', 'val'))
    assert (len(train), len(val)) == ((24, 6) if unsplit else (18, 9))
    for dataset in (train, val):
        assert tuple(dataset.metainfo['classes']) == tuple(classes)
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            assert info['img_path'].split('/')[-2] == classes[int(info['gt_label'])]
        assert dataset[0]['inputs'].shape == (3, 96, 96)
    assert cfg.model.head.num_classes == 3 and cfg.val_evaluator[0].topk == (1,)


PAYLOAD = "{{$NOT_SET_ANYWHERE:',),ran:=open('ran','w'),('}}"


def test_names_and_paths_stay_the_same_in_the_config_and_its_dumps(
    objects, finetune, tmp_path, monkeypatch
):
    from dataclasses import replace
    from pathlib import Path

    from casvit_mm.commands import finetune as command
    from casvit_mm.config.text import escape_braces

    plans = []
    written = command.config_text
    monkeypatch.setattr(command, 'config_text', lambda plan: plans.append(plan) or written(plan))
    for task, data in (('instance', objects), ('semantic', objects.with_name('masks'))):
        finetune(data, '--task', task, '--size', 'xs', '--batch-size', '2')
        plan = plans[-1]
        path = tmp_path / PAYLOAD
        classes = [PAYLOAD, 'a\nb', "'", '{{{{', 'c\udcff', *map(str, range(2))]
        splits = {
            name: replace(split, ann_file=path / 'a.json', images=path)
            for name, split in plan.data.splits.items()
        }
        spoilt = replace(
            plan,
            source=Path(f'data\nran = open("ran", "w") {PAYLOAD}'),
            work_dir=path,
            load_from=path / 'model.pth',
            data=replace(plan.data, classes=classes, splits=splits),
        )
        text = written(spoilt)
        for turn in range(3):
            assert '{{' not in text
            file = tmp_path / f'{task}-{turn}.py'
            file.write_text(text, encoding='utf-8')
            cfg = Config.fromfile(file)
            assert list(cfg.classes) == classes
            assert list(cfg.train_dataloader.dataset.metainfo.classes) == classes
            assert cfg.work_dir == str(path) and cfg.load_from == str(path / 'model.pth')
            assert cfg.train_dataloader.dataset.ann_file == str(path / 'a.json')
            assert run_tool('print_config', [str(file), '--save-path', str(file)]) == 0
            text = file.read_text() if turn else escape_braces(cfg.pretty_text)
        assert not list(tmp_path.rglob('ran'))


@pytest.mark.parametrize('odd', ['{{$X:1}}', 'a\nb', 'a\x1b[2J', 'a\udcff'])
def test_a_path_that_is_unsafe_in_a_config_is_refused_in_a_sentence(
    objects, finetune, odd, tmp_path
):
    common = ['--task', 'detection', '--size', 'xs', '--batch-size', '2']
    folder = tmp_path / odd
    shutil.copytree(objects, folder / 'data')
    torch.save(dict(model={'head.weight': torch.zeros(1)}), folder / 'b.pth')
    inner = tmp_path / 'inner'
    shutil.copytree(objects, inner)
    (inner / 'annotations').rename(inner / odd)
    for data, options, what in [
        (folder / 'data', [], 'data folder'),
        (objects, ['--work-dir', folder / 'run'], 'work dir'),
        (objects, ['--checkpoint', folder / 'b.pth'], 'checkpoint'),
        (inner, [], 'annotation file'),
    ]:
        code, _, error, cfg = finetune(data, *common, *options)
        assert code == 2 and f'The path of the {what}, ' in error and cfg is None
        assert 'Rename or move it' in error and 'Traceback' not in error
        assert error.strip().splitlines()[-1].isprintable()


def test_a_class_name_that_mmengine_would_evaluate_is_refused(objects, finetune, tmp_path):
    import json

    data = tmp_path / 'data'
    shutil.copytree(objects, data)
    for file in (data / 'annotations').iterdir():
        content = json.loads(file.read_text())
        content['categories'][0]['name'] = PAYLOAD
        file.write_text(json.dumps(content))
    code, said, error, cfg = finetune(data, '--task', 'detection', '--size', 'xs')
    assert code == 2 and cfg is None and '--fix' in error
    assert 'class names that mmengine or a terminal may take for instructions' in said
    assert not list(tmp_path.rglob('ran'))


def test_a_checkpoint_without_a_known_head_needs_a_task(objects, finetune, tmp_path, detector):
    alone = saved(detector, tmp_path / 'b.pth', backbone_only=True)
    code, _, error, _ = finetune(objects, '--checkpoint', alone)
    assert code == 2 and f'The checkpoint {alone} holds no head, so every task can start' in error
    odd = {key: value for key, value in detector.items() if key.startswith('backbone.')}
    odd['bbox_head.odd.weight'] = torch.zeros(3)
    torch.save(dict(state_dict=odd), tmp_path / 'odd.pth')
    code, _, error, _ = finetune(objects, '--checkpoint', tmp_path / 'odd.pth')
    assert code == 2 and 'holds a head of no known kind, so every task can start' in error, error


TORN = {
    'one of its weights is not in the file': lambda weights: weights.pop(
        next(key for key in weights if key.startswith('backbone.stages.2.'))
    ),
    'one of its weights is (9, 3, 3, 3) in the file, (24, 3, 3, 3) here': lambda weights: (
        weights.update({'backbone.stem.0.weight': torch.zeros(9, 3, 3, 3)})
    ),
}


@pytest.mark.parametrize('reason', TORN)
def test_a_backbone_of_another_model_is_refused_with_the_reason(
    reason, objects, finetune, tmp_path, detector
):
    weights = dict(detector)
    TORN[reason](weights)
    file = saved(weights, tmp_path / 'd.pth')
    options = ['--config', 'retinanet_casvit-xs_fpn_1x_coco', '--batch-size', '2']
    code, _, error, _ = finetune(objects, *options, '--checkpoint', file)
    assert code == 2 and f'The backbone in {file} is not that of' in error and reason in error


def test_splitting_without_its_package_says_what_to_install(objects, finetune, monkeypatch):
    monkeypatch.setitem(sys.modules, 'iterstrat.ml_stratifiers', None)
    data = shutil.copytree(objects.with_name('masks'), objects.with_name('unsplit'))
    for folder in ('images', 'masks'):
        shutil.rmtree(data / folder / 'val')
    code, _, error, _ = finetune(data, '--task', 'semantic', '--batch-size', '2')
    assert code == 2 and "pip install 'casvit-mm[data]'" in error


def test_a_batch_that_does_not_fit_into_memory_is_refused_with_the_way_out(
    objects, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    options = ['--task', 'detection', '--size', 'xs', '--image-size', '64', '--memory', '0.1']
    assert run_tool('finetune', [objects, *options, '--batch-size', '4']) == 2
    said = capsys.readouterr().err
    assert '--batch-size 4 does not fit into 0.1 GiB: choose a smaller one, or leave it' in said


def test_a_short_run_that_fails_stops_the_command_with_the_reason(
    objects, tmp_path, monkeypatch, capsys
):
    """Here because the torch that new processes find is broken."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'torch.py').write_text("raise ImportError('libcudart.so: cannot open file')\n")
    paths = [str(tmp_path), os.environ.get('PYTHONPATH', '')]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(filter(None, paths)))
    options = ['--task', 'detection', '--size', 'xs', '--batch-size', '2']
    assert run_tool('finetune', [objects, *options]) == 2
    said = capsys.readouterr().err
    assert 'config.py failed: ImportError: libcudart.so: cannot open file' in said

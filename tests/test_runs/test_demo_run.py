"""The demo, shortened: a single training run, and all uses of its checkpoint."""

import json
from pathlib import Path

import cv2
import fresh
import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')
from mmengine import Config
from quick_runs import run_tool

from casvit import config_path
from casvit_mm.datasets.shapes import objects as shapes
from casvit_mm.engine.checkpoints import noted_checkpoint
from casvit_mm.models import read_checkpoint

DEMOS = ('mask_rcnn_casvit-xs_demo_shapes', 'retinanet_casvit-xs_demo_shapes')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """A small generated dataset."""
    folder = tmp_path_factory.mktemp('data') / 'shapes'
    shapes.generate(folder, num_train=16, num_val=8, seed=1, progress=False)
    return folder


def short(name, root, work_dir):
    """Arguments that make any demo config a run of seconds."""
    return [
        '--work-dir',
        str(work_dir),
        '--data-root',
        str(root),
        '--cfg-options',
        'train_cfg.max_epochs=2',
        'train_cfg.val_interval=2',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'val_dataloader.num_workers=0',
        'val_dataloader.persistent_workers=False',
        'default_hooks.logger.interval=1',
        low_threshold(name),
    ]


def low_threshold(name):
    """Lowers the score threshold: COCO metrics need detections, even after a few iterations."""
    part = 'rcnn.' if name.startswith('mask') else ''
    return f'model.test_cfg.{part}score_thr=0.0'


@pytest.fixture(scope='module', params=DEMOS)
def trained(request, root, tmp_path_factory):
    """(config name, work dir) of a finished run."""
    work_dir = tmp_path_factory.mktemp(request.param)
    assert run_tool('train', [request.param, *short(request.param, root, work_dir)]) == 0
    return request.param, work_dir


def checkpoint(work_dir):
    return noted_checkpoint(work_dir)


def metrics(work_dir):
    lines = [
        json.loads(line)
        for f in work_dir.rglob('scalars.json')
        for line in f.read_text().splitlines()
    ]
    return lines


def test_a_run_leaves_checkpoint_config_log_and_images(trained):
    name, work_dir = trained
    content = read_checkpoint(checkpoint(work_dir))
    assert content['meta']['dataset_meta']['classes'] == shapes.CLASSES
    assert (work_dir / f'{name}.py').is_file()
    assert Config.fromfile(work_dir / f'{name}.py').model.backbone.arch == 'xs'
    assert list(work_dir.rglob('*.log'))
    images = list((work_dir / 'preview').glob('*.jpg'))
    assert len(images) == 8
    for image in map(cv2.imread, map(str, images)):
        # Small images are enlarged; titles and a legend add to the height.
        assert image.shape[1] > 1.8 * image.shape[0] > 600, 'ground truth next to prediction'


def test_a_run_logs_finite_losses_and_coco_metrics(trained):
    lines = metrics(trained[1])
    losses = [line['loss'] for line in lines if 'loss' in line]
    assert len(losses) == 8 and np.isfinite(losses).all()
    (last,) = [line for line in lines if 'coco/bbox_mAP' in line]
    assert ('coco/segm_mAP' in last) == trained[0].startswith('mask')


def test_a_run_is_resumed_where_it_stopped(trained, root, tmp_path, capsys):
    name, work_dir = trained
    first = str(work_dir / 'epoch_1.pth')
    arguments = [name, *short(name, root, tmp_path), '--resume', first]
    assert run_tool('train', arguments) == 0
    epochs = {line['epoch'] for line in metrics(tmp_path) if 'loss' in line}
    assert epochs == {2}
    again = read_checkpoint(checkpoint(tmp_path))
    assert (again['meta']['epoch'], again['meta']['iter']) == (2, 8)


def test_testing_gives_the_metrics_of_training(trained, root, tmp_path):
    name, work_dir = trained
    where = ['--work-dir', str(tmp_path), '--data-root', str(root)]
    options = ['--cfg-options', low_threshold(name)]
    assert run_tool('test', [name, checkpoint(work_dir), *where, *options]) == 0
    tested = json.loads(next(tmp_path.rglob('*/*.json')).read_text().splitlines()[-1])
    (trained_with,) = [m for m in metrics(work_dir) if 'coco/bbox_mAP' in m]
    assert tested['coco/bbox_mAP'] == pytest.approx(trained_with['coco/bbox_mAP'], abs=1e-3)


def test_a_checkpoint_of_another_task_is_refused_in_a_sentence(trained, root, tmp_path, capsys):
    name, work_dir = trained
    other = next(demo for demo in DEMOS if demo != name)
    code = run_tool(
        'test', [other, checkpoint(work_dir), '--work-dir', str(tmp_path), '--data-root', str(root)]
    )
    said = capsys.readouterr().err
    assert code == 2
    assert 'does not fit the model: missing' in said
    assert 'Traceback' not in said


def test_inferencers_of_mmdet_take_config_and_checkpoint(trained, root, tmp_path):
    from mmdet.apis import DetInferencer, inference_detector, init_detector

    name, work_dir = trained
    config = str(work_dir / f'{name}.py')
    image = str(next((root / 'val').iterdir()))
    detector = init_detector(config, checkpoint(work_dir), device='cpu')
    assert detector.dataset_meta['classes'] == shapes.CLASSES
    found = inference_detector(detector, image).pred_instances
    inferencer = DetInferencer(config, checkpoint(work_dir), device='cpu', show_progress=False)
    answer = inferencer(image, out_dir=str(tmp_path))['predictions'][0]
    np.testing.assert_allclose(answer['scores'], found.scores.tolist(), atol=1e-4)
    # The run's config has a lower threshold than the shipped one.
    inferencer = DetInferencer(
        config_path(name), checkpoint(work_dir), device='cpu', show_progress=False
    )
    shipped = inferencer(image)['predictions'][0]['scores']
    assert inferencer.model.dataset_meta['classes'] == shapes.CLASSES
    np.testing.assert_allclose(
        shipped, [score for score in answer['scores'] if score > 0.05], atol=1e-4
    )
    trained_weights = read_checkpoint(checkpoint(work_dir))['state_dict']
    assert torch.equal(detector.backbone.stem[0].weight, trained_weights['backbone.stem.0.weight'])


def test_the_train_script_of_mmdet_trains_our_configs(root, tmp_path, configs):
    import mmdet

    runs = []
    for demo in DEMOS:
        config = tmp_path / f'my_{demo}.py'
        config.write_text(
            f'_base_ = {str(configs / "detection" / f"{demo}.py")!r}\n'
            f'data_root = {f"{root}/"!r}\n'
            'train_dataloader = dict(num_workers=0, persistent_workers=False, '
            'dataset=dict(data_root=data_root, indices=4))\n'
            'val_dataloader = dict(dataset=dict(data_root=data_root))\n'
            'val_evaluator = dict(ann_file=data_root + "annotations/instances_val.json")\n'
            'train_cfg = dict(max_epochs=1)\n'
        )
        runs += [config, tmp_path / demo]
    fresh.run(
        """
        import runpy, sys

        script, *runs = sys.argv[1:]
        for config, work_dir in zip(runs[::2], runs[1::2]):
            sys.argv = [script, config, '--work-dir', work_dir]
            runpy.run_path(script, run_name='__main__')
        """,
        Path(mmdet.__file__).parent / '.mim' / 'tools' / 'train.py',
        *runs,
    )
    for demo in DEMOS:
        assert (tmp_path / demo / 'epoch_1.pth').is_file()


@pytest.mark.parametrize('demo', DEMOS)
def test_every_parameter_of_a_detector_gets_a_gradient(demo, root, configs):
    """DistributedDataParallel needs it without ``find_unused_parameters``."""
    from mmdet.registry import DATASETS, MODELS
    from mmengine.dataset import pseudo_collate
    from mmengine.registry import init_default_scope

    cfg = Config.fromfile(configs / 'detection' / f'{demo}.py')
    init_default_scope('mmdet')
    cfg.train_dataloader.dataset.data_root = str(root)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    model = MODELS.build(cfg.model)
    batch = pseudo_collate([dataset[index] for index in range(4)])
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    model.parse_losses(losses)[0].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []

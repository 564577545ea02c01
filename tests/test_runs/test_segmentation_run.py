"""Segmentation from a generated dataset to predictions, in runs of seconds."""

import json
from pathlib import Path

import cv2
import fresh
import numpy as np
import pytest
import torch
from mmengine.config import Config
from quick_runs import SEGMENTATION_DEMO, run_tool

from casvit import config_path
from casvit_mm.datasets import SemanticShapesDataset
from casvit_mm.datasets.shapes.objects import generate
from casvit_mm.models import read_checkpoint

pytest.importorskip('mmseg')

CLASSES = SemanticShapesDataset.METAINFO['classes']
SHORT = [
    '--cfg-options',
    'train_cfg.max_iters=4',
    'train_cfg.val_interval=4',
    'train_dataloader.batch_size=2',
    'default_hooks.checkpoint.interval=2',
    'default_hooks.logger.interval=1',
]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes')
    generate(folder, num_train=8, num_val=4, size=96, seed=1, progress=False)
    return folder


@pytest.fixture(scope='module')
def work_dir(root, tmp_path_factory):
    """The work dir of a run of four iterations."""
    folder = tmp_path_factory.mktemp('run')
    where = ['--data-root', str(root), '--work-dir', str(folder)]
    assert run_tool('train', [SEGMENTATION_DEMO, *where, *SHORT]) == 0
    return folder


@pytest.fixture(scope='module')
def trained(work_dir):
    """Its config and its checkpoint."""
    return str(work_dir / f'{SEGMENTATION_DEMO}.py'), str(work_dir / 'iter_4.pth')


def scalars(folder):
    """The log lines of the runs in a folder; a test run has its own log file."""
    files = sorted(folder.rglob('scalars.json')) or sorted(folder.rglob('*.json'))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_a_run_leaves_checkpoint_metrics_and_images(work_dir):
    content = read_checkpoint(work_dir / 'iter_4.pth')
    assert content['meta']['dataset_meta']['classes'] == CLASSES
    assert list(work_dir.glob('best_mIoU_*.pth'))
    lines = scalars(work_dir)
    losses = [line['loss'] for line in lines if 'loss' in line]
    assert len(losses) == 4 and np.isfinite(losses).all()
    assert any('mIoU' in line for line in lines)
    images = list((work_dir / 'preview').glob('*.jpg'))
    assert len(images) == 4
    for image in map(cv2.imread, map(str, images)):
        # Small images are enlarged; titles and a legend add to the height.
        assert image.shape[1] > 1.8 * image.shape[0] > 600, 'ground truth next to prediction'


def test_a_run_of_one_process_trains_ordinary_batch_norms(work_dir):
    (log,) = work_dir.rglob('*.log')
    assert 'SyncBN becomes BN' in log.read_text()
    assert Config.fromfile(
        work_dir / f'{SEGMENTATION_DEMO}.py'
    ).model.decode_head.norm_cfg.type == ('SyncBN')


def test_a_run_is_resumed_where_it_stopped(work_dir, root, tmp_path):
    where = ['--data-root', str(root), '--work-dir', str(tmp_path)]
    resume = ['--resume', str(work_dir / 'iter_2.pth')]
    assert run_tool('train', [SEGMENTATION_DEMO, *where, *resume, *SHORT]) == 0
    steps = [line['step'] for line in scalars(tmp_path) if 'loss' in line]
    assert steps == [3, 4]


def test_testing_gives_the_metrics_of_training_and_draws(work_dir, trained, tmp_path):
    drawn = tmp_path / 'drawn'
    arguments = [*trained, '--work-dir', str(tmp_path / 'work'), '--show-dir', str(drawn)]
    assert run_tool('test', arguments) == 0
    (tested,) = [line for line in scalars(tmp_path / 'work') if 'mIoU' in line]
    (validated,) = [line for line in scalars(work_dir) if 'mIoU' in line]
    assert tested['mIoU'] == pytest.approx(validated['mIoU'], abs=0.01)
    assert len(list(drawn.glob('*.jpg'))) == 4


def test_test_time_augmentation_gives_the_table(trained, tmp_path):
    assert run_tool('test', [*trained, '--tta', '--work-dir', str(tmp_path)]) == 0
    (tested,) = [line for line in scalars(tmp_path) if 'mIoU' in line]
    assert 0 <= tested['mIoU'] <= 100


def test_format_only_writes_semantic_masks_and_needs_none(trained, root, tmp_path):
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'val').symlink_to(root / 'val')
    where = ['--data-root', str(tmp_path / 'data'), '--work-dir', str(tmp_path / 'work')]
    out = tmp_path / 'label_maps'
    assert run_tool('test', [*trained, *where, '--format-only', str(out)]) == 0
    written = {path.stem: cv2.imread(str(path), -1) for path in out.glob('*.png')}
    assert written.keys() == {path.stem for path in (root / 'val').iterdir()}
    assert all(labels.shape == (96, 96) for labels in written.values())
    assert max(labels.max() for labels in written.values()) < len(CLASSES)


def test_image_demo_writes_overlay_semantic_mask_and_areas(trained, root, tmp_path, capsys):
    image = sorted((root / 'val').iterdir())[0]
    out = tmp_path / 'out'
    assert run_tool('image_demo', [str(image), *trained, '--out-dir', str(out)]) == 0
    stem = image.stem
    labels = cv2.imread(str(out / f'{stem}_labels.png'), -1)
    assert labels.shape == (96, 96)
    # Enlarged by a whole number; the legend adds to the height.
    assert cv2.imread(str(out / f'{stem}.jpg')).shape[1] == 7 * 96
    records = json.loads((out / f'{stem}.json').read_text())
    assert sum(record['pixels'] for record in records) == 96 * 96
    for record in records:
        assert CLASSES[record['index']] == record['label']
        assert (labels == record['index']).sum() == record['pixels']


def test_image_demo_segments_large_images_in_tiles(trained, root, tmp_path):
    image = cv2.imread(str(sorted((root / 'val').iterdir())[0]))
    cv2.imwrite(str(tmp_path / 'large.png'), np.tile(image, (2, 3, 1)))
    arguments = [str(tmp_path / 'large.png'), *trained, '--tile', '96', '--overlap', '32']
    assert run_tool('image_demo', [*arguments, '--out-dir', str(tmp_path / 'out')]) == 0
    labels = cv2.imread(str(tmp_path / 'out' / 'large_labels.png'), -1)
    assert labels.shape == (192, 288)


@pytest.mark.parametrize('split', ['train', 'val'])
def test_browsing_draws_semantic_masks(root, tmp_path, split):
    arguments = [SEGMENTATION_DEMO, '--data-root', str(root), '--split', split, '--number', '2']
    assert run_tool('browse_dataset', [*arguments, '--out-dir', str(tmp_path)]) == 0
    assert len(list(tmp_path.glob('*.jpg'))) == 2


def test_a_pixel_value_outside_the_classes_stops_with_a_sentence(root, tmp_path, capsys):
    options = [*SHORT, 'model.decode_head.num_classes=7']
    bad = root.parent / 'bad'
    generate(bad, num_train=2, num_val=1, size=64, progress=False)
    labels = cv2.imread(str(bad / 'labels/train/000000.png'), -1)
    labels[3, :5] = 77
    cv2.imwrite(str(bad / 'labels/train/000000.png'), labels)
    where = ['--data-root', str(bad), '--work-dir', str(tmp_path)]
    assert run_tool('train', [SEGMENTATION_DEMO, *where, *options]) == 2
    said = capsys.readouterr().err
    assert '000000.png has the value 77 in 5 pixels' in said and 'Traceback' not in said


def test_inferencers_of_mmseg_take_config_and_checkpoint(trained, root):
    from mmseg.apis import MMSegInferencer, inference_model, init_model

    image = str(sorted((root / 'val').iterdir())[0])
    segmentor = init_model(*trained, device='cpu')
    assert segmentor.dataset_meta['classes'] == CLASSES
    answer = inference_model(segmentor, image).pred_sem_seg.data.squeeze(0)
    inferencer = MMSegInferencer(config_path(SEGMENTATION_DEMO), trained[1], device='cpu')
    np.testing.assert_array_equal(inferencer(image, show=False)['predictions'], answer.numpy())
    weights = read_checkpoint(trained[1])['state_dict']
    assert torch.equal(segmentor.backbone.stem[0].weight, weights['backbone.stem.0.weight'])


FOREIGN = """
_base_ = {base!r}
classes = ('ground', 'circle', 'square', 'triangle', 'star', 'cross', 'ring')
crop_size = (64, 64)
train_pipeline = _base_.train_pipeline
train_pipeline[2] = dict(type='RandomCrop', crop_size=crop_size)
model = dict(
    data_preprocessor=dict(size=crop_size), decode_head=dict(num_classes=len(classes)))
mine = dict(type='BaseSegDataset', data_root={root!r}, metainfo=dict(classes=classes))
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline, **mine))
val_dataloader = dict(dataset=mine)
test_dataloader = val_dataloader
train_cfg = dict(max_iters=2, val_interval=2)
"""


@pytest.fixture
def foreign(root, tmp_path, configs, monkeypatch):
    """A config in a folder of its own, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    config = tmp_path / 'mine.py'
    base = configs / 'segmentation' / f'{SEGMENTATION_DEMO}.py'
    config.write_text(FOREIGN.format(base=str(base), root=str(root)))
    assert len(FOREIGN.strip().splitlines()) < 15
    return config


def trained_classes(work_dir):
    """The classes in the checkpoint of a run of that config."""
    meta = read_checkpoint(work_dir / 'iter_2.pth')['meta']
    assert 'casvit_mm' in meta['cfg']
    return meta['dataset_meta']['classes']


def test_a_config_in_a_foreign_folder_trains(foreign):
    assert run_tool('train', [foreign, '--work-dir', 'work']) == 0
    assert trained_classes(foreign.with_name('work'))[0] == 'ground'


def test_the_train_script_of_mmseg_trains_a_config_in_a_foreign_folder(foreign):
    import mmseg

    script = Path(mmseg.__file__).parent / '.mim' / 'tools' / 'train.py'
    if not script.is_file():
        pytest.skip('this distribution of mmseg comes without its tools')
    fresh.run(
        """
        import runpy, sys

        sys.argv = sys.argv[1:]
        runpy.run_path(sys.argv[0], run_name='__main__')
        """,
        script,
        *(foreign, '--work-dir', 'work'),
    )
    assert trained_classes(foreign.with_name('work'))[0] == 'ground'

"""The checkpoint of a run is all that inference needs."""

import shutil

import pytest
from mmengine.config import Config
from quick_runs import DEMO, run_tool

from casvit import Predictor
from casvit_mm.config.text import escape_braces
from casvit_mm.datasets.shapes.objects import CLASSES as SHAPES
from casvit_mm.inference.saved_config import read_saved_config

CLASSES = ('ground', *SHAPES)


def test_the_checkpoint_of_a_run_predicts_without_its_config(checkpoint, shapes):
    (image, *_) = sorted((shapes / 'val').iterdir())
    alone = Predictor(checkpoint, score_threshold=0.02)
    with_config = Predictor(checkpoint, config=DEMO, score_threshold=0.02)
    assert alone.task == 'instance' and alone.classes == with_config.classes
    assert alone.classes[0] == 'circle'
    one, other = alone(image), with_config(image)
    assert len(one) and one.to_records('a') == other.to_records('a')
    assert Predictor(checkpoint, score_threshold=0.02, fuse=True)(image).names == one.names


@pytest.mark.parametrize('task', ['detection', 'instance', 'semantic'])
def test_the_config_of_a_run_on_own_data_is_read_from_its_checkpoint(
    task, shapes, tmp_path, monkeypatch
):
    pytest.importorskip('supervision')
    monkeypatch.chdir(tmp_path)
    data = shapes
    if task == 'semantic':
        data = tmp_path / 'data'
        for split in ('train', 'val'):
            shutil.copytree(shapes / split, data / 'images' / split)
            shutil.copytree(shapes / 'labels' / split, data / 'masks' / split)
        (data / 'classes.txt').write_text('\n'.join(CLASSES))
    options = ['--task', task, '--batch-size', '2', '--no-train', '--work-dir', 'run']
    assert run_tool('finetune', [data, *options]) == 0
    cfg = Config.fromfile('run/config.py')
    read = read_saved_config(escape_braces(cfg.pretty_text), 'best.pth')
    assert read.model.backbone.arch == cfg.model.backbone.arch
    classes = read.test_dataloader.dataset.metainfo.classes
    assert list(classes) == list(CLASSES if task == 'semantic' else CLASSES[1:])

"""The parts and configs of docs/extend.md work as they stand there."""

import csv
import sys

import cv2
import numpy as np
import pytest
import torch
from documented import python_blocks
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from quick_runs import QUICK, run_tool

from casvit.tables import ARCHITECTURES

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
BLOCKS = python_blocks('docs/extend.md')


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes the part of a section and its config; returns the file of the config."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def written(section):
        part, config = [block for block in BLOCKS if section in block]
        name = f'parts_{section.lower()}'
        (tmp_path / f'{name}.py').write_text(part)
        (line,) = [line for line in config.splitlines() if line.startswith('_base_')]
        command = line.split('# casvit ')[1].split()
        assert run_tool(command[0], command[1:]) == 0
        (tmp_path / 'mine.py').write_text(config.replace('my_parts', name))
        return tmp_path / 'mine.py'

    yield written
    for name in [name for name in sys.modules if name.startswith('parts_')]:
        del sys.modules[name]


def built(file):
    cfg = Config.fromfile(file)
    init_default_scope(cfg.default_scope)
    cfg.model.pop('data_preprocessor')
    # SyncBN needs a process group in training.
    return MODELS.build(Config(dict(model=cfg.model), filename=None).model)


def test_there_is_a_part_and_a_config_for_each_section():
    assert len(BLOCKS) == 1 + 3 * 2


def test_a_token_mixer_of_ones_own_takes_the_place_of_ours(write):
    model = built(write('AverageMixer'))
    mixers = {type(block.mixer).__name__ for stage in model.backbone.stages for block in stage}
    assert mixers == {'AverageMixer'}
    image = torch.rand(1, 3, 64, 96)
    assert [level.shape[1] for level in model.backbone(image)] == list(ARCHITECTURES['xs'].channels)
    mixer = model.backbone.stages[0][0].mixer
    flat = torch.ones(1, 2, 5, 5)
    assert torch.equal(mixer(flat), torch.zeros_like(flat))


def test_a_head_of_ones_own_reads_all_stages(write):
    model = built(write('SumHead')).eval()
    with torch.no_grad():
        logits = model.decode_head(model.backbone(torch.rand(1, 3, 64, 96)))
    assert logits.shape == (1, 150, 16, 24)
    loss = model.train().decode_head(model.backbone(torch.rand(2, 3, 64, 64))).sum()
    loss.backward()
    assert all(layer.weight.grad.abs().sum() > 0 for layer in model.decode_head.layers)


def test_a_dataset_of_ones_own_is_trained_on_and_evaluated(write, tmp_path, capfd):
    file = write('CsvDataset')
    (tmp_path / 'images').mkdir()
    rows = []
    for index in range(4):
        cv2.imwrite(str(tmp_path / f'images/{index}.png'), np.full((64, 96, 3), 40 * index, 'u1'))
        size = dict(file=f'{index}.png', width=96, height=64)
        rows += [
            dict(size, x1=8, y1=8, x2=40, y2=40, **{'class': 'cat'}),
            dict(size, x1=50.5, y1=10, x2=90, y2=60, **{'class': 'dog'}),
        ]
    with (tmp_path / 'boxes.csv').open('w', newline='') as target:
        writer = csv.DictWriter(target, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    small = ['img_scale=(96,64)', 'train_dataloader.dataset.pipeline.2.scale=(96,64)']
    small += [f'{split}_dataloader.dataset.pipeline.1.scale=(96,64)' for split in ('val', 'test')]
    options = ['--from-scratch', *QUICK, *small, 'train_dataloader.batch_size=2']
    assert run_tool('train', [file, *options]) == 0
    said = capfd.readouterr().out
    assert 'mAP' in said
    assert (tmp_path / 'work_dirs/mine/epoch_1.pth').is_file()

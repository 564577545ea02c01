"""The page on images that are not RGB: its config trains, tests and predicts."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from quick_runs import QUICK

from casvit import Predictor

PAGE = Path(__file__).parents[2] / 'docs' / 'bands.md'
FEW = ['train_dataloader.dataset.indices=4', 'val_dataloader.dataset.indices=1']
BASE = 'retinanet_casvit-xs_demo_shapes'


@pytest.fixture
def data(shapes, tmp_path):
    """The generated dataset as PNG files with a fourth band."""
    root = tmp_path / 'data'
    shutil.copytree(shapes / 'annotations', root / 'annotations')
    for split in ('train', 'val'):
        (root / split).mkdir()
        for file in (shapes / split).iterdir():
            rgb = np.asarray(Image.open(file).convert('RGB'))
            bands = np.dstack([rgb[..., ::-1], rgb.mean(2).astype(np.uint8)])
            assert cv2.imwrite(str(root / split / f'{file.stem}.png'), bands)
        annotations = root / 'annotations' / f'instances_{split}.json'
        content = json.loads(annotations.read_text())
        for image in content['images']:
            image['file_name'] = str(Path(image['file_name']).with_suffix('.png'))
        annotations.write_text(json.dumps(content))
    return root


@pytest.fixture
def config(call, tmp_path):
    """The config of the page."""
    assert call('print_config', BASE, '--out', 'base.py').code == 0
    (text,) = re.findall(r'```python\n(_base_.*?)```', PAGE.read_text(), re.DOTALL)
    file = tmp_path / 'my_bands.py'
    # So few steps detect nothing with a score.
    file.write_text(f'{text}\nmodel.update(test_cfg=dict(score_thr=0.0))\n')
    return file


def test_the_config_of_the_page_trains_tests_and_predicts(config, data, call, tmp_path):
    where = ['--data-root', data, '--work-dir', 'run']
    trained = call('train', config, *where, *QUICK, *FEW)
    assert trained.code == 0, trained.err
    assert list((tmp_path / 'run' / 'preview').glob('*.jpg'))
    weights = tmp_path / 'run' / 'epoch_1.pth'
    stem = torch.load(weights, weights_only=False)['state_dict']['backbone.stem.0.weight']
    assert stem.shape[1] == 4

    fewer = 'test_dataloader.dataset.indices=1'
    tested = call('test', config, weights, *where, '--show-dir', 'shown', *QUICK, fewer)
    assert tested.code == 0, tested.err
    assert len(list(tmp_path.glob('shown/*.jpg'))) == 1
    file = sorted((data / 'val').iterdir())[0]
    shown = call('image_demo', file, config, weights, '--out-dir', 'out')
    assert shown.code == 0, shown.err
    assert len(list(tmp_path.glob('out/*.json'))) == 1

    predict = Predictor(weights, config=config, device='cpu', score_threshold=0.0)
    from_file, bands = predict(file), cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    array = bands[..., [2, 1, 0, 3]]
    from_array = predict(array)
    np.testing.assert_allclose(from_file.scores, from_array.scores)
    np.testing.assert_array_equal(from_file.image, array[..., :3])
    # The fourth band matters.
    other = predict(np.dstack([array[..., :3], 255 - array[..., 3]]))
    assert not np.allclose(other.scores[:5], from_file.scores[:5])

    Image.new('RGB', (64, 48)).save('plain.png')
    refused = call('image_demo', 'plain.png', config, weights, '--out-dir', 'out')
    assert refused.code == 2
    assert '3 bands' in refused.err and 'with 4' in refused.err
    assert 'Traceback (most recent' not in refused.err


def test_a_model_of_four_bands_with_the_pipeline_of_rgb_is_refused_before_it_is_built(call, shapes):
    options = ['--cfg-options', 'model.backbone.in_channels=4']
    answer = call('train', BASE, '--data-root', shapes, *options)
    assert answer.code == 2
    assert 'docs/bands.md' in answer.err and 'mean' in answer.err

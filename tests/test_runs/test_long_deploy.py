"""Exported models of trained demos: accuracy, and an environment without torch."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from long_runs import tool

from casvit import Predictor
from casvit.exported.parity import difference

pytestmark = pytest.mark.long
REPOSITORY = Path(__file__).parents[2]
DEMO = 'mask_rcnn_casvit-xs_demo_shapes'


@pytest.fixture(scope='module')
def exported(trained_demo, tmp_path_factory):
    """The trained demo as ONNX for images of any size."""
    out = tmp_path_factory.mktemp('exported') / 'demo.onnx'
    tool('export', DEMO, trained_demo.last, '--dynamic', '--out', out)
    return out


def metrics(said):
    """Box AP and mask AP as the test command prints them."""
    rows = [line.split() for line in said.splitlines() if line.startswith(('box ', 'mask '))]
    return {row[0]: float(row[1]) for row in rows}


def test_the_exported_demo_has_the_accuracy_of_the_checkpoint(trained_demo, exported, tmp_path):
    said, _ = tool('test', DEMO, trained_demo.last, '--work-dir', tmp_path / 'a')
    expected = metrics(said)
    said, _ = tool('test', DEMO, '--backend', exported, '--work-dir', tmp_path / 'b')
    found = metrics(said)
    print(f'checkpoint: {expected}, exported: {found}')
    assert set(expected) == set(found) == {'box', 'mask'} and expected['box'] > 0.4
    for name, value in expected.items():
        assert abs(found[name] - value) <= 0.001


def test_photographs_of_any_shape_get_the_same_objects(trained_demo, exported, photographs):
    files = sorted((photographs / 'coco_mini').rglob('*.jpg'))[:20]
    assert len(files) == 20
    checkpoint, file = Predictor(trained_demo.last, config=DEMO), Predictor(exported)
    objects, worst, pixels = 0, [0.0, 0.0], 0
    for path in files:
        left, right = checkpoint(path), file(path)
        columns = [[each.boxes, each.scores, each.class_ids] for each in (left, right)]
        found = difference('detection', *columns, score_threshold=0.3)
        assert found.unmatched == 0
        objects += found.objects
        worst = [max(worst[0], found.boxes), max(worst[1], found.scores)]
        if len(left) == len(right):
            pixels += int((left.dense_masks != right.dense_masks).sum())
    print(
        f'{objects} objects: boxes {worst[0]:.1e} px, scores {worst[1]:.1e}, {pixels} mask pixels'
    )
    assert objects > 0 and worst[0] < 1e-2 and worst[1] < 1e-4


def test_fifty_images_in_eight_threads_are_bit_for_bit_those_of_one(exported):
    from concurrent.futures import ThreadPoolExecutor

    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (160, 160, 3), np.uint8) for _ in range(50)]
    predict = Predictor(exported, score_threshold=0.05)
    expected = [predict(image) for image in images]

    def all_of_them(_):
        return [predict(image) for image in images]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(all_of_them, range(8)):
            for left, right in zip(expected, found, strict=True):
                assert np.array_equal(left.boxes, right.boxes)
                assert np.array_equal(left.scores, right.scores)
                assert np.array_equal(left.dense_masks, right.dense_masks)


@pytest.mark.parametrize('runtime', ['onnx', 'openvino', 'ncnn'])
def test_a_fresh_environment_without_torch_runs_an_exported_model(
    runtime, trained_demo, exported, tmp_path
):
    if runtime == 'onnx':
        file = exported
    else:
        # A detector for ncnn holds the network only.
        config = DEMO if runtime == 'openvino' else 'casvit-xs_demo_shapes'
        checkpoint = trained_demo.last
        if runtime == 'ncnn':
            from mmengine.config import Config
            from small_models import DEMOS, write_checkpoint

            cfg = Config.fromfile(REPOSITORY / 'configs' / DEMOS['classification'])
            checkpoint = write_checkpoint(cfg, tmp_path / 'classifier.pth', meta={})
        suffix = {'openvino': '.xml', 'ncnn': '.param'}[runtime]
        file = tmp_path / 'files' / f'model{suffix}'
        tool('export', config, checkpoint, '--format', runtime, '--size', 96, '--out', file)
    folder = tmp_path / 'fresh'
    venv.create(folder, with_pip=True)
    python = folder / 'bin' / 'python'
    quiet = ('-q', '--disable-pip-version-check')
    subprocess.run([python, '-m', 'pip', 'install', *quiet, f'{REPOSITORY}[{runtime}]'], check=True)
    code = f"""
import json, sys, time
start = time.perf_counter()
from casvit import Predictor
imported = time.perf_counter() - start
import numpy as np
predict = Predictor({str(file)!r})
result = predict(np.full((120, 160, 3), 90, np.uint8))
print(json.dumps(dict(imported=imported, result=repr(result), heavy=sorted(
    {{'torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'cv2'}} & set(sys.modules)))))
"""
    done = subprocess.run([python, '-c', code], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    listed = subprocess.run(
        [python, '-m', 'pip', 'list', '--format=freeze'], capture_output=True, text=True, check=True
    ).stdout.lower()
    packages = folder / 'lib' / f'python{sys.version_info[0]}.{sys.version_info[1]}'
    size = sum(each.stat().st_size for each in packages.rglob('*') if each.is_file())
    print(f'{runtime}: {size / 1e6:.0f} MB, imported in {said["imported"]:.2f} s, {said["result"]}')
    assert said['heavy'] == [] and 'torch' not in listed and 'mmengine' not in listed
    assert size < 500e6

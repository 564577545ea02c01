"""An exported model in several threads, and in an environment without torch."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from as_trained import checkpoint_as_trained
from long_runs import tool
from PIL import Image

from casvit import Predictor
from casvit.exported.formats import FORMATS
from casvit_mm.datasets.shapes.scenes import paint

pytestmark = pytest.mark.long
REPOSITORY = Path(__file__).parents[2]
DEMO = 'mask_rcnn_casvit-xs_demo_shapes'


@pytest.fixture(scope='module')
def exported(trained_demo, tmp_path_factory):
    """The trained demo as ONNX for images of any size."""
    out = tmp_path_factory.mktemp('exported') / 'demo.onnx'
    tool('export', DEMO, trained_demo.last, '--dynamic', '--out', out)
    return out


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


def turned_images(folder):
    """Files of an image whose camera was turned: read upright, they are higher than wide."""
    files = []
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ('turned.jpg', 'turned.png'):
        scene = paint(np.random.default_rng(3), 200).image[..., ::-1]
        files.append(folder / name)
        Image.fromarray(np.ascontiguousarray(scene[:150])).save(files[-1], exif=exif)
    return files


# Prints what is found in images, in an environment that may have nothing but a runtime.
PREDICTS = """
import json, os, sys, time
networked = []
def watch(event, details):
    if event in ('socket.connect', 'socket.getaddrinfo', 'os.fork', 'subprocess.Popen'):
        networked.append(event)
sys.addaudithook(watch)
start = time.perf_counter()
from casvit import Predictor
imported = time.perf_counter() - start
predict = Predictor(sys.argv[1])
opened = time.perf_counter() - start - imported
results = []
for path in sys.argv[2:]:
    result = predict(path)
    names = ('scores', 'boxes', 'class_ids') if hasattr(result, 'boxes') else ('scores',)
    found = {name: getattr(result, name).tolist() for name in names}
    found['size'] = [result.height, result.width]
    if getattr(result, 'masks', None) is not None:
        found['masks'] = [int(mask.sum()) for mask in result.dense_masks]
    results.append(found)
time.sleep(4)  # Reports would be sent a little later.
print(json.dumps(dict(
    imported=imported, opened=opened, results=results, networked=networked,
    home=os.listdir(os.environ['HOME']),
    heavy=sorted({'torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'cv2', 'openvino_telemetry'}
                 & set(sys.modules)))))
"""


def predictions(python, file, images, home, **env):
    """What the program above prints, run by an interpreter."""
    home.mkdir()
    done = subprocess.run(
        [python, '-c', PREDICTS, file, *images],
        env={'PATH': os.defpath, 'HOME': str(home), **env},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize('runtime', ['onnx', 'openvino', 'ncnn'])
def test_a_fresh_environment_without_torch_runs_an_exported_model(
    runtime, trained_demo, exported, tmp_path
):
    if runtime == 'onnx':
        file = exported
    else:
        # Masks need a format that holds whole detectors.
        config, checkpoint = DEMO, trained_demo.last
        if runtime == 'ncnn':
            config = 'casvit-xs_demo_shapes'
            checkpoint = checkpoint_as_trained(config, tmp_path)
        file = tmp_path / 'files' / f'model{FORMATS[runtime].suffix}'
        tool('export', config, checkpoint, '--format', runtime, '--size', 96, '--out', file)
    folder = tmp_path / 'fresh'
    venv.create(folder, with_pip=True)
    python = folder / 'bin' / 'python'
    quiet = ('-q', '--disable-pip-version-check')
    subprocess.run([python, '-m', 'pip', 'install', *quiet, f'{REPOSITORY}[{runtime}]'], check=True)
    images = turned_images(tmp_path)
    said = predictions(python, file, images, tmp_path / 'home')
    here = predictions(
        sys.executable, file, images, tmp_path / 'home here', PYTHONPATH=str(REPOSITORY)
    )
    listed = subprocess.run(
        [python, '-m', 'pip', 'list', '--format=freeze'], capture_output=True, text=True, check=True
    ).stdout.lower()
    packages = folder / 'lib' / f'python{sys.version_info[0]}.{sys.version_info[1]}'
    size = sum(each.stat().st_size for each in packages.rglob('*') if each.is_file())
    print(
        f'{runtime}: {size / 1e6:.0f} MB, imported in {said["imported"]:.2f} s, '
        f'opened in {said["opened"]:.2f} s, {[len(each["scores"]) for each in said["results"]]}'
    )
    assert len(said['results']) == len(here['results']) == len(images)
    for result, expected in zip(said['results'], here['results'], strict=True):
        assert result['size'] == expected['size'] == [200, 150] and len(result['scores']) > 0
        assert result.get('class_ids') == expected.get('class_ids')
        # Another version of the runtime may round differently.
        for name, limit in (('scores', 1e-4), ('boxes', 1e-2), ('masks', 2)):
            assert np.allclose(result.get(name, 0), expected.get(name, 0), rtol=0, atol=limit)
    assert said['heavy'] == [] and 'torch' not in listed and 'mmengine' not in listed
    assert said['networked'] == [] and said['home'] == []
    assert size < 500e6

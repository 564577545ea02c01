"""`casvit image_demo` runs exported models, without config, PyTorch and OpenMMLab."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from casvit.backends import onnxruntime
from casvit.errors import UserError
from casvit.exported.description import KEY, Description
from casvit.exported.formats import FORMATS

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

REPOSITORY = Path(__file__).parents[2]


def saved(path, task, outputs, **said):
    """An ONNX file that finds the same in every image."""
    image = helper.make_tensor_value_info('image', TensorProto.UINT8, [1, 3, 'height', 'width'])
    nodes, given, constants = [], [], []
    for name, value in outputs.items():
        constants.append(numpy_helper.from_array(value, f'{name}_value'))
        nodes.append(helper.make_node('Identity', [f'{name}_value'], [name]))
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        given.append(helper.make_tensor_value_info(name, kind, value.shape))
    graph = helper.make_graph(nodes, 'network', [image], given, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9)
    description = Description(
        format='onnx',
        task=task,
        model='a model',
        classes=('cat', 'dog'),
        palette=((250, 0, 0), (0, 250, 0)),
        size=None,
        batch=1,
        preparation=(),
        **said,
    )
    helper.set_model_props(model, {KEY: description.to_json()})
    onnx.save(model, str(path))
    return path


@pytest.fixture(scope='module')
def boxes(tmp_path_factory):
    """A detector that finds a cat of score 0.8 and dogs of 0.45 and 0.1; it leaves out the last."""
    outputs = dict(
        boxes=np.array([[2, 3, 30, 20], [5, 5, 9, 9], [1, 1, 4, 4]], np.float32),
        scores=np.array([0.8, 0.45, 0.1], np.float32),
        labels=np.array([0, 1, 1], np.int64),
    )
    path = tmp_path_factory.mktemp('boxes') / 'model.ONNX'
    return saved(path, 'detection', outputs, score_threshold=0.2)


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'image.png')
    return tmp_path / 'image.png'


def labels(folder):
    records = json.loads((folder / 'image.json').read_text())
    return [(record['label'], round(record['score'], 2)) for record in records]


def test_an_exported_model_needs_neither_config_nor_torch_nor_openmmlab(boxes, image, tmp_path):
    code = f"""
        import sys
        for name in ('torch', 'mmengine', 'mmcv', 'mmdet', 'cv2', 'casvit_mm'):
            sys.modules[name] = None
        from casvit.cli.main import main
        sys.exit(main(['image_demo', 'image.png', {str(boxes)!r}, '--out-dir', 'out']))
    """
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        cwd=tmp_path,
        env={'PYTHONPATH': str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stderr == '', done.stderr
    assert done.stdout == '2 detections in 1 image(s): out\n'
    assert labels(tmp_path / 'out') == [('cat', 0.8), ('dog', 0.45)]
    with Image.open(tmp_path / 'out/image.jpg') as drawn:
        assert drawn.width % 60 == 0


@pytest.mark.parametrize(
    ('options', 'found'),
    [
        ([], ['cat', 'dog']),
        (['--score-thr', '0'], ['cat', 'dog', 'dog']),
        (['--score-thr', '0.5', '--device', 'cpu', '--batch-size', '4'], ['cat']),
        (['--score-thr', '0.9'], []),
    ],
    ids=str,
)
def test_scores_below_what_the_file_says_are_left_out_by_default(
    options, found, boxes, image, call, tmp_path
):
    answer = call('image_demo', image, boxes, '--out-dir', tmp_path / 'out', *options)
    assert answer.code == 0, answer.err
    assert [label for label, _ in labels(tmp_path / 'out')] == found
    assert ('None has a score of 0.9 or more' in answer.out) is not found


def test_the_message_about_no_detection_names_the_score_that_the_file_says(image, call, tmp_path):
    nothing = dict(
        boxes=np.zeros((1, 4), np.float32),
        scores=np.array([0.5], np.float32),
        labels=np.zeros(1, np.int64),
    )
    file = saved(tmp_path / 'a.onnx', 'detection', nothing, score_threshold=0.75)
    answer = call('image_demo', image, file, '--out-dir', 'out')
    assert answer.code == 0 and 'None has a score of 0.75 or more' in answer.out


def test_a_video_of_an_exported_model_gives_a_video_and_records(boxes, call, tmp_path):
    pytest.importorskip('cv2')
    from casvit import VideoWriter

    with VideoWriter(tmp_path / 'clip.mp4', 10) as writer:
        for _ in range(3):
            writer.write(np.full((48, 64, 3), 90, np.uint8))
    answer = call('image_demo', 'clip.mp4', boxes, '--out-dir', 'out')
    assert answer.code == 0 and '6 detections in 3 frames' in answer.out, answer.err
    records = json.loads((tmp_path / 'out/clip.json').read_text())
    assert [record['frame'] for record in records] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    'options',
    [
        ['--fuse'],
        ['--compile'],
        ['--precision', 'bf16'],
        ['--size', 'm'],
        ['--data-root', 'data'],
        ['--cfg-options', 'a=1'],
        ['--fuse', '--data-root', 'data'],
    ],
    ids=' '.join,
)
def test_options_of_checkpoints_are_refused_with_an_exported_model(options, boxes, image, call):
    answer = call('image_demo', image, boxes, *options)
    names = ' and '.join(each for each in options if each.startswith('--'))
    assert answer.code == 2 and not Path('outputs').exists()
    assert f'error: {names}: for checkpoints only. {boxes} is an exported model' in answer.err
    assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize(
    ('models', 'message'),
    [
        (['my.py'], r'Name the CHECKPOINT after the config my\.py; or an exported model .*\.onnx'),
        (['my.py', 'FILE'], r'model\.ONNX is an exported model, .* leave out my\.py'),
        (['FILE', 'a.pth'], r'model\.ONNX is an exported model, .* leave out a\.pth'),
        (['gone.onnx'], r'gone\.onnx does not exist'),
        (['folder.mlpackage'], r'type of the model folder\.mlpackage is not supported'),
    ],
    ids=str,
)
def test_models_that_do_not_go_together_are_a_sentence(models, message, boxes, image, call):
    models = [str(boxes) if each == 'FILE' else each for each in models]
    answer = call('image_demo', image, *models)
    assert answer.code == 2 and re.search(message, answer.err), answer.err
    assert len(answer.err.splitlines()) == 1 and not Path('outputs').exists()


def test_a_checkpoint_may_come_after_options(boxes, image, call):
    answer = call('image_demo', image, 'my.py', '--tile', '9', boxes)
    assert answer.code == 2 and 'leave out my.py' in answer.err


def test_trust_reaches_the_file(boxes, image, call, monkeypatch):
    seen = []

    def load(model, **options):
        seen.append(options['trust'])
        raise UserError('stop')

    monkeypatch.setattr(onnxruntime, 'load', load)
    for options in ([], ['--trust']):
        assert call('image_demo', image, boxes, *options).code == 2
    assert seen == [False, True]


def test_the_help_names_both_forms_and_every_suffix(call):
    text = call('image_demo', '--help').out
    assert 'INPUT CONFIG|FILE [CHECKPOINT]' in text
    assert 'image_demo photo.jpg CONFIG CHECKPOINT' in text
    assert 'image_demo photos/ model.onnx' in text
    assert all(each.suffix in text for each in FORMATS.values())

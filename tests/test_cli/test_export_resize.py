"""A file that was exported with --resize needs no preparation of images, and says so."""

import json
from pathlib import Path

import numpy as np
import pytest
from documented import python_blocks
from mmengine.config import Config
from PIL import Image
from small_models import write_checkpoint

from casvit import Predictor
from casvit.cli.main import run_tool
from casvit.configs import find_config
from casvit.exported.description import KEY, ExportedModelError
from casvit.exported.parity import difference
from casvit_mm.datasets.shapes.scenes import paint

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

MASKS = 'mask_rcnn_casvit-xs_light_demo_shapes'
BOXES = 'retinanet_casvit-xs_light_demo_shapes'
CLASSES = 'casvit-xs_8xb128_in1k'
SIDE = 128


def exported(folder, name, *options):
    """A config whose pipeline makes all images one size, a checkpoint, and the exported file."""
    cfg = Config.fromfile(find_config(name))
    if name == BOXES:
        # Scores of random weights are low.
        cfg.model.test_cfg.score_thr = 0.01
    steps = cfg.test_dataloader.dataset.pipeline
    (place,) = (place for place, step in enumerate(steps) if 'scale' in step)
    steps[place].update(scale=(SIDE, SIDE), keep_ratio=True)
    # Blue, green, red.
    steps.insert(place + 1, dict(type='Pad', size=(SIDE, SIDE), pad_val=dict(img=(104, 116, 124))))
    checkpoint = write_checkpoint(cfg, folder / f'{name}.pth', meta={})
    config = folder / f'{name}.py'
    assert cfg.dump(config) is None
    arguments = [config, checkpoint, '--resize', *options]
    assert run_tool('export', [str(each) for each in arguments]) == 0
    return config, checkpoint, checkpoint.with_suffix('.onnx')


@pytest.fixture(scope='module')
def boxes(tmp_path_factory):
    """RetinaNet of the light family."""
    return exported(tmp_path_factory.mktemp('boxes'), BOXES)


def picture(kind, path):
    """Writes an image and gives its path."""
    image = Image.fromarray(np.ascontiguousarray(paint(np.random.default_rng(1), 240).image))
    size = {'tall': (150, 301), 'wide': (401, 155), 'exactly double': (2 * SIDE, SIDE)}.get(kind)
    image = image.resize(size) if size else image
    options = {}
    if kind == 'turned jpeg':
        image = image.resize((240, 130))
        options['exif'] = Image.Exif()
        options['exif'][0x0112] = 6
    if kind == 'grey png':
        image = image.convert('L')
    file = path / ('image.png' if 'png' in kind else 'image.jpg')
    image.save(file, **options)
    return file


def assert_same(left, right):
    columns = [[each.boxes, each.scores, each.class_ids] for each in (left, right)]
    found = difference('detection', *columns)
    assert found.unmatched == 0 and found.boxes < 1e-2 and found.scores < 1e-4
    assert len(left) == len(right) > 0
    if left.masks is not None:
        assert (left.dense_masks != right.dense_masks).sum() <= 2 * len(left)


KINDS = ['jpeg', 'grey png', 'turned jpeg', 'tall', 'wide', 'exactly double']


@pytest.mark.parametrize('kind', KINDS)
def test_images_of_any_shape_get_the_answers_of_the_checkpoint(kind, boxes, tmp_path):
    config, checkpoint, file = boxes
    path = picture(kind, tmp_path)
    assert_same(
        Predictor(checkpoint, config=config, score_threshold=0.02)(path),
        Predictor(file, score_threshold=0.02)(path),
    )


@pytest.mark.long
@pytest.mark.parametrize('format_name', ['onnx', 'openvino'])
def test_masks_are_those_of_the_checkpoint(format_name, tmp_path):
    config, checkpoint, file = exported(tmp_path, MASKS, '--format', format_name)
    file = file if format_name == 'onnx' else file.with_suffix('.xml')
    for kind in KINDS:
        path = picture(kind, tmp_path)
        options = dict(score_threshold=0.05)
        assert_same(
            Predictor(checkpoint, config=config, **options)(path), Predictor(file, **options)(path)
        )


def test_the_example_of_the_documentation_gives_what_the_predictor_gives(
    boxes, monkeypatch, tmp_path
):
    (example,) = (each for each in python_blocks('docs/deploy.md') if 'onnxruntime' in each)
    (tmp_path / 'epoch_9.onnx').write_bytes(boxes[2].read_bytes())
    picture('turned jpeg', tmp_path).rename(tmp_path / 'street.jpg')
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(example, names)
    expected = Predictor('epoch_9.onnx', score_threshold=0)('street.jpg')
    assert np.array_equal(names['boxes'], expected.boxes)
    assert np.array_equal(names['scores'], expected.scores)
    assert np.array_equal(names['labels'], expected.class_ids)


def test_the_file_says_that_it_resizes(boxes):
    (entry,) = onnx.load(str(boxes[2])).metadata_props
    said = json.loads(entry.value)
    assert entry.key == KEY and said['resizes'] is True and said['size'] == [SIDE, SIDE]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(resizes=False), 'takes images of any x any pixels, but .* says 128 x 128'),
        (dict(task='instance'), 'inputs or outputs'),
        (dict(size=[64, 64]), 'another size than that of its preparation'),
        (dict(size=None), 'another size than that of its preparation'),
        (dict(batch=None), 'not one image at a time'),
        (dict(resizes='inside'), 'not one image at a time'),
        (dict(preparation=[]), 'only bilinear resizing'),
        (dict(mask_stride=8), 'padding'),
    ],
    ids=str,
)
def test_a_description_that_does_not_belong_to_the_graph_is_a_sentence(
    changes, message, boxes, tmp_path
):
    model = onnx.load(str(boxes[2]))
    said = {**json.loads(model.metadata_props[0].value), **changes}
    onnx.helper.set_model_props(model, {KEY: json.dumps(said)})
    onnx.save(model, str(tmp_path / 'a.onnx'))
    with pytest.raises(ExportedModelError, match=message):
        Predictor(tmp_path / 'a.onnx')


@pytest.mark.parametrize(
    ('config', 'options', 'message'),
    [
        (BOXES, ['--dynamic'], '--dynamic leaves their size as it is: use --resize if'),
        (BOXES, ['--raw'], 'leave out --raw or --resize'),
        (BOXES, ['--format', 'ncnn'], 'the resizing of images in fp32. These can: ONNX, OpenVINO.'),
        (MASKS, ['--format', 'torchscript'], 'in fp32. These can: ONNX, OpenVINO.'),
        (BOXES, ['--format', 'openvino', '--half'], 'images in fp16. These can: ONNX.'),
        ('rtmdet_ins_casvit', [], 'it can with Mask R-CNN, detectors without masks, and segmentor'),
        (CLASSES, [], '--resize cannot be used with this model: only bilinear resizing'),
    ],
    ids=str,
)
def test_what_cannot_be_resized_inside_is_said_before_the_checkpoint_is_read(
    config, options, message, call
):
    answer = call('export', config, 'no_such_checkpoint.pth', '--resize', *options)
    assert answer.code == 2 and message in ' '.join(answer.err.split()), answer.err
    assert 'Traceback' not in answer.err and not list(Path().iterdir())

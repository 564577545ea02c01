"""Exported models answer like the models that they are made from, and need no PyTorch."""

import json
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from quick_runs import QUICK
from small_models import write_checkpoint

from casvit import Predictor
from casvit.backends.onnxruntime import OnnxRuntime
from casvit.cli.main import run_tool
from casvit.configs import find_config
from casvit.errors import UserError
from casvit.exported import parity
from casvit.exported.description import KEY, OUTPUTS, ExportedModelError
from casvit.exported.parity import difference
from casvit_mm.datasets.shapes.scenes import paint

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

MASKS = 'mask_rcnn_casvit-xs_light_demo_shapes'
BOXES = 'retinanet_casvit-xs_light_demo_shapes'
CLASSES = 'casvit-xs_demo_shapes'
REPOSITORY = Path(__file__).parents[2]


def exported(folder, name, *options, format_name='onnx'):
    """A checkpoint with random weights, the file exported from it, and what was printed."""
    cfg = Config.fromfile(find_config(name))
    for head in (cfg.model.get('roi_head'), cfg.model.get('bbox_head')):
        if head is not None and name == BOXES:
            # Scores of random weights are low.
            cfg.model.test_cfg.score_thr = 0.01
    checkpoint = write_checkpoint(cfg, folder / f'{name}.pth', meta={})
    written = cfg.dump(folder / f'{name}.py')
    assert written is None
    arguments = [folder / f'{name}.py', checkpoint, '--format', format_name, *options]
    assert run_tool('export', [str(each) for each in arguments]) == 0
    return checkpoint


@pytest.fixture(scope='module')
def masks(tmp_path_factory):
    """Mask R-CNN of the light family, for images of any size: its config, checkpoint and file."""
    folder = tmp_path_factory.mktemp('masks')
    checkpoint = exported(folder, MASKS, '--dynamic')
    return folder / f'{MASKS}.py', checkpoint, checkpoint.with_suffix('.onnx')


@pytest.fixture(scope='module')
def boxes(tmp_path_factory):
    """RetinaNet of the light family, for one size."""
    folder = tmp_path_factory.mktemp('boxes')
    checkpoint = exported(folder, BOXES, '--size', '96', '128')
    return folder / f'{BOXES}.py', checkpoint, checkpoint.with_suffix('.onnx')


@pytest.fixture(scope='module')
def classes(tmp_path_factory):
    """A classifier, for images and batches of any size."""
    folder = tmp_path_factory.mktemp('classes')
    checkpoint = exported(folder, CLASSES, '--dynamic')
    return folder / f'{CLASSES}.py', checkpoint, checkpoint.with_suffix('.onnx')


def shapes_image(side=160, seed=1):
    return np.ascontiguousarray(paint(np.random.default_rng(seed), side).image[..., ::-1])


def compare(left, right):
    """The difference between two results in pixels of the image, and of their masks."""
    columns = [[each.boxes, each.scores, each.class_ids] for each in (left, right)]
    found = difference('detection', *columns)
    assert found.unmatched == 0 and found.boxes < 1e-2 and found.scores < 1e-4
    assert len(left) == len(right) > 0
    if left.masks is not None:
        assert (left.dense_masks != right.dense_masks).sum() <= 2 * len(left)


@pytest.mark.parametrize('kind', ['jpeg', 'png', 'turned jpeg', 'tall', 'wide', 'grey'])
def test_images_of_any_shape_get_the_answers_of_the_checkpoint(kind, masks, tmp_path):
    config, checkpoint, file = masks
    image = Image.fromarray(shapes_image(240))
    image = {'tall': image.resize((150, 300)), 'wide': image.resize((401, 155))}.get(kind, image)
    path = tmp_path / ('image.png' if kind == 'png' else 'image.jpg')
    options = {}
    if kind == 'turned jpeg':
        options['exif'] = Image.Exif()
        options['exif'][0x0112] = 6
    if kind == 'grey':
        image = image.convert('L')
    image.save(path, **options)
    options = dict(score_threshold=0.05)
    compare(Predictor(checkpoint, config=config, **options)(path), Predictor(file, **options)(path))


@torch.no_grad()
def test_a_file_for_one_size_gets_every_image_padded_to_it(boxes):
    _, _, file = boxes
    model = Predictor(file, score_threshold=0.02)
    assert repr(model) == '<Predictor: detection, 6 classes, cpu, fp32>'
    for height, width in ((96, 128), (300, 120), (50, 400)):
        image = np.asarray(Image.fromarray(shapes_image()).resize((width, height)))
        result = model(image)
        assert len(result) > 0 and (result.height, result.width) == (height, width)
        # Objects in the padding would lie outside.
        assert result.boxes[:, 0].max() < width and result.boxes[:, 1].max() < height


def test_inputs_outputs_and_dimensions_have_names(masks, boxes, classes):
    expected = {
        masks: (
            [1, 3, 'height', 'width'],
            {
                'boxes': ['objects', 4],
                'scores': ['objects'],
                'labels': ['objects'],
                'masks': ['objects', 20, 20],
            },
        ),
        boxes: (
            [1, 3, 96, 128],
            {'boxes': ['objects', 4], 'scores': ['objects'], 'labels': ['objects']},
        ),
        classes: (['batch', 3, 'height', 'width'], {'probabilities': ['batch', 6]}),
    }
    for (_, _, file), (image, outputs) in expected.items():
        session = OnnxRuntime(str(file)).session
        (given,) = session.get_inputs()
        assert (given.name, given.type, given.shape) == ('image', 'tensor(uint8)', image)
        assert {each.name: each.shape for each in session.get_outputs()} == outputs


def test_only_standard_operators_are_used(masks, boxes):
    for _, _, file in (masks, boxes):
        model = onnx.load(str(file))
        assert {node.domain for node in model.graph.node} == {''}
        assert {each.domain: each.version for each in model.opset_import} == {'': 18}
        assert not model.functions
        assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_the_file_holds_no_paths_of_the_machine_that_wrote_it(masks, boxes, classes):
    for *_, file in (masks, boxes, classes):
        content = file.read_bytes()
        assert b'site-packages' not in content and b'casvit_mm/' not in content
        assert str(Path(__file__).parents[2]).encode() not in content


def test_the_file_says_what_it_is(masks):
    config, checkpoint, file = masks
    (entry,) = onnx.load(str(file)).metadata_props
    said = json.loads(entry.value)
    assert entry.key == KEY and said['task'] == 'instance' and len(said['classes']) == 6
    assert said['model'] == 'MaskRCNN with CAS-ViT-XS' and said['size'] is None
    digest = subprocess.run(['sha256sum', checkpoint], capture_output=True, text=True, check=True)
    assert said['weights_sha256'] == digest.stdout.split()[0]
    assert Predictor(file).palette == Predictor(checkpoint, config=config).palette


def test_batches_and_threads_do_not_change_a_bit(classes, masks):
    images = [shapes_image(96, seed) for seed in range(12)]
    alone = [Predictor(classes[2])(image).scores for image in images]
    for answers in ([each.scores for each in Predictor(classes[2], batch_size=5)(images)],):
        assert np.allclose(answers, alone, atol=1e-6)
    model = Predictor(masks[2], score_threshold=0.05)
    expected = [model(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(model, images * 4))
    for left, right in zip(expected * 4, found, strict=True):
        assert np.array_equal(left.boxes, right.boxes)
        assert np.array_equal(left.scores, right.scores)
        assert np.array_equal(left.dense_masks, right.dense_masks)


def test_a_file_runs_where_neither_torch_nor_openmmlab_nor_opencv_can_be_imported(
    masks, classes, tmp_path
):
    image = tmp_path / 'image.png'
    Image.fromarray(shapes_image()).save(image)
    code = f"""
        import sys
        for name in ('torch', 'mmengine', 'mmcv', 'mmdet', 'cv2', 'scipy', 'casvit_mm'):
            sys.modules[name] = None
        from casvit import Predictor
        objects = Predictor({str(masks[2])!r}, score_threshold=0.05)({str(image)!r})
        print(len(objects), objects.dense_masks.shape)
        print(Predictor({str(classes[2])!r})({str(image)!r}).scores.sum())
    """
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        env={'PYTHONPATH': str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    count, shape = re.match(r'(\d+) (\(.*\))', done.stdout).groups()
    assert int(count) > 0 and shape == f'({count}, 160, 160)'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--size', '64', '--dynamic'], '--dynamic takes images of any size'),
        (['--size', '64', '96', '128'], 'a height and a width'),
        (['--size', '8'], 'at least 32 pixels'),
        (['--out', 'model.pth'], r'must end in \.onnx'),
        (['--sample', 'nothing.jpg'], r'nothing\.jpg'),
        (['--format', 'ncnn', '--dynamic'], 'any size. These can: ONNX, OpenVINO'),
        (['--format', 'executorch', '--half'], 'fp16 numbers. These can: ONNX,'),
    ],
    ids=str,
)
def test_options_that_do_not_go_together_are_a_sentence(options, message, boxes, call):
    config, checkpoint, _ = boxes
    before = sorted(checkpoint.parent.iterdir())
    answer = call('export', config, checkpoint, *options)
    assert answer.code == 2 and re.search(message, answer.err), answer.err
    assert 'Traceback' not in answer.err
    assert sorted(checkpoint.parent.iterdir()) == before and not list(Path().iterdir())


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (CLASSES, 'does not fit|do not fit|lacks'),
        ('dino_casvit', 'does not fit|do not fit|lacks|cannot be exported'),
        ('no_such_config', 'no_such_config'),
    ],
)
def test_a_checkpoint_of_another_model_is_a_sentence(config, message, boxes, call):
    answer = call('export', config, boxes[1], '--out', 'a.onnx', '--size', '64')
    assert answer.code == 2 and re.search(message, answer.err), answer.err
    assert 'Traceback' not in answer.err and not list(Path().iterdir())


def test_a_file_that_answers_something_else_is_not_kept(classes, call, monkeypatch):
    config, checkpoint, _ = classes
    strict = replace(parity.TOLERANCES['fp32'], scores=-1.0)
    monkeypatch.setitem(parity.TOLERANCES, 'fp32', strict)
    answer = call('export', config, checkpoint, '--size', '64', '--out', 'sub/a.onnx')
    assert answer.code == 2 and 'does not answer like PyTorch' in answer.err
    assert 'it was not kept' in answer.err.replace('\n', ' ') and not list(Path('sub').iterdir())


def changed(file, target, **changes):
    """A copy of a file whose description says something else."""
    model = onnx.load(str(file))
    said = {**json.loads(model.metadata_props[0].value), **changes}
    onnx.helper.set_model_props(model, {KEY: json.dumps(said)})
    onnx.save(model, str(target))
    return target


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(version=7), 'was exported by version'),
        (dict(task='semantic'), 'inputs or outputs'),
        (dict(size=[64, 64]), 'says 64 x 64'),
        (dict(classes=[]), 'invalid'),
    ],
    ids=str,
)
def test_a_description_that_does_not_belong_to_the_graph_is_a_sentence(
    changes, message, boxes, tmp_path
):
    file = changed(boxes[2], tmp_path / 'a.onnx', **changes)
    with pytest.raises(ExportedModelError, match=message):
        Predictor(file)


def test_fewer_classes_than_the_network_has_are_a_sentence(classes, boxes, tmp_path):
    few = dict(classes=['one'], palette=[[0, 0, 0]])
    for file in (classes[2], boxes[2]):
        model = Predictor(changed(file, tmp_path / 'a.onnx', **few), score_threshold=0.0)
        with pytest.raises(UserError, match='its description belongs to another model'):
            model(shapes_image())


@pytest.mark.parametrize('kind', ['empty', 'text', 'truncated', 'without description', 'missing'])
def test_a_file_that_is_no_exported_model_is_a_sentence(kind, classes, tmp_path):
    file = tmp_path / 'a.onnx'
    content = classes[2].read_bytes()
    if kind == 'without description':
        model = onnx.load(str(classes[2]))
        del model.metadata_props[:]
        onnx.save(model, str(file))
    elif kind != 'missing':
        parts = dict(empty=b'', text=b'weights', truncated=content[: len(content) // 2])
        file.write_bytes(parts[kind])
    with pytest.raises(ExportedModelError, match=r'a\.onnx'):
        Predictor(file)


def test_weights_outside_the_folder_of_a_file_are_refused(classes, tmp_path):
    model = onnx.load(str(classes[2]))
    inside = tmp_path / 'inside'
    inside.mkdir()
    onnx.save_model(model, str(inside / 'a.onnx'), save_as_external_data=True, location='a.data')
    assert Predictor(inside / 'a.onnx')(shapes_image()).scores.sum() == pytest.approx(1)
    (inside / 'a.data').rename(tmp_path / 'a.data')
    model = onnx.load(str(inside / 'a.onnx'), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == 'location':
                entry.value = '../a.data'
    (inside / 'a.onnx').write_bytes(model.SerializeToString())
    with pytest.raises(ExportedModelError, match=r'a\.onnx'):
        Predictor(inside / 'a.onnx')


@pytest.mark.parametrize(
    'options', [dict(config='a'), dict(fuse=True), dict(precision='bf16'), dict(weights='ema')]
)
def test_options_of_checkpoints_are_refused_for_exported_models(options, classes):
    with pytest.raises(UserError, match='is for checkpoints'):
        Predictor(classes[2], **options)


def test_a_device_that_the_runtime_lacks_is_a_sentence(classes):
    with pytest.raises(UserError, match='ONNX Runtime has only'):
        Predictor(classes[2], device='tpu')


def test_a_missing_runtime_is_named_with_what_installs_it(classes, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(UserError, match=r"needs? onnxruntime.*pip install 'casvit-mm\[onnx\]'"):
        Predictor(classes[2])


def test_evaluators_give_an_exported_model_the_scores_of_its_checkpoint(masks, shapes, call):
    config, checkpoint, file = masks
    options = ['--data-root', shapes, *QUICK]
    answers = [
        call('test', config, checkpoint, *options),
        call('test', config, '--backend', file, *options),
    ]
    tables = []
    for answer in answers:
        assert answer.code == 0, answer.err
        tables.append(re.findall(r'^(?:box|mask) .*$', answer.out, re.MULTILINE))
    assert len(tables[0]) == 2 and tables[0] == tables[1]
    assert 'MaskRCNN with CAS-ViT-XS, exported' in answers[1].out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'Name the CHECKPOINT to test, or an exported model'),
        (['a.pth', '--backend', 'a.onnx'], 'not both'),
        (['--backend', 'a.onnx', '--tta', '--fuse'], '--fuse and --tta|--tta and --fuse'),
        (['--backend', 'a.onnx'], r'a\.onnx does not exist'),
        (['--backend', 'a.xyz'], r'type of the model a\.xyz is not supported'),
    ],
    ids=str,
)
def test_what_cannot_be_tested_as_an_exported_model_is_a_sentence(
    arguments, message, masks, shapes, call
):
    answer = call('test', masks[0], *arguments, '--data-root', shapes, *QUICK)
    assert answer.code == 2 and re.search(message, answer.err), answer.err
    assert 'Traceback' not in answer.err


def test_every_task_has_its_outputs():
    assert set(OUTPUTS) == {'detection', 'instance', 'semantic', 'classification'}

"""Formats besides ONNX and OpenVINO: each holds what the table of formats says, and no more."""

import errno
import json
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from small_models import write_checkpoint

from casvit import Predictor
from casvit.cli.main import run_tool
from casvit.configs import find_config
from casvit.errors import UserError
from casvit.exported.description import KEY, RAW_OUTPUTS, ExportedModelError
from casvit.exported.formats import FORMATS
from casvit.exported.parity import difference
from casvit_mm.datasets.shapes.scenes import paint

CLASSES = 'casvit-xs_demo_shapes'
BOXES = 'retinanet_casvit-xs_light_demo_shapes'
MASKS = 'mask_rcnn_casvit-xs_light_demo_shapes'
REPOSITORY = Path(__file__).parents[2]
NEEDS = {
    'ncnn': 'pnnx',
    'executorch': 'executorch',
    'coreml': 'coremltools',
    'onnx': 'onnxscript',
    'openvino': 'onnxscript',
}


def image(side=160, seed=1):
    return np.ascontiguousarray(paint(np.random.default_rng(seed), side).image[..., ::-1])


def exported(name, format_name, folder, *options):
    """A config with low thresholds, a checkpoint with random weights, and the exported file."""
    if package := NEEDS.get(format_name):
        pytest.importorskip(package)
        pytest.importorskip(FORMATS[format_name].package)
    cfg = Config.fromfile(find_config(name))
    if name == BOXES:
        # Scores of random weights are low.
        cfg.model.test_cfg.score_thr = 0.01
        (resize,) = (each for each in cfg.test_dataloader.dataset.pipeline if 'scale' in each)
        resize.update(scale=(128, 96), keep_ratio=False)
    checkpoint = write_checkpoint(cfg, folder / f'{name}.pth', meta={})
    config = folder / f'{name}.py'
    assert cfg.dump(config) is None
    arguments = [config, checkpoint, '--format', format_name, *options]
    assert run_tool('export', [str(each) for each in arguments]) == 0
    return config, checkpoint, checkpoint.with_suffix(FORMATS[format_name].suffix)


def answers(config, checkpoint, file, **options):
    """What a checkpoint and the file exported from it say of an image of the network's size."""
    size = Predictor(file, **options).backend.description.size
    picture = image(max(size))[: size[0], : size[1]]
    return (
        Predictor(checkpoint, config=config, score_threshold=0.02)(picture),
        Predictor(file, score_threshold=0.02, **options)(picture),
    )


def assert_same_objects(left, right):
    found = difference(
        'detection', *([each.boxes, each.scores, each.class_ids] for each in (left, right)), 0.02
    )
    assert found.objects > 0 and found.unmatched == 0
    assert found.boxes < 1e-2 and found.scores < 1e-4


@pytest.fixture(scope='module')
def ncnn_boxes(tmp_path_factory):
    """RetinaNet of the light family in ncnn."""
    return exported(BOXES, 'ncnn', tmp_path_factory.mktemp('ncnn'))


@pytest.fixture(scope='module')
def openvino(tmp_path_factory):
    """A classifier in OpenVINO."""
    return exported(CLASSES, 'openvino', tmp_path_factory.mktemp('openvino'), '--size', '64')


@pytest.fixture(scope='module')
def script(tmp_path_factory):
    """A classifier in TorchScript."""
    return exported(CLASSES, 'torchscript', tmp_path_factory.mktemp('script'), '--size', '64')


def test_a_classifier_answers_the_same_in_torchscript(script):
    left, right = answers(*script, trust=True)
    assert np.allclose(left.scores, right.scores, atol=1e-5) and right.scores.max() > 0.2


def test_a_classifier_answers_the_same_in_openvino(openvino):
    left, right = answers(*openvino)
    assert np.allclose(left.scores, right.scores, atol=1e-5) and right.scores.max() > 0.2


def test_runtimes_that_report_their_use_are_kept_from_it(openvino, tmp_path):
    pytest.importorskip('onnxruntime')
    # Without a network, all that is left of a report is the identifier of the user.
    code = f"""
        import sys
        from casvit import Predictor
        from casvit.backends.onnxruntime import OnnxRuntime
        from casvit.exported.description import ExportedModelError
        Predictor({str(openvino[2])!r})
        try:
            OnnxRuntime('missing.onnx')
        except ExportedModelError:
            print('onnxruntime' in sys.modules, 'openvino_telemetry' in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        env={'PYTHONPATH': str(REPOSITORY), 'HOME': str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == 'True False\n', done.stderr
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_noticed_before_anything_is_written(script, call, monkeypatch):
    config, checkpoint, _ = script
    full = shutil.disk_usage('.')._replace(free=3_000_000)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: full)
    answer = call('export', config, checkpoint, '--size', '64', '--out', 'new/a.onnx')
    assert answer.code == 2 and 'has 3 MB left, but the file needs about' in answer.err
    assert 'Traceback' not in answer.err and not list(Path('new').iterdir())


@pytest.mark.parametrize('error', [KeyboardInterrupt(), OSError(errno.ENOSPC, 'No space left')])
def test_what_stops_an_export_halfway_leaves_nothing(error, script, call, monkeypatch):
    from casvit_mm.deploy.export import torchscript

    def stopped(network, description, file):
        file.write_text('half of it')
        raise error

    monkeypatch.setattr(torchscript, 'write', stopped)
    arguments = ['--size', '64', '--format', 'torchscript', '--out', 'new/a.torchscript']
    answer = call('export', *script[:2], *arguments)
    assert answer.code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert 'interrupted' in answer.err or 'the disk is full' in answer.err
    assert 'Traceback' not in answer.err and not list(Path('new').iterdir())


def test_a_classifier_answers_the_same_in_executorch(tmp_path):
    left, right = answers(*exported(CLASSES, 'executorch', tmp_path, '--size', '64'))
    assert np.allclose(left.scores, right.scores, atol=1e-4) and right.scores.max() > 0.2


def test_core_ml_takes_rgb_images_and_says_what_it_is(tmp_path, capsys):
    _, _, package = exported(CLASSES, 'coreml', tmp_path, '--size', '64', '96', '--half')
    assert 'not here: Core ML files run on other machines only' in capsys.readouterr().out
    import coremltools

    spec = coremltools.models.MLModel(str(package), skip_model_load=True).get_spec()
    (given,), (output,) = spec.description.input, spec.description.output
    assert given.name == 'image' and output.name == 'probabilities'
    sides = given.type.imageType
    # 20 is RGB in Core ML's FeatureTypes.proto.
    assert (sides.height, sides.width, sides.colorSpace) == (64, 96, 20)
    assert list(output.type.multiArrayType.shape) == [1, 6]
    said = json.loads(spec.description.metadata.userDefined[KEY])
    assert said['format'] == 'coreml' and len(said['classes']) == 6


def test_boxes_of_ncnn_are_decoded_without_torch(ncnn_boxes, tmp_path):
    _, _, file = ncnn_boxes
    assert_same_objects(*answers(*ncnn_boxes))
    code = f"""
        import sys
        for name in ('torch', 'mmengine', 'mmcv', 'mmdet', 'cv2', 'scipy', 'casvit_mm'):
            sys.modules[name] = None
        import numpy as np
        from casvit import Predictor
        model = Predictor({str(file)!r}, score_threshold=0.02)
        print(model, len(model(np.random.default_rng(0).integers(0, 256, (90, 80, 3), np.uint8))))
    """
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        env={'PYTHONPATH': str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith('<Predictor: detection, 6 classes, cpu, fp32> '), done.stderr
    assert int(done.stdout.split()[-1]) > 0


def test_an_ncnn_graph_has_names(ncnn_boxes):
    lines = [line.split() for line in ncnn_boxes[2].read_text().splitlines()[2:]]
    produced = {name for words in lines for name in words[4 + int(words[2]) :][: int(words[3])]}
    assert {'image', *RAW_OUTPUTS} <= produced and 'in0' not in produced


def test_eight_threads_get_what_one_gets(ncnn_boxes, script, openvino):
    pictures = [image(96, seed) for seed in range(6)]
    for (_, _, file), values in (
        (ncnn_boxes, 'boxes'),
        (script, 'scores'),
        (openvino, 'scores'),
    ):
        model = Predictor(file, score_threshold=0.02, trust=file.suffix == '.torchscript')
        expected = [getattr(model(picture), values) for picture in pictures]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(model, pictures * 4))
        for left, right in zip(expected * 4, found, strict=True):
            assert np.array_equal(left, getattr(right, values))


@pytest.mark.long
@pytest.mark.parametrize('format_name', ['onnx', 'torchscript'])
def test_a_detector_can_leave_decoding_to_the_predictor_in_every_format(format_name, tmp_path):
    model = exported(BOXES, format_name, tmp_path, '--raw')
    assert_same_objects(*answers(*model, trust=True))


def test_files_that_run_code_are_opened_only_when_trusted(script, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(torch.jit, 'load', lambda *args, **options: opened.append(args))
    with pytest.raises(ExportedModelError, match=r'can run any code .* add --trust, or trust=True'):
        Predictor(script[2])
    (tmp_path / 'a.pt2').write_bytes(b'')
    with pytest.raises(ExportedModelError, match=r'a\.pt2 is of the format AOTInductor'):
        Predictor(tmp_path / 'a.pt2')
    assert not opened


@pytest.fixture
def copied(ncnn_boxes, tmp_path):
    """A copy of the ncnn files: the .param file."""
    for file in ncnn_boxes[2].parent.glob(f'{BOXES}.*'):
        if file.suffix in ('.param', '.bin', '.json'):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path / ncnn_boxes[2].name


@pytest.mark.parametrize('part', ['.param', '.bin'])
@pytest.mark.parametrize('damage', ['missing', 'truncated', 'longer', 'another'])
def test_files_that_have_changed_since_the_export_are_a_sentence(part, damage, copied):
    file = copied.with_suffix(part)
    content = file.read_bytes()
    file.unlink()
    if damage != 'missing':
        changed = dict(truncated=content[:-9], longer=content + b'\0', another=b'7767517\n')
        file.write_bytes(changed[damage])
    with pytest.raises(ExportedModelError, match=r'does not exist|is missing|has changed since'):
        Predictor(copied)


def described(file, **changes):
    """Changes the description beside a file."""
    beside = file.with_name(f'{file.name}.json')
    beside.write_text(json.dumps({**json.loads(beside.read_text()), **changes}))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(format='openvino'), 'is of another file'),
        (dict(files={}), 'is of another file'),
        (dict(raw=None), 'inputs or outputs'),
        (dict(classes=['one'], palette=[[0, 0, 0]]), 'it belongs to another model'),
        (dict(size=[64, 64], preparation=[]), 'takes images of 64 x 64'),
        (dict(size=None, preparation=[]), 'it belongs to another model|cannot compute'),
    ],
    ids=str,
)
def test_a_description_that_does_not_belong_to_the_network_is_a_sentence(changes, message, copied):
    described(copied, **changes)
    with pytest.raises(UserError, match=message):
        Predictor(copied)(image(96))


def test_ncnn_files_that_it_cannot_load_are_a_sentence(copied):
    from casvit.weights.digest import sha256

    copied.write_text('7767517\n1 1\nNoSuchLayer a 0 1 image\n')
    files = {each.name: sha256(each) for each in (copied, copied.with_suffix('.bin'))}
    described(copied, files=files)
    with pytest.raises(ExportedModelError, match=r'ncnn .* cannot load .*\.param'):
        Predictor(copied)


def test_another_device_is_a_sentence(ncnn_boxes):
    with pytest.raises(UserError, match='ncnn files run on the CPU here'):
        Predictor(ncnn_boxes[2], device='cuda')


@pytest.mark.parametrize('name', [name for name, each in FORMATS.items() if each.backend])
def test_a_missing_runtime_is_named_with_what_installs_it(name, monkeypatch, tmp_path):
    package = FORMATS[name].package
    if name == 'executorch':
        monkeypatch.setitem(sys.modules, 'executorch.runtime', None)
    monkeypatch.setitem(sys.modules, package, None)
    file = tmp_path / f'a{FORMATS[name].suffix}'
    file.write_bytes(b'a')
    (tmp_path / f'{file.name}.json').write_text(
        json.dumps(
            dict(
                version=1,
                format=name,
                task='classification',
                model='a',
                classes=['a'],
                palette=[[0, 0, 0]],
                size=None,
                batch=1,
                preparation=[],
                files={
                    file.name: 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb'
                },
            )
        )
    )
    with pytest.raises(UserError, match=f'need {package}, which cannot be imported here.*install'):
        Predictor(file, trust=True)


@pytest.mark.parametrize(
    ('config', 'options', 'message'),
    [
        (MASKS, ['--format', 'ncnn'], 'cannot hold instance masks. These can: ONNX, OpenVINO'),
        ('rtmdet_ins_casvit', ['--format', 'coreml'], 'cannot hold instance masks'),
        (MASKS, ['--raw'], '--raw is for detectors with one stage and without masks'),
        (CLASSES, ['--raw'], '--raw is for detectors with one stage'),
        (CLASSES, ['--format', 'torchscript', '--dynamic'], 'any size. These can: ONNX, OpenVINO'),
        *(
            (name, ['--format', format_name], 'masks. These can: ONNX, OpenVINO, TorchScript, AOTI')
            for name in (MASKS, 'mask_rcnn_casvit-xs_demo_shapes', 'rtmdet_ins_casvit')
            for format_name in ('ncnn', 'executorch', 'coreml')
        ),
        (CLASSES, ['--size', '16', '--out', 'a.onnx'], '--size 16: expected at least 32 pixels'),
        (
            'rtmdet_casvit-s_8xb32-300e_coco',
            ['--size', '100', '150', '--out', 'a.onnx'],
            'An input of 150 x 100 pixels does not fit the neck CSPNeXtPAFPN, which takes '
            'multiples of 32 only: add --size 96 128, for example.',
        ),
        (CLASSES, ['--out', f'{__file__}/a.onnx'], 'is not a folder. Name another file with --out'),
    ],
)
def test_what_a_format_cannot_hold_is_said_before_the_checkpoint_is_read(
    config, options, message, call
):
    answer = call('export', config, 'no_such_checkpoint.pth', *options)
    assert answer.code == 2 and message in ' '.join(answer.err.split()), answer.err
    assert 'Traceback' not in answer.err and not list(Path().iterdir())

"""Every kind of model in every format: within the documented limits, and in several threads."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
from as_trained import checkpoint_as_trained
from long_runs import report

from casvit import Predictor
from casvit.cli.main import run_tool
from casvit.exported.formats import FORMATS
from casvit.results import Detections, SemanticMap
from casvit_mm.datasets.shapes.scenes import paint

pytestmark = pytest.mark.long

MASKS = (
    'mask_rcnn_casvit-xs_demo_shapes',
    'mask_rcnn_casvit-xs_light_demo_shapes',
    'rtmdet_ins_casvit',
)
BOXES = (
    'retinanet_casvit-xs_demo_shapes',
    'retinanet_casvit-xs_light_demo_shapes',
    'rtmdet_casvit-s_8xb32-300e_coco',
)
WHOLE_IMAGES = (
    'semantic_fpn_casvit-xs_demo_shapes',
    'semantic_fpn_casvit-xs_light_demo_shapes',
    'segformer_casvit-s_80k_ade20k-512x512',
    'upernet_casvit-s_80k_ade20k-512x512',
    'casvit-xs_demo_shapes',
)
NEEDS = {
    'onnx': ('onnxscript', 'onnxruntime'),
    'openvino': ('onnxscript', 'openvino'),
    'ncnn': ('pnnx', 'ncnn'),
    'executorch': ('executorch',),
    'coreml': ('coremltools',),
}
LIMITS = {
    False: {'boxes': 1e-2, 'scores': 1e-4, 'masks': 1e-3, 'logits': 1e-4},
    True: {'boxes': 4, 'scores': 0.03, 'masks': 0.06, 'logits': 0.02},
}
"""The limits in docs/deploy.md, without and with --half."""


def variants(name):
    """The formats that hold a model, each alone and with the options that it has."""
    for key, each in FORMATS.items():
        if name in MASKS and not each.whole_detectors:
            continue
        yield key, ()
        # OpenVINO computes in fp16, where the close scores of random weights change places: its
        # files of trained detectors are those of test_long_parity.py.
        if 'fp16' in each.precisions and (key != 'openvino' or name in WHOLE_IMAGES):
            yield key, ('--half',)
        if each.dynamic:
            yield key, ('--dynamic',)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Writes the checkpoint of a config once."""
    written = {}
    folder = tmp_path_factory.mktemp('checkpoints')

    def of(name):
        if name not in written:
            written[name] = checkpoint_as_trained(name, folder)
        return written[name]

    return of


def exported(name, weights, format_name, options, file):
    """Exports a model; gives the exit code and the seconds. Skipped if a package is missing."""
    for package in NEEDS.get(format_name, ()):
        if find_spec(package) is None:
            pytest.skip(f'{package} is not installed')
    begun = time.perf_counter()
    arguments = [name, str(weights), '--format', format_name, *options, '--out', str(file)]
    return run_tool('export', arguments), time.perf_counter() - begun


def image(side, seed=0):
    return np.ascontiguousarray(paint(np.random.default_rng(seed), side).image[..., ::-1])


@pytest.mark.parametrize(
    ('name', 'format_name', 'options'),
    [
        pytest.param(name, *variant, id=' '.join((name, variant[0], *variant[1])))
        for name in (*MASKS, *BOXES, *WHOLE_IMAGES)
        for variant in variants(name)
    ],
)
def test_the_exported_file_is_within_the_limits(
    name, format_name, options, checkpoint, tmp_path, capsys
):
    file = tmp_path / f'model{FORMATS[format_name].suffix}'
    size = () if '--dynamic' in options else ('--size', '128')
    code, seconds = exported(name, checkpoint(name), format_name, (*size, *options), file)
    said = capsys.readouterr()
    assert code == 0, said.err
    lines = re.findall(r'^compared +(.*)$', said.out, re.MULTILINE)
    row = ' '.join((name, format_name, *options))
    report(capsys, '\n'.join(f'{row}: {line}' for line in lines) + f' ({seconds:.0f} s)')
    if not FORMATS[format_name].backend:
        assert len(lines) == 1 and file.is_dir()
        return
    whole = name in WHOLE_IMAGES
    assert len(lines) == 1 + (0 if '--dynamic' not in options else 3 if whole else 2)
    for line in lines:
        found = {kind: float(value) for kind, value in re.findall(r'(\w+) by ([\d.e+-]+)', line)}
        assert whole or int(re.search(r'(\d+) object', line)[1]) > 0
        for kind, value in found.items():
            assert value <= LIMITS['--half' in options][kind]
    result = Predictor(file, trust=True, score_threshold=0.01)(image(160))
    if isinstance(result, Detections):
        assert len(result) > 0
    elif isinstance(result, SemanticMap):
        assert result.class_ids.shape == (160, 160)
    else:
        assert result.scores.sum() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize('name', ['casvit-xs_demo_shapes', 'retinanet_casvit-xs_light_demo_shapes'])
@pytest.mark.parametrize('format_name', [name for name, each in FORMATS.items() if each.backend])
def test_fifty_images_in_eight_threads_are_bit_for_bit_those_of_one(
    format_name, name, checkpoint, tmp_path
):
    file = tmp_path / f'model{FORMATS[format_name].suffix}'
    assert exported(name, checkpoint(name), format_name, ('--size', '96'), file)[0] == 0
    predict = Predictor(file, trust=True, score_threshold=0.05)
    images = [image(96, seed) for seed in range(50)]

    def arrays(one):
        result = predict(one)
        names = ('boxes', 'scores', 'class_ids') if isinstance(result, Detections) else ('scores',)
        return [getattr(result, each) for each in names]

    expected = [arrays(one) for one in images]
    assert all(len(each[0]) for each in expected)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: [arrays(one) for one in images], range(8)):
            for left, right in zip(expected, found, strict=True):
                assert all(map(np.array_equal, left, right))

"""Every kind of model in every format: compared with PyTorch as the documentation promises."""

import re
import time
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
        if 'fp16' in each.precisions:
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
    for package in NEEDS.get(format_name, ()):
        if find_spec(package) is None:
            pytest.skip(f'{package} is not installed')
    weights, file = checkpoint(name), tmp_path / f'model{FORMATS[format_name].suffix}'
    size = () if '--dynamic' in options else ('--size', '128')
    begun = time.perf_counter()
    code = run_tool(
        'export',
        [name, str(weights), '--format', format_name, *size, *options, '--out', str(file)],
    )
    seconds = time.perf_counter() - begun
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
        found = {kind: float(value) for kind, value in re.findall(r'(\w+) by ([^\s,]+)', line)}
        assert whole or int(re.search(r'(\d+) object', line)[1]) > 0
        for kind, value in found.items():
            assert value <= LIMITS['--half' in options][kind]
    image = np.ascontiguousarray(paint(np.random.default_rng(0), 160).image[..., ::-1])
    result = Predictor(file, trust=True, score_threshold=0.01)(image)
    if isinstance(result, Detections):
        assert len(result) > 0
    elif isinstance(result, SemanticMap):
        assert result.class_ids.shape == (160, 160)
    else:
        assert result.scores.sum() == pytest.approx(1, abs=1e-3)

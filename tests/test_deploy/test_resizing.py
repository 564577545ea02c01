"""Files that resize and pad images themselves answer like the Predictor that prepares them."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from casvit import Predictor
from casvit.errors import UserError
from casvit.exported.description import Description
from casvit.exported.formats import FORMATS
from casvit.exported.model import ExportedModel
from casvit.exported.preparation import PreparationError, fit_of, prepare
from casvit.exported.resize import resize_bilinear
from casvit_mm.deploy.export.program import Network
from casvit_mm.deploy.export.whole import export
from casvit_mm.deploy.lean import Resizing
from casvit_mm.deploy.lean.bilinear import resized
from casvit_mm.deploy.lean.fitting import Fitting

SIDES = st.integers(1, 150)
SIZE = (24, 40)
PADDED = [
    dict(step='resize', to=[*SIZE], keep_ratio=True, method='bilinear'),
    dict(step='pad', to=[*SIZE], value=[124, 116, 104]),
]
STRETCHED = [dict(step='resize', to=[*SIZE], keep_ratio=False, method='bilinear')]
SIZES = {
    'landscape': (97, 181),
    'portrait': (181, 97),
    'exactly double': (48, 80),
    'as it is': SIZE,
    'enlarged': (11, 13),
    'one row': (1, 30),
    'one column': (40, 1),
    'one pixel': (1, 1),
}
FITTING = Fitting(fit_of(PADDED))
# Half a pixel of its width is rounded down, because 24 / 704 is less in floating-point numbers.
HALF_A_PIXEL = (704, 55)


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def as_tensor(pixels):
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]


class Pixels(nn.Module):
    """Answers with the pixels that it gets, as if they were probabilities."""

    def forward(self, images):
        return images.flatten(1).float()


class Objects(nn.Module):
    """Finds the same boxes in all images, some of them in the padding."""

    def __init__(self):
        super().__init__()
        corners = torch.rand(30, 2, 2, generator=torch.Generator().manual_seed(0))
        corners = corners.sort(1).values * torch.tensor(SIZE[::-1])
        self.register_buffer('boxes', corners.flatten(1))

    def forward(self, images):
        cells = functional.avg_pool2d(images.float(), 4).mean((0, 1)).flatten()[:30] / 255
        masks = functional.avg_pool2d(images[:, 0].float(), 8)[None] / 255
        labels = torch.arange(30) % 3
        return self.boxes, cells, labels, masks[0] * torch.linspace(0.5, 1.5, 30)[:, None, None]


class Areas(nn.Module):
    """Logits of three classes from the colours of cells."""

    def forward(self, images):
        return functional.avg_pool2d(images.float(), 4) / 255


def description(task, format_name='onnx', steps=PADDED, **more):
    classes = [str(each) for each in range(np.prod(SIZE) * 3 if task == 'classification' else 3)]
    values = dict(size=SIZE, batch=1, preparation=steps, model='toy', mask_threshold=0.4)
    colours = [(each // 256 % 256, each % 256, 7) for each in range(len(classes))]
    return Description(
        format=format_name, task=task, classes=classes, palette=colours, **{**values, **more}
    )


def exported(folder, module, told, **options):
    """The file of a network that resizes images, and what says how it differs from the network."""
    resizing = Resizing(module, fit_of(told.preparation), **options).eval()
    names = told.outputs
    network = Network(resizing, as_tensor(image(60, 70)), True, False, names)
    file = folder / f'a{FORMATS[told.format].suffix}'
    lines = []
    export(network, told, file, lines.append)
    return file, lines


def eager(module, told):
    """The Predictor's model of a file without resizing, whose network runs in PyTorch."""

    def run(images):
        answer = module(torch.from_numpy(images))
        return [each.numpy() for each in (answer if isinstance(answer, tuple) else (answer,))]

    return ExportedModel('a', told, run)


@pytest.fixture(scope='module', params=['onnx', 'openvino'])
def pixels(request, tmp_path_factory):
    """The Predictor of a file that answers with the pixels of the network's input."""
    pytest.importorskip('onnxscript')
    pytest.importorskip(FORMATS[request.param].package)
    told = description('classification', request.param, resizes=True)
    file, _ = exported(tmp_path_factory.mktemp('pixels'), Pixels(), told)
    return Predictor(file)


@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 2**32 - 1))
def test_pixels_are_resized_in_pytorch_as_without_it(height, width, new_height, new_width, seed):
    given_image = image(height, width, seed)
    new = torch.tensor([new_height, new_width])
    found = resized(as_tensor(given_image)[0], new, (new_height, new_width))
    expected = resize_bilinear(given_image, new_height, new_width)
    assert np.array_equal(found.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize('size', [(4000, 37), (29, 8000), (2 * 640, 2 * 48), (640, 48)], ids=str)
def test_long_images_are_resized_as_without_pytorch(size):
    found = resized(as_tensor(image(*size))[0], torch.tensor([640, 48]), (640, 48))
    expected = resize_bilinear(image(*size), 640, 48)
    assert np.array_equal(found.permute(1, 2, 0).numpy(), expected)


@given(st.integers(1, 3000), st.integers(1, 3000))
@example(*HALF_A_PIXEL)
def test_images_get_the_size_that_they_get_outside(height, width):
    _, new = FITTING(torch.zeros(1, 3, 1, 1, dtype=torch.uint8).expand(1, 3, height, width))
    try:
        assert tuple(new.tolist()) == fit_of(PADDED).inside((height, width))
    except PreparationError:
        assert min(new.tolist()) == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 2**32 - 1))
@example(*HALF_A_PIXEL, 0)
@example(48, 80, 0)
@example(1, 30, 0)
@example(1, 1, 0)
def test_the_file_gives_the_network_the_pixels_of_the_predictor(pixels, height, width, seed):
    given_image = image(height, width, seed)
    try:
        expected = prepare(given_image, PADDED).pixels
    except PreparationError:
        with pytest.raises(UserError, match='too narrow'):
            pixels(given_image)
        return
    assert np.array_equal(pixels(given_image).scores, expected.transpose(2, 0, 1).ravel())


@pytest.fixture(scope='module')
def objects(tmp_path_factory):
    pytest.importorskip('onnxscript')
    told = description('instance', resizes=True)
    return exported(tmp_path_factory.mktemp('objects'), Objects(), told)


@pytest.mark.parametrize('size', SIZES.values(), ids=SIZES)
def test_objects_and_masks_are_those_of_a_file_without_resizing(size, objects):
    (expected,) = eager(Objects(), description('instance'))([image(*size)])
    found = Predictor(objects[0])(image(*size))
    assert len(found) == len(expected) > 0
    assert np.allclose(found.boxes, expected.boxes, atol=1e-4)
    assert np.allclose(found.scores, expected.scores, atol=1e-6)
    assert np.array_equal(found.class_ids, expected.class_ids)
    assert np.array_equal(found.dense_masks, expected.dense_masks)


def test_boxes_in_the_file_lie_in_the_image_and_masks_may_reach_beyond(objects):
    onnxruntime = pytest.importorskip('onnxruntime')
    session = onnxruntime.InferenceSession(str(objects[0]))
    (taken,) = session.get_inputs()
    assert (taken.name, taken.type, taken.shape) == (
        'image', 'tensor(uint8)', [1, 3, 'height', 'width']
    )  # fmt: skip
    names = [each.name for each in session.get_outputs()]
    assert names == ['boxes', 'scores', 'labels', 'masks', 'mask_boxes']
    given_image = image(181, 97)
    boxes, _, _, masks, covered = session.run(None, {'image': as_tensor(given_image).numpy()})
    assert 0 < len(boxes) < 30 and len(masks) == len(covered) == len(boxes)
    assert np.array_equal(boxes, covered.clip(0, [97, 181, 97, 181]))
    assert (covered[:, 2] > 97).any()


def test_the_file_is_compared_at_the_size_of_the_sample_and_at_two_others(objects):
    sizes = [line.split(',')[0] for line in objects[1]]
    assert sizes == ['70 x 60 px', '224 x 160 px', '192 x 256 px']


@pytest.mark.parametrize('steps', [PADDED, STRETCHED], ids=['padded', 'stretched'])
@pytest.mark.parametrize('twice', [True, False], ids=['enlarged twice', 'enlarged once'])
def test_semantic_maps_are_those_of_a_file_without_resizing(steps, twice):
    resizing = Resizing(Areas(), fit_of(steps), enlarge_twice=twice)
    told = description('semantic', steps=steps, enlarge_twice=False, resizes=True)
    assert_same_maps(eager(resizing, told), steps, twice)


def test_a_file_gives_semantic_maps_without_padding(tmp_path):
    pytest.importorskip('onnxscript')
    told = description('semantic', enlarge_twice=False, resizes=True)
    file, _ = exported(tmp_path, Areas(), told, enlarge_twice=False)
    assert_same_maps(Predictor(file).backend, PADDED, False)


def assert_same_maps(model, steps, twice):
    usual = eager(Areas(), description('semantic', steps=steps, enlarge_twice=twice))
    for size in SIZES.values():
        smooth = resize_bilinear(image(3, 4), *size)
        (one,), (other,) = usual([smooth]), model([smooth])
        assert np.array_equal(other.class_ids, one.class_ids)
        assert len(np.unique(one.class_ids)) > 1 or min(size) == 1


def test_a_batch_is_taken_image_by_image(objects):
    images = [image(30, 50, seed) for seed in range(3)]
    predict = Predictor(objects[0], batch_size=3)
    for one, each in zip(predict(images), images, strict=True):
        assert np.array_equal(one.scores, predict(each).scores)

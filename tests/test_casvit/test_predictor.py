"""The Predictor takes images in every form and number, and returns their results."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from images import write_image
from PIL import Image

from casvit import Classification, Detections, Predictor, SemanticMap
from casvit.backends import MODULES, UnknownModelError
from casvit.errors import UserError
from casvit.inputs.batches import batches_of_equals
from casvit.inputs.images import ImageError, read_image
from casvit.predictor import PredictionError, TilingError

CLASSES = ('dark', 'bright')


class Bright:
    """Finds the bright pixels of images, and records its inputs.

    Its results depend on the whole batch, like those of a network that pads images.
    """

    palette = ((10, 10, 200), (200, 200, 10))
    classes = CLASSES

    def __init__(self, task='detection', fails=lambda image: False):
        self.task, self.fails = task, fails
        self.batches = []

    def __call__(self, images):
        self.batches.append([image.shape[:2] for image in images])
        assert len({image.shape for image in images}) == 1
        assert all(image.dtype == np.uint8 and image.shape[2] == 3 for image in images)
        if any(map(self.fails, images)):
            raise RuntimeError('the model\nbroke')
        return [self.of(image) for image in images]

    def of(self, image):
        size = dict(classes=CLASSES, palette=self.palette)
        size |= dict(height=image.shape[0], width=image.shape[1])
        bright = image[..., 0] > 128
        if self.task == 'semantic':
            return SemanticMap(bright.astype(np.uint8), **size)
        if self.task == 'classification':
            share = bright.mean()
            return Classification(np.array([1 - share, share], np.float32), **size)
        rows, columns = np.nonzero(bright)
        if not len(rows):
            return Detections(**size)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return Detections(
            np.array([box], np.float32), np.ones(1, np.float32), np.ones(1, np.int64), **size
        )


def image(height=30, width=40, at=(5, 6)):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[at[1] : at[1] + 4, at[0] : at[0] + 3] = 255
    return pixels


def test_one_image_gives_one_result_in_every_form(tmp_path):
    path = write_image(tmp_path / 'a.jpg', orientation=6)
    predict = Predictor(Bright())
    with Image.open(path) as opened:
        results = [predict(given) for given in (path, str(path), opened, read_image(path))]
        results.append(predict(read_image(path)[..., ::-1], bgr=True))
    for result in results:
        assert isinstance(result, Detections)
        assert (result.boxes == results[0].boxes).all() and len(result) == 1
        assert (result.height, result.width) == (40, 30)
        assert (result.draw() == results[0].draw()).all()
    assert [result.file for result in results] == [str(path), str(path), '', '', '']


@pytest.mark.parametrize('several', [list, tuple])
def test_a_list_of_images_gives_a_list_of_results_in_the_same_order(several):
    predict = Predictor(Bright(), batch_size=3)
    given = [image(30, 40 + index % 3, at=(index, 2)) for index in range(11)]
    results = predict(several(given))
    assert isinstance(results, list)
    assert [result.boxes[0, 0] for result in results] == list(range(11))
    assert [result.width for result in results] == [one.shape[1] for one in given]
    assert predict(several()) == []


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 5))
def test_batches_hold_items_with_equal_keys_and_few_items_wait(keys, size):
    taken = 0

    def items():
        nonlocal taken
        for key in keys:
            taken += 1
            yield key

    given, seen = 0, []
    for batch in batches_of_equals(items(), size, lambda key: key):
        given += len(batch)
        assert 1 <= len(batch) <= size and len({key for _, key in batch}) == 1
        assert [keys[number] for number, _ in batch] == [key for _, key in batch]
        seen += [number for number, _ in batch]
        # The oldest waiting item delays only a few others.
        oldest = min(set(range(taken)) - set(seen), default=taken)
        assert taken - oldest <= 2 * size
    assert sorted(seen) == list(range(len(keys)))


def test_images_of_one_size_fill_batches_even_with_others_in_between():
    backend = Bright()
    Predictor(backend, batch_size=2)([image(30, 40 + index % 2) for index in range(8)])
    assert [len(batch) for batch in backend.batches] == [2, 2, 2, 2]


@pytest.mark.parametrize('batch_size', [1, 3])
def test_an_iterator_without_prefetch_is_read_only_as_results_are_needed(batch_size):
    taken = []

    def images():
        for index in range(100):
            taken.append(index)
            yield image(at=(index % 30, 3))

    results = Predictor(Bright(), batch_size=batch_size)(images(), prefetch=False)
    assert not isinstance(results, list) and taken == []
    for index in range(20):
        assert next(results).boxes[0, 0] == index % 30
        assert len(taken) - index <= 2 * batch_size
    assert len(list(results)) == 80


def test_other_iterables_are_streams_too():
    class Camera:
        def __iter__(self):
            return iter([image(), image(20, 20)])

    results = Predictor(Bright())(Camera())
    assert [result.width for result in results] == [40, 20]


def test_results_of_a_list_of_files_do_not_hold_their_images(tmp_path):
    paths = [write_image(tmp_path / f'{index}.png') for index in range(3)]
    predict = Predictor(Bright())
    for result in predict(paths):
        assert result.image is None and result.draw().shape == (30, 40, 3)
    assert all(result.image is not None for result in predict(iter(paths)))
    assert predict(paths[0]).image is not None
    assert all(result.image is not None for result in predict([image(), image()]))


@pytest.mark.parametrize('task', ['detection', 'instance', 'semantic'])
@pytest.mark.parametrize('batch_size', [1, 4])
def test_a_large_image_is_predicted_in_tiles(task, batch_size):
    large = image(300, 200, at=(70, 150))
    backend, told = Bright(task), []
    result = Predictor(backend, batch_size=batch_size)(
        large, tile=64, on_tiles=lambda *numbers: told.append(numbers)
    )
    assert (result.height, result.width) == (300, 200)
    assert result.draw().shape == (300, 200, 3)
    # It is drawn with the lines of an image of this size.
    assert result.tile == 64
    assert all(shape == (64, 64) for batch in backend.batches for shape in batch)
    assert all(len(batch) <= batch_size for batch in backend.batches)
    if task == 'semantic':
        assert (result.class_ids == (large[..., 0] > 128)).all()
    else:
        assert result.boxes.tolist() == [[70, 150, 73, 154]]
    tiles = sum(map(len, backend.batches))
    assert told[0] == (0, tiles) and told[-1] == (tiles, tiles)


def test_invalid_tiles_are_refused_before_an_image_is_read():
    predict = Predictor(Bright())
    with pytest.raises(TilingError, match='overlap=5 needs a tile size'):
        predict(iter(['gone.jpg']), overlap=5)
    for overlap in (-1, 64, 70):
        with pytest.raises(TilingError, match=f'overlap={overlap} does not fit tiles of 64'):
            predict(iter(['gone.jpg']), tile=64, overlap=overlap)
    with pytest.raises(TilingError, match='tile=0'):
        predict(image(), tile=0)
    with pytest.raises(TilingError, match='classifier'):
        Predictor(Bright('classification'))(image(), tile=64)


@pytest.mark.parametrize('batch_size', [1, 2, 4])
def test_an_image_that_the_model_fails_on_is_named_and_affects_no_other(batch_size, tmp_path):
    paths = [write_image(tmp_path / f'{index}.png', seed=index) for index in range(5)]
    (tmp_path / '3.png').write_text('no image')
    broken = read_image(paths[1])
    backend = Bright(fails=lambda image: (image == broken).all())
    predict = Predictor(backend, batch_size=batch_size)
    answers = list(predict.answers(paths))
    kinds = [type(answer) for answer in answers]
    assert kinds == [Detections, PredictionError, Detections, ImageError, Detections]
    assert '1.png (40 x 30 pixels): RuntimeError: the model' in str(answers[1])
    assert isinstance(answers[1].__cause__, RuntimeError)
    with pytest.raises(PredictionError, match=r'1\.png \(40 x 30 pixels\): RuntimeError'):
        predict(paths)
    results = predict(iter(paths))
    assert next(results).file == str(paths[0])
    with pytest.raises(PredictionError):
        next(results)
    with pytest.raises(ImageError, match=r'3\.png cannot be read'):
        predict([paths[3]])


def test_other_objects_than_images_are_refused():
    predict = Predictor(Bright())
    tensor = pytest.importorskip('torch').zeros(3, 4, 5)
    for odd in (tensor, 3, None, b'jpeg', [[1, 2]], np.zeros((2, 4, 5, 3), np.uint8)):
        with pytest.raises(ImageError):
            predict(odd)


@pytest.mark.parametrize('name', ['model.tflite', 'model.xyz', 'model', 'folder/best.PTH.zip'])
def test_an_unsupported_model_type_is_answered_with_the_supported_ones(name):
    with pytest.raises(UnknownModelError) as refused:
        Predictor(name)
    assert name in str(refused.value) and all(suffix in str(refused.value) for suffix in MODULES)


def test_other_objects_than_models_are_refused():
    with pytest.raises(UserError, match='type int is not a model'):
        Predictor(3)
    with pytest.raises(ValueError, match='batch_size=0'):
        Predictor(Bright(), batch_size=0)


def test_a_predictor_shows_its_task_and_classes():
    predict = Predictor(Bright('instance'))
    assert (predict.task, predict.classes) == ('instance', CLASSES)
    assert predict.palette == Bright.palette
    assert repr(predict) == '<Predictor: instance, 2 classes>'


def run(code, folder):
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        cwd=folder,
        env={'PYTHONPATH': f'{Path(__file__).parent}:{Path(__file__).parents[2]}'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_prediction_in_tiles_needs_neither_torch_nor_openmmlab_nor_opencv(tmp_path):
    code = """
        import sys
        HEAVY = {'torch', 'torchvision', 'cv2', 'supervision', 'matplotlib', 'casvit_mm',
                 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain'}
        def heavy():
            return sorted(HEAVY & {name.split('.')[0] for name in sys.modules})
        import casvit
        casvit.Predictor, casvit.Detections, casvit.SemanticMap, casvit.Classification
        print(heavy())
        import numpy as np
        class Backend:
            task, classes, palette = 'detection', ('x',), [(200, 0, 0)]
            def __call__(self, images):
                more = dict(classes=self.classes, height=64, width=64)
                box, one = np.array([[5, 5, 30, 30]], np.float32), np.ones(1, np.float32)
                mask = casvit.results.LocalMask(5, 5, np.ones((25, 25), bool))
                return [casvit.Detections(box, one, np.zeros(1, int), [mask], **more)
                        for _ in images]
        image = np.zeros((300, 200, 3), np.uint8)
        result = casvit.Predictor(Backend(), batch_size=4)(image, tile=64)
        result.save('a.jpg')
        result._repr_png_(), result.to_coco(), result.to_records('a')
        casvit.Predictor(Backend())('a.jpg', tile=64)
        print(heavy())
    """
    assert run(code, tmp_path).split('\n') == ['[]', '[]', '']


@pytest.mark.parametrize('package', ['torch', 'mmengine', 'mmcv', 'mmdet'])
def test_a_missing_package_is_named_with_what_to_install(package, tmp_path):
    code = f"""
        import sys
        sys.modules[{package!r}] = None
        from casvit import Predictor
        from casvit.errors import MissingPackageError
        try:
            Predictor('best.pth', config='mask_rcnn_casvit-xs_demo_shapes')
        except MissingPackageError as error:
            print(error)
    """
    told = run(code, tmp_path)
    assert package in told and 'install' in told and 'tools/install.py' in told


WITHOUT = {
    'mmengine': ('import casvit_mm', 'casvit_mm needs mmengine, which is not installed: '),
    'casvit_mm': (
        "from casvit import config_path; config_path('mask_rcnn_casvit')",
        'casvit_mm is not installed next to casvit, so there are no configs: install casvit-mm',
    ),
}


@pytest.mark.parametrize('package', WITHOUT)
def test_half_an_installation_says_what_is_missing(package, tmp_path):
    code, said = WITHOUT[package]
    program = f"""
        import sys
        sys.modules[{package!r}] = None
        try:
            {code}
        except Exception as error:
            print(error)
    """
    assert said in run(program, tmp_path)

"""A folder is finished even if some images cannot be read, predicted or written."""

import json
import os
import shutil
from typing import ClassVar

import cv2
import numpy as np
import pytest
from PIL import Image
from quick_runs import DEMO

import casvit.demo
from casvit import Detections, Predictor

FORMS = {
    'empty.jpg': 'is empty',
    'folder.jpg': 'is a folder',
    'link.jpg': 'is not a file',
    'pipe.png': 'is not a file',
    'text.bmp': 'not an image',
    'truncated.jpg': 'not an image',
    'truncated.png': 'not an image',
}
FINE = ('a.png', 'gif.jpg', 'named_otherwise.jpg', 'tiny.png', 'z.png')


@pytest.fixture(scope='module')
def odd(tmp_path_factory):
    """A folder with odd files between images."""
    folder = tmp_path_factory.mktemp('odd')
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    encoded = {form: cv2.imencode(form, pixels)[1].tobytes() for form in ('.jpg', '.png')}
    (folder / 'empty.jpg').touch()
    (folder / 'folder.jpg').mkdir()
    Image.fromarray(pixels).save(folder / 'image.gif')
    (folder / 'image.gif').rename(folder / 'gif.jpg')
    (folder / 'link.jpg').symlink_to(folder / 'gone.jpg')
    os.mkfifo(folder / 'pipe.png')
    (folder / 'text.bmp').write_text('not an image')
    for form, content in encoded.items():
        (folder / f'truncated{form}').write_bytes(content[: len(content) // 2])
    for name in ('a.png', 'named_otherwise.jpg', 'z.png'):
        (folder / name).write_bytes(encoded['.png'])
    cv2.imwrite(str(folder / 'tiny.png'), pixels[:1, :1])
    for name, shape in (('flat.png', (1, 4000)), ('thin.png', (4000, 1))):
        cv2.imwrite(str(folder / name), np.zeros((*shape, 3), np.uint8))
    return folder


@pytest.mark.parametrize(
    'options', [[], ['--batch-size', '4'], ['--batch-size', '3', '--tile', '256']]
)
def test_a_folder_is_finished_and_skipped_images_are_listed(
    options, call, odd, checkpoint, tmp_path
):
    answer = call('image_demo', odd, DEMO, checkpoint, '--out-dir', 'out', *options)
    assert answer.code == 1, answer.err
    narrow = {} if '--tile' in options else {'flat.png': 'too narrow', 'thin.png': 'too narrow'}
    listed = answer.err.split('Skipped ', 1)[1]
    lines = {name: line for name in FORMS | narrow for line in listed.splitlines() if name in line}
    for name, reason in (FORMS | narrow).items():
        assert reason in lines[name], name
    assert listed.startswith(f'{len(FORMS | narrow)} of 14 image(s)')
    written = {path.name for path in (tmp_path / 'out').glob('*.json')}
    assert {f'{name.split(".")[0]}.json' for name in FINE} <= written
    assert len(written) == 14 - len(FORMS | narrow)
    assert f'in {len(written)} image(s)' in answer.out
    assert 'Traceback' not in answer.err


@pytest.mark.parametrize('name', [*FORMS, 'flat.png'])
def test_a_single_bad_image_is_an_error_with_the_reason(name, call, odd, checkpoint):
    answer = call('image_demo', odd / name, DEMO, checkpoint, '--out-dir', 'out')
    assert answer.code == 2
    expected = {
        'flat.png': 'too narrow',
        'folder.jpg': 'contains no image',
        'link.jpg': 'does not exist',
    }.get(name, FORMS.get(name))
    assert expected in answer.err and name in answer.err
    assert 'Traceback' not in answer.err


def test_a_folder_of_only_damaged_images_is_listed(call, checkpoint, tmp_path):
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in' / 'a.jpg').write_text('no image')
    answer = call('image_demo', 'in', DEMO, checkpoint, '--out-dir', 'out')
    assert answer.code == 1
    assert 'Skipped 1 of 1 image(s)' in answer.err and 'in/a.jpg' in answer.err


def test_results_that_cannot_be_written_are_skipped(call, odd, checkpoint, tmp_path):
    (tmp_path / 'in').mkdir()
    for name in ('a.png', 'z.png'):
        shutil.copy(odd / name, tmp_path / 'in')
    (tmp_path / 'out' / 'a.json').mkdir(parents=True)
    answer = call('image_demo', 'in', DEMO, checkpoint, '--out-dir', 'out')
    assert answer.code == 1, answer.err
    assert 'The results of in/a.png cannot be written: Is a directory.' in answer.err
    assert json.loads((tmp_path / 'out' / 'z.json').read_text()) is not None


class Failing:
    """A model that fails for images, or tiles, with white pixels."""

    task, classes, palette = 'detection', ('cat',), [(0, 0, 0)]

    def __call__(self, images):
        if any((image == 255).any() for image in images):
            raise RuntimeError('out of memory')
        height, width = images[0].shape[:2]
        return [Detections(classes=self.classes, height=height, width=width) for _ in images]


def demo(out_dir, batch_size=4, tile=None):
    return casvit.demo.Demo(Predictor(Failing(), batch_size=batch_size), out_dir, tile)


@pytest.fixture
def three(tmp_path):
    """Images of two sizes; the second is white at its right edge."""
    paths = [tmp_path / f'{name}.png' for name in 'abc']
    for path, width in zip(paths, (20, 20, 30), strict=True):
        image = np.zeros((10, width, 3), np.uint8)
        if path.stem == 'b':
            image[:, -1] = 255
        cv2.imwrite(str(path), image)
    return paths


@pytest.mark.parametrize('batch_size', [1, 2, 4])
def test_an_image_that_the_model_fails_on_affects_no_other(batch_size, three, tmp_path):
    skipped = demo(tmp_path, batch_size).on_images(three)
    assert list(skipped) == [three[1]]
    assert '20 x 10 pixels' in skipped[three[1]] and 'out of memory' in skipped[three[1]]
    assert (tmp_path / 'a.json').is_file() and (tmp_path / 'c.json').is_file()


def test_a_model_that_fails_for_every_image_is_an_error_of_the_model(three, tmp_path):
    with pytest.raises(RuntimeError, match='out of memory'):
        demo(tmp_path).on_images([three[1]] * 2)


class Seen(casvit.demo._Progress):
    """Records the final counts of progress bars."""

    ends: ClassVar = []

    def close(self):
        if not self.disable:
            self.ends.append((self.n, self.total, self.unit))
        super().close()


@pytest.mark.parametrize('batch_size', [1, 2, 4])
@pytest.mark.parametrize(('tile', 'end'), [(None, (4, 4, 'image')), (8, (6 + 6 + 10, 22, 'tile'))])
def test_progress_counts_each_image_or_tile_once_also_those_that_fail(
    batch_size, tile, end, three, tmp_path, monkeypatch
):
    Seen.ends.clear()
    monkeypatch.setattr(casvit.demo, '_Progress', Seen)
    unreadable = tmp_path / '9.png'
    unreadable.write_text('no image')
    skipped = demo(tmp_path, batch_size, tile).on_images([unreadable, *three])
    assert list(skipped) == [unreadable, three[1]]
    assert Seen.ends == [end]


def test_the_help_says_what_the_exit_code_means(call):
    answer = call('image_demo', '--help')
    assert 'exit code' in answer.out and 'skipped' in answer.out

"""Inference on images, folders, videos and tiles; it writes images and JSON."""

import json
import shutil

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from pycocotools import mask as coco_mask
from quick_runs import DEMO, SEGMENTATION_DEMO
from small_models import write_checkpoint

from casvit import config_path

NO_DRAWING = ('--no-labels', '--no-boxes')
LOW = ('--score-thr', '0.02')


@pytest.fixture(scope='module')
def images(shapes):
    """Images of the small dataset."""
    return sorted((shapes / 'val').iterdir())


def is_enlarged(image, height, width, factor):
    """Whether an image was enlarged; it may have a legend below."""
    return image.shape[1] == factor * width and image.shape[0] >= factor * height


def test_an_image_gives_an_image_and_records(call, images, checkpoint, tmp_path):
    answer = call('image_demo', images[0], DEMO, checkpoint, '--out-dir', 'out', *LOW)
    assert answer.code == 0, answer.err
    stem = images[0].stem
    before, after = cv2.imread(str(images[0])), cv2.imread(str(tmp_path / f'out/{stem}.jpg'))
    assert is_enlarged(after, *before.shape[:2], 7)
    records = json.loads((tmp_path / f'out/{stem}.json').read_text())
    assert f'{len(records)} detections' in answer.out
    for record in records:
        assert record['file'] == images[0].name and 0.02 <= record['score'] <= 1
        assert len(record['bbox']) == 4 and isinstance(record['label'], str)
        assert coco_mask.decode(record['mask']).shape == before.shape[:2]


def test_without_a_detection_the_score_that_hides_them_is_named(call, images, checkpoint):
    answer = call('image_demo', images[0], DEMO, checkpoint, '--score-thr', '1')
    assert answer.code == 0, answer.err
    assert '0 detections in 1 image(s)' in answer.out
    assert 'None has a score of 1 or more; --score-thr shows' in answer.out


def test_boxes_and_labels_are_left_out_on_request(call, images, checkpoint, tmp_path):
    drawn = {}
    for name, options in (('all', ()), ('thick', ('--line-width', '9')), ('bare', NO_DRAWING)):
        arguments = ('image_demo', images[0], DEMO, checkpoint, '--out-dir', name, *LOW)
        assert call(*arguments, *options).code == 0
        drawn[name] = cv2.imread(str(tmp_path / name / f'{images[0].stem}.jpg'))
    bare = drawn['bare']
    # A legend is a kind of label.
    assert bare.shape == (672, 672, 3)
    changed = [(drawn[name][:672] != bare).any(-1).mean() for name in ('all', 'thick')]
    assert 0 < changed[0] < changed[1]


def test_a_folder_gives_an_image_and_records_for_each_image(call, images, checkpoint, tmp_path):
    folder = tmp_path / 'in'
    folder.mkdir()
    for path in images[:3]:
        shutil.copy(path, folder)
    (folder / 'notes.txt').write_text('no image')
    answer = call(
        'image_demo', folder, DEMO, checkpoint, '--out-dir', 'out', '--batch-size', '2', *LOW
    )
    assert answer.code == 0, answer.err
    assert len(list((tmp_path / 'out').glob('*.jpg'))) == 3
    assert len(list((tmp_path / 'out').glob('*.json'))) == 3


def test_images_that_share_a_stem_do_not_replace_each_other(call, images, checkpoint, tmp_path):
    folder = tmp_path / 'in'
    folder.mkdir()
    image = cv2.imread(str(images[0]))
    cv2.imwrite(str(folder / 'a.png'), image)
    cv2.imwrite(str(folder / 'a.jpg'), image)
    assert call('image_demo', folder, DEMO, checkpoint, '--out-dir', 'out').code == 0
    assert len(list((tmp_path / 'out').glob('*.json'))) == 2


def test_a_video_gives_a_video_and_records_with_frames(call, images, checkpoint, tmp_path):
    image = cv2.imread(str(images[0]))
    size = image.shape[1::-1]
    writer = cv2.VideoWriter(str(tmp_path / 'clip.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 10, size)
    if not writer.isOpened():
        pytest.skip('this OpenCV writes no mp4')
    for _ in range(3):
        writer.write(image)
    writer.release()
    answer = call('image_demo', 'clip.mp4', DEMO, checkpoint, '--out-dir', 'out', *LOW)
    assert answer.code == 0, answer.err
    written = cv2.VideoCapture(str(tmp_path / 'out/clip.mp4'))
    assert int(written.get(cv2.CAP_PROP_FRAME_COUNT)) == 3
    records = json.loads((tmp_path / 'out/clip.json').read_text())
    assert {record['frame'] for record in records} <= {0, 1, 2}


def test_a_large_image_is_predicted_in_tiles(call, images, checkpoint, tmp_path):
    image = cv2.imread(str(images[0]))
    cv2.imwrite(str(tmp_path / 'large.png'), np.tile(image, (2, 3, 1)))
    answer = call(
        'image_demo',
        'large.png',
        DEMO,
        checkpoint,
        '--out-dir',
        'out',
        '--tile',
        '128',
        '--overlap',
        '32',
        '--batch-size',
        '4',
        *LOW,
    )
    assert answer.code == 0, answer.err
    height, width = 2 * image.shape[0], 3 * image.shape[1]
    assert is_enlarged(cv2.imread(str(tmp_path / 'out/large.jpg')), height, width, 2)
    for record in json.loads((tmp_path / 'out/large.json').read_text()):
        x1, y1, x2, y2 = record['bbox']
        assert 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height
        assert record['mask']['size'] == [height, width]


@pytest.mark.parametrize('name', ['casvit-xs_demo_shapes', SEGMENTATION_DEMO])
def test_classifiers_and_segmentors_give_an_image_and_records(
    name, call, configs, images, tmp_path
):
    (file,) = configs.rglob(f'{name}.py')
    weights = write_checkpoint(Config.fromfile(file), tmp_path / 'a.pth', {})
    folder = images[0].parent
    answer = call('image_demo', folder, name, weights, '--out-dir', 'out', '--batch-size', '3')
    assert answer.code == 0, answer.err
    for path in images:
        records = json.loads((tmp_path / f'out/{path.stem}.json').read_text())
        assert {record['file'] for record in records} == {path.name}
        before = cv2.imread(str(path))
        after = cv2.imread(str(tmp_path / f'out/{path.stem}.jpg'))
        assert is_enlarged(after, *before.shape[:2], 7)
        labels = tmp_path / f'out/{path.stem}_labels.png'
        if name == SEGMENTATION_DEMO:
            counts = np.bincount(np.asarray(Image.open(labels)).ravel(), minlength=7)
            assert {r['index']: r['pixels'] for r in records} == {
                index: count for index, count in enumerate(counts.tolist()) if count
            }
        else:
            assert set(records[0]) == {'file', 'label', 'index', 'score'} and len(records) == 5
            scores = [record['score'] for record in records]
            assert scores == sorted(scores, reverse=True) and not labels.exists()


def test_the_exif_orientation_of_an_image_is_applied(call, images, checkpoint, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(images[0]).crop((0, 0, 96, 64)).save(tmp_path / 'a.jpg', exif=exif)
    answer = call('image_demo', 'a.jpg', DEMO, checkpoint, '--out-dir', 'out', *LOW)
    assert answer.code == 0, answer.err
    assert is_enlarged(cv2.imread(str(tmp_path / 'out/a.jpg')), 96, 64, 7)
    for record in json.loads((tmp_path / 'out/a.json').read_text()):
        assert record['mask']['size'] == [96, 64]


def test_an_input_that_does_not_exist_is_named(call, checkpoint):
    answer = call('image_demo', 'gone.jpg', DEMO, checkpoint)
    assert answer.code == 2
    assert 'gone.jpg does not exist' in answer.err


def test_an_unsupported_input_type_is_answered_with_the_supported_ones(call, tmp_path):
    (tmp_path / 'notes.txt').write_text('no image')
    answer = call('image_demo', 'notes.txt', DEMO, 'c.pth')
    assert answer.code == 2
    assert 'notes.txt' in answer.err and '.jpg' in answer.err and '.mp4' in answer.err


def test_a_folder_without_images_is_named(call, tmp_path):
    (tmp_path / 'empty').mkdir()
    answer = call('image_demo', 'empty', DEMO, 'c.pth')
    assert answer.code == 2
    assert 'empty contains no image' in answer.err


@pytest.mark.parametrize('name', ['bad.jpg', 'bad.mp4'])
def test_a_damaged_input_is_named(name, call, checkpoint, tmp_path):
    (tmp_path / name).write_bytes(b'neither image nor video')
    answer = call('image_demo', name, DEMO, checkpoint, '--out-dir', 'out')
    assert answer.code == 2
    assert f'{name} cannot be read' in answer.err
    assert 'Traceback' not in answer.err


def test_results_are_not_written_to_the_folder_of_the_input(call, images):
    answer = call('image_demo', images[0], DEMO, 'c.pth', '--out-dir', images[0].parent)
    assert answer.code == 2
    assert '--out-dir' in answer.err


@pytest.mark.parametrize('tiling', [('--overlap', '5'), ('--tile', '100', '--overlap', '100')])
def test_an_invalid_overlap_is_refused(tiling, call, images):
    answer = call('image_demo', images[0], DEMO, 'c.pth', *tiling)
    assert answer.code == 2
    assert '--overlap' in answer.err


def test_a_missing_device_is_named(call, images):
    answer = call('image_demo', images[0], DEMO, 'c.pth', '--device', 'cuda:99')
    assert answer.code == 2
    assert 'cuda:99' in answer.err


def test_a_missing_checkpoint_is_named(call, images):
    answer = call('image_demo', images[0], DEMO, 'c.pth')
    assert answer.code == 2
    assert 'c.pth does not exist' in answer.err


@pytest.mark.parametrize(
    'wrap',
    [
        "dict(type='ConcatDataset', datasets=[{0}, {0}])",
        "dict(type='RepeatDataset', times=1, dataset={0})",
        "dict(type='RepeatDataset', times=1, dataset=dict(type='ConcatDataset', datasets=[{0}]))",
    ],
    ids=['several', 'repeated', 'nested'],
)
def test_test_data_may_be_wrapped(wrap, call, configs, images, checkpoint, tmp_path):
    base = str(configs / f'detection/{DEMO}.py')
    dataset = wrap.format('_base_.test_dataloader.dataset')
    wrapped = f'dict(_delete_=True, batch_size=1, num_workers=0, dataset={dataset})'
    (tmp_path / 'mine.py').write_text(f'_base_ = {base!r}\ntest_dataloader = {wrapped}\n')
    answer = call('image_demo', images[0], 'mine.py', checkpoint, '--out-dir', 'out')
    assert answer.code == 0, answer.err


def test_a_config_without_a_test_pipeline_is_named(call, images, checkpoint):
    options = ['--cfg-options', 'test_dataloader.dataset.pipeline=None']
    answer = call('image_demo', images[0], DEMO, checkpoint, *options)
    assert answer.code == 2
    assert 'pipeline' in answer.err and 'Traceback' not in answer.err


def test_a_model_that_fails_on_a_video_says_which_part_of_the_config_is_wrong(
    call, images, checkpoint, tmp_path
):
    image = cv2.imread(str(images[0]))
    size = image.shape[1::-1]
    writer = cv2.VideoWriter(str(tmp_path / 'clip.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 10, size)
    if not writer.isOpened():
        pytest.skip('this OpenCV writes no mp4')
    writer.write(image)
    writer.release()
    steps = "[dict(type='LoadImageFromFile'), dict(type='PackDetInputs', meta_keys=('img_id',))]"
    (tmp_path / 'own.py').write_text(
        f'_base_ = [{config_path(DEMO)!r}]\n'
        f'test_dataloader = dict(dataset=dict(pipeline={steps}))\n'
    )
    answer = call('image_demo', 'clip.mp4', 'own.py', checkpoint, '--out-dir', 'out')
    assert answer.code == 2 and "It needs 'img_shape' from the data pipeline" in answer.err

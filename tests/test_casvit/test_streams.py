"""Folders and videos as streams of images."""

import sys
import warnings

import numpy as np
import pytest
from images import write_image

from casvit import Detections, Predictor
from casvit.errors import MissingPackageError
from casvit.inputs.streams import (
    IMAGE_SUFFIXES,
    StreamError,
    Video,
    VideoWriter,
    list_images,
    output_names,
)


def test_only_the_images_of_a_folder_are_listed_sorted_by_name(tmp_path):
    for index, suffix in enumerate(IMAGE_SUFFIXES):
        (tmp_path / f'{9 - index}{suffix.upper() if index % 2 else suffix}').touch()
    (tmp_path / 'notes.txt').touch()
    found = list_images(str(tmp_path))
    assert len(found) == len(IMAGE_SUFFIXES) and found == sorted(found)


def test_folders_without_images_and_paths_that_are_not_folders_are_named(tmp_path):
    with pytest.raises(StreamError, match=r'contains no image \(\.jpg'):
        list_images(tmp_path)
    with pytest.raises(StreamError, match='gone does not exist'):
        list_images(tmp_path / 'gone')
    with pytest.raises(StreamError, match=r'a\.png is a file'):
        list_images(write_image(tmp_path / 'a.png'))


def test_output_names_differ_if_stems_do_not(tmp_path):
    paths = [tmp_path / name for name in ('a.png', 'a.jpg', 'b.png')]
    assert list(output_names(paths).values()) == ['a.png', 'a.jpg', 'b']


def frames(count, height=48, width=64):
    """Frames that get brighter, red more than blue."""
    for index in range(count):
        frame = np.full((height, width, 3), 40, np.uint8)
        frame[..., 0] += 10 * index
        yield frame


@pytest.fixture
def clip(tmp_path):
    pytest.importorskip('cv2')
    with VideoWriter(tmp_path / 'clip.mp4', 10) as writer:
        for frame in frames(12):
            writer.write(frame)
    return tmp_path / 'clip.mp4'


def test_a_video_is_read_back_as_it_was_written(clip):
    video = Video(str(clip))
    assert (video.length, video.frames_per_second) == (12, 10)
    for _ in range(2):
        read = list(video)
        assert len(read) == 12
        for frame, expected in zip(read, frames(12), strict=True):
            assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8
            # Compression changes values a little, but channels are not swapped.
            assert abs(frame.astype(int) - expected).mean() < 6


def test_a_video_is_predicted_frame_by_frame(clip):
    class Nothing:
        task, classes, palette = 'detection', ('x',), [(0, 0, 0)]

        def __call__(self, images):
            height, width = images[0].shape[:2]
            return [Detections(classes='x', height=height, width=width) for _ in images]

    results = Predictor(Nothing(), batch_size=5)(Video(clip))
    assert next(results).image.shape == (48, 64, 3)
    assert len(list(results)) == 11


def test_a_damaged_or_missing_video_is_named(tmp_path, capfd):
    pytest.importorskip('cv2')
    (tmp_path / 'bad.mp4').write_bytes(b'no video')
    with pytest.raises(
        StreamError, match=r'bad\.mp4 cannot be read: it is damaged, or not a video'
    ):
        Video(tmp_path / 'bad.mp4')
    with pytest.raises(StreamError, match=r'gone\.mp4 does not exist'):
        Video(tmp_path / 'gone.mp4')
    with pytest.raises(StreamError, match='is not a file'):
        Video(tmp_path)


def test_a_video_that_cannot_be_written_is_named(tmp_path, capfd):
    pytest.importorskip('cv2')
    with (
        VideoWriter(tmp_path / 'gone' / 'a.mp4') as writer,
        pytest.raises(StreamError, match=r'gone/a\.mp4 cannot be written'),
    ):
        writer.write(next(frames(1)))


def test_a_missing_opencv_is_named_with_what_to_install(clip, monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv2', None)
    for use in (lambda: Video(clip), lambda: VideoWriter('a.mp4')):
        with pytest.raises(MissingPackageError, match='pip install opencv-python-headless'):
            use()


def test_a_video_that_ends_too_early_gives_what_it_has_and_a_warning(tmp_path, capfd):
    cv2 = pytest.importorskip('cv2')
    whole, cut = tmp_path / 'whole.avi', tmp_path / 'cut.avi'
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
    for frame in np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), np.uint8):
        writer.write(frame)
    writer.release()
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    video = Video(cut)
    with pytest.warns(UserWarning, match=r'cut\.avi ended after \d+ frames, .* has 60: it may'):
        assert 20 < len(list(video)) < 40
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert len(list(Video(whole))) == 60
    cut.unlink()
    with pytest.raises(StreamError, match=r'cut\.avi cannot be read any more'):
        list(video)

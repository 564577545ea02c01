"""A camera gives its newest frame; those for which the model has no time are dropped."""

import sys
import threading
import time
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest

from casvit import Camera, Classification, Predictor
from casvit.errors import MissingPackageError
from casvit.inputs.streams import StreamError, VideoWriter

cv2 = pytest.importorskip('cv2')


class Device:
    """In the place of ``cv2.VideoCapture``: gives BGR frames with their number in red and green."""

    frames = 10**9
    rate = 30.0
    error = None
    present = True

    def __init__(self, source):
        self.source, self.given, self.open = source, 0, self.present
        self.made.append(self)

    def isOpened(self):  # noqa: N802
        return self.open

    def get(self, _):
        return self.rate

    def read(self):
        assert self.open
        time.sleep(0.002)
        if self.given == self.frames:
            if self.error:
                raise self.error
            return False, None
        self.given += 1
        return True, np.full((4, 6, 3), (0, self.given // 256, self.given % 256), np.uint8)

    def release(self):
        self.open = False


@pytest.fixture
def device(monkeypatch):
    class Own(Device):
        made: ClassVar = []

    monkeypatch.setattr(cv2, 'VideoCapture', Own)
    yield Own
    assert Own.made and not any(each.open for each in Own.made)
    assert not [each for each in threading.enumerate() if each.name == 'casvit reading']


class Reading:
    """Needs no time."""

    task, classes, palette = 'classification', ('x',), [(0, 0, 0)]

    def __call__(self, images):
        height, width = images[0].shape[:2]
        more = dict(classes='x', height=height, width=width)
        return [Classification(np.ones(1, np.float32), **more) for _ in images]


class Slow(Reading):
    """Takes its time, during which the camera gives five frames."""

    def __init__(self, device):
        self.device = device

    def __call__(self, images):
        camera = self.device.made[-1]
        until = camera.given + 5
        while camera.given < until:
            time.sleep(0.001)
        return super().__call__(images)


def numbers(results):
    return [int(each.image[0, 0, 0]) + 256 * int(each.image[0, 0, 1]) for each in results]


def test_a_slow_model_gets_the_newest_frame_in_order(device):
    results = Predictor(Slow(device))(Camera(0))
    seen = []
    for _ in range(6):
        seen += numbers([next(results)])
    results.close()
    # The fifth may still be on its way.
    assert all(later - earlier >= 4 for earlier, later in pairwise(seen))


def test_an_unplugged_camera_is_a_sentence_after_its_last_frame(device):
    device.frames, device.error = 3, cv2.error('select() timeout')
    found = []
    with pytest.raises(StreamError, match='disconnected or switched off') as caught:
        for result in Predictor(Reading())(Camera('rtsp://door')):
            found += numbers([result])
            assert result.image.shape == (4, 6, 3) and result.image.flags.c_contiguous
    assert found[-1] == 3 and isinstance(caught.value.__cause__, cv2.error)
    assert {each.source for each in device.made} == {'rtsp://door'}


def test_a_camera_that_is_missing_or_gives_nothing_is_a_sentence(device):
    device.present = False
    with pytest.raises(StreamError, match=r'camera 7 cannot be opened: it is not connected'):
        Camera(7)
    device.present, device.frames = True, 0
    with pytest.raises(StreamError, match='gives no image'):
        Camera('http://door/stream')


def test_a_camera_that_does_not_say_its_rate_has_a_usual_one(device):
    assert Camera(0).frames_per_second == 30
    device.rate = 0.0
    assert Camera(0).frames_per_second == 25


def test_a_camera_can_be_used_again_after_it_was_closed(device):
    camera = Camera(0)
    for _ in range(2):
        assert numbers([next(Predictor(Reading())(camera))])[0] > 0


def test_opencv_reads_a_stream_by_its_address(tmp_path):
    with VideoWriter(tmp_path / 'stream.mp4', 10) as writer:
        for level in range(0, 200, 20):
            writer.write(np.full((48, 64, 3), (level, 20, 20), np.uint8))
    camera = Camera(str(tmp_path / 'stream.mp4'))
    assert camera.frames_per_second == 10
    found = []
    with pytest.raises(StreamError, match='stopped giving images'):
        for frame in camera:
            found.append(frame[..., 0].mean())
    assert found == sorted(found) and abs(found[-1] - 180) < 8


def test_a_device_that_this_machine_does_not_have_is_a_sentence(capfd):
    with pytest.raises(StreamError, match='camera 987 cannot be opened'):
        Camera(987)


def test_a_missing_opencv_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv2', None)
    with pytest.raises(MissingPackageError, match='cameras needs OpenCV'):
        Camera(0)

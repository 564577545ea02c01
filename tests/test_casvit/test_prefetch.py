"""Images are read in a background thread while the model computes, and never without need."""

import gc
import signal
import sqlite3
import sys
import threading
import time
import tracemalloc
from contextvars import ContextVar

import numpy as np
import pytest
from images import write_image

from casvit import Classification, Predictor
from casvit.inputs import ahead
from casvit.inputs.ahead import read_ahead
from casvit.inputs.images import ImageError
from casvit.predictor import PredictionError

BATCH_SIZES = [1, 3]


class Level:
    """Gives the grey level of an image as its score."""

    task, classes, palette = 'classification', ('dark', 'bright'), [(0, 0, 0), (9, 9, 9)]

    def __init__(self, on_batch=lambda: None):
        self.on_batch = on_batch

    def __call__(self, images):
        self.on_batch()
        return [
            Classification(
                np.array([1, image[0, 0, 0] / 255], np.float32), classes=self.classes,
                height=image.shape[0], width=image.shape[1],
            )
            for image in images
        ]  # fmt: skip


def grey(level, side=8):
    return np.full((side, side, 3), level, np.uint8)


def levels(results):
    return [round(255 * float(result.scores[1])) for result in results]


def readers():
    return [thread for thread in threading.enumerate() if thread.name == 'casvit reading']


@pytest.fixture(autouse=True)
def no_thread_is_left():
    assert not readers()
    yield
    assert not readers()


class Source:
    """An iterator that notes how far it got, and who advanced it."""

    def __init__(self, count=10**9, error=None):
        self.count, self.error = count, error
        self.taken, self.threads, self.inside = 0, set(), 0

    def __iter__(self):
        return self

    def __next__(self):
        self.inside += 1
        assert self.inside == 1
        self.threads.add(threading.get_ident())
        if self.taken == self.count:
            self.inside -= 1
            raise self.error or StopIteration
        self.taken += 1
        self.inside -= 1
        return grey(self.taken % 200, 8 + self.taken % 3)


@pytest.mark.parametrize('batch_size', BATCH_SIZES)
@pytest.mark.parametrize('prefetch', [True, False])
def test_results_come_in_order_and_a_few_images_are_read_ahead(batch_size, prefetch):
    source = Source(300)
    results = Predictor(Level(), batch_size=batch_size)(source, prefetch=prefetch)
    assert source.taken == 0 and not readers()
    # Those of the batches that wait, and those that were read ahead.
    limit = 2 * batch_size + (batch_size + 1) * prefetch
    for index, result in enumerate(results, 1):
        assert levels([result]) == [index % 200] and source.taken - index <= limit
    assert index == 300
    assert (threading.get_ident() in source.threads) is not prefetch and len(source.threads) == 1


def test_images_are_read_while_the_model_computes():
    source = Source(4)
    early = []

    def wait_for_all():
        limit = time.monotonic() + 30
        while source.taken < min(4, len(early) + 3) and time.monotonic() < limit:
            time.sleep(0.001)
        early.append(source.taken - len(early))

    assert levels(Predictor(Level(wait_for_all))(source)) == [1, 2, 3, 4]
    assert early == [3, 3, 2, 1]


def test_memory_does_not_grow_with_the_stream():
    frame = grey(0, side=600)
    tracemalloc.start()
    try:
        for _ in Predictor(Level())(frame + level for level in np.arange(100, dtype=np.uint8)):
            pass
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert frame.nbytes < most < 10 * frame.nbytes


def test_an_array_may_be_used_again_for_the_next_image():
    def frames():
        buffer = grey(0)
        for level in range(50):
            buffer[:] = level
            yield buffer

    results = list(Predictor(Level(), batch_size=4)(frames()))
    assert levels(results) == [result.image[0, 0, 0] for result in results] == list(range(50))


@pytest.mark.parametrize('batch_size', BATCH_SIZES)
def test_an_image_that_cannot_be_read_is_an_error_in_its_place(batch_size, tmp_path):
    paths = [write_image(tmp_path / f'{index}.png', seed=index) for index in range(8)]
    paths[5].write_text('no image')
    predict = Predictor(Level(), batch_size=batch_size)
    for given in (paths, iter(paths)):
        kinds = [type(answer) for answer in predict.answers(given)]
        assert kinds == [Classification] * 5 + [ImageError] + [Classification] * 2
    with pytest.raises(ImageError, match=r'5\.png'):
        predict(paths)
    results = predict(iter(paths))
    assert len([next(results) for _ in range(5)]) == 5
    # Although the error keeps its frames, and with them the results.
    with pytest.raises(ImageError, match=r'5\.png') as caught:
        next(results)
    assert caught.traceback and not readers()


@pytest.mark.parametrize('batch_size', BATCH_SIZES)
@pytest.mark.parametrize('prefetch', [True, False])
@pytest.mark.parametrize('count', [0, 1, 4, 7])
def test_an_error_of_the_source_comes_after_the_results_before_it(count, prefetch, batch_size):
    predict = Predictor(Level(), batch_size=batch_size)
    source = Source(count, OSError('the disk is gone'))
    found = []
    with pytest.raises(OSError, match='the disk is gone'):
        for answer in predict.answers(source, prefetch=prefetch):
            found.append(answer)
    assert levels(found) == list(range(1, count + 1))


def test_an_object_that_cannot_be_iterated_raises_its_error_at_the_first_result():
    class Closed:
        def __iter__(self):
            raise OSError('closed')

    with pytest.raises(OSError, match='closed'):
        next(Predictor(Level())(Closed()))


def test_a_source_that_exits_the_program_does_so_in_the_thread_of_the_caller():
    with pytest.raises(SystemExit):
        list(Predictor(Level())(Source(1, SystemExit(3))))


@pytest.mark.parametrize('batch_size', BATCH_SIZES)
def test_nothing_is_taken_once_the_results_are_closed(batch_size):
    source = Source()
    results = Predictor(Level(), batch_size=batch_size)(source)
    next(results)
    assert len(readers()) == 1
    results.close()
    taken = source.taken
    time.sleep(0.02)
    assert source.taken == taken and not readers()
    # The iterator still belongs to the caller.
    assert next(source) is not None


def test_results_that_are_forgotten_end_the_thread():
    source = Source()
    for _ in Predictor(Level())(source):
        break
    assert not readers()
    results = Predictor(Level())(source)
    next(results)
    cycle = [results]
    cycle.append(cycle)
    del results, cycle
    gc.collect()
    assert not readers()


@pytest.mark.parametrize('error', [KeyboardInterrupt, MemoryError, RuntimeError])
def test_an_error_while_the_model_computes_ends_the_thread(error):
    def fail():
        raise error

    expected = error if error is KeyboardInterrupt else PredictionError
    with pytest.raises(expected) as caught:
        list(Predictor(Level(fail))(Source()))
    assert caught.traceback and not readers()


class Silent:
    """An iterator whose second image comes when it is asked for."""

    def __init__(self):
        self.taken, self.answer = 0, threading.Event()

    def __iter__(self):
        return self

    def __next__(self):
        self.taken += 1
        if self.taken > 1:
            assert self.answer.wait(30)
        return grey(1)


@pytest.fixture
def hears_ctrl_c():
    """The usual handler of Ctrl-C, which the processes of a distributed test run ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures('hears_ctrl_c')
@pytest.mark.parametrize('patience', [0.01, 30])
def test_ctrl_c_is_heard_while_the_source_does_not_answer(patience, monkeypatch):
    monkeypatch.setattr(ahead, 'PATIENCE', patience)
    source = Silent()
    results = Predictor(Level())(source)
    next(results)
    main = threading.get_ident()

    def press():
        signal.pthread_kill(main, signal.SIGINT)
        if patience == 30:
            time.sleep(0.05)
            source.answer.set()

    key = threading.Timer(0.05, press)
    key.start()
    with pytest.raises(KeyboardInterrupt):
        next(results)
    # It waits for the image that is being taken, but not for ever.
    assert (not readers()) is (patience == 30)
    source.answer.set()
    for thread in (key, *readers()):
        thread.join()
    assert source.taken == 2


def test_a_file_that_an_iterable_opened_is_closed_with_the_results():
    closed = []

    class Film:
        def __iter__(self):
            try:
                while True:
                    yield grey(3)
            finally:
                closed.append(threading.get_ident())

    results = Predictor(Level())(Film())
    next(results)
    assert not closed
    results.close()
    assert len(closed) == 1


def test_a_generator_of_the_caller_stays_open():
    frames = (grey(level) for level in range(100))
    results = Predictor(Level())(frames)
    next(results)
    results.close()
    assert next(frames)[0, 0, 0] in range(2, 6)


def test_an_iterator_that_needs_the_thread_of_the_caller_has_it_without_prefetch(tmp_path):
    path = write_image(tmp_path / 'a.png')
    database = sqlite3.connect(':memory:')
    database.execute('create table images (path text)')
    database.executemany('insert into images values (?)', [(str(path),)] * 3)
    rows = database.execute('select path from images')
    predict = Predictor(Level())
    with pytest.raises(sqlite3.ProgrammingError, match='same thread'):
        list(predict(path for (path,) in rows))
    rows = database.execute('select path from images')
    assert len(list(predict((path for (path,) in rows), prefetch=False))) == 3
    database.close()


def test_the_thread_sees_the_context_of_the_caller():
    setting = ContextVar('setting', default=0)
    setting.set(7)
    assert list(read_ahead([1], lambda item: item + setting.get(), 1)) == [8]


def test_a_single_image_needs_no_thread():
    seen = []
    Predictor(Level(lambda: seen.append(readers())))(grey(3))
    assert seen == [[]]


def test_many_streams_at_once_do_not_disturb_each_other():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        predict = Predictor(Level(), batch_size=2)
        streams = [predict(Source(40)) for _ in range(8)]
        rounds = list(zip(*streams, strict=True))
    finally:
        sys.setswitchinterval(interval)
    assert [levels(each) for each in rounds] == [[level] * 8 for level in range(1, 41)]

"""Fixtures that several tests share."""

import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

if workers := int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', 0)):
    # Set before torch is imported, also for processes that tests start: workers share the cores.
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // workers)))

from casvit_mm.engine.checkpoints import noted_checkpoint
from casvit_mm.engine.launch import RANK_VARIABLES

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent
sys.path.insert(0, str(TESTS))
# How long an example takes depends on what else the machine does.
settings.register_profile('any_machine', deadline=None)
settings.load_profile('any_machine')


def pytest_collection_finish() -> None:
    """Leaves all that was imported out of garbage collections, which each dataset starts."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='session')
def configs() -> Path:
    """The folder of the shipped configs."""
    return REPOSITORY / 'configs'


@pytest.fixture(scope='session')
def photographs() -> Path:
    """Real photographs with annotations; tests that need them are skipped if there are none."""
    folder = os.environ.get('CASVIT_TEST_DATA')
    if not folder:
        pytest.skip('CASVIT_TEST_DATA is not set: no real photographs to test with')
    return Path(folder)


@pytest.fixture
def started_by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that torchrun gives to the only process of a run."""
    values = ('0', '1', '0', '127.0.0.1', '0')
    for name, value in zip(RANK_VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)


@dataclass(frozen=True)
class TrainedDemo:
    """A run of the detection demo: its folder, last checkpoint, and duration in seconds."""

    work_dir: Path
    last: str
    seconds: float


@pytest.fixture(scope='session')
def trained_demo(tmp_path_factory: pytest.TempPathFactory) -> TrainedDemo:
    """Mask R-CNN, trained on generated images from random weights as in `make demo`: minutes."""
    from long_runs import tool

    work_dir = tmp_path_factory.mktemp('demo')
    _, seconds = tool('train', 'mask_rcnn_casvit-xs_demo_shapes', '--work-dir', work_dir)
    return TrainedDemo(work_dir, noted_checkpoint(work_dir), seconds)

"""What several tests share."""

import os
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent
sys.path.insert(0, str(TESTS))


@pytest.fixture(scope='session')
def configs() -> Path:
    """The folder of the shipped configs."""
    return REPOSITORY / 'configs'


@pytest.fixture(scope='session')
def photographs() -> Path:
    """Real photographs with annotations; tests that want them are skipped where there are none."""
    folder = os.environ.get('CASVIT_TEST_DATA')
    if not folder:
        pytest.skip('CASVIT_TEST_DATA is unset: no real photographs to test on')
    return Path(folder)

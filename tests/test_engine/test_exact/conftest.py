import gc
import os

import pytest
from mmengine.utils import ManagerMixin
from torch.utils.data import DataLoader


@pytest.fixture(autouse=True)
def no_wait_for_the_disk(monkeypatch):
    """Hundreds of checkpoints are written here, which no power cut threatens."""
    monkeypatch.setattr(os, 'fsync', lambda _: None)


@pytest.fixture(autouse=True)
def no_run_is_left():
    """Ends the run of a test: errors of later tests would refer to its log."""
    yield
    for loader in [each for each in gc.get_objects() if isinstance(each, DataLoader)]:
        # Left to the garbage collector, processes are waited for at any later moment.
        if loader._iterator is not None:
            loader._iterator._shutdown_workers()
            loader._iterator = None
    kinds = [ManagerMixin]
    while kinds:
        kind = kinds.pop()
        kind._instance_dict.clear()
        kinds += kind.__subclasses__()

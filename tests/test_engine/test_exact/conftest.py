import gc

import pytest
from mmengine.utils import ManagerMixin
from torch.utils.data import DataLoader


@pytest.fixture(autouse=True)
def no_run_is_left():
    """Ends the run of a test: errors of later tests would refer to its log."""
    yield
    for loader in [each for each in gc.get_objects() if isinstance(each, DataLoader)]:
        # Processes that are forked later have a copy of it, and would wait for its processes.
        if loader._iterator is not None:
            loader._iterator._shutdown_workers()
            loader._iterator = None
    kinds = [ManagerMixin]
    while kinds:
        kind = kinds.pop()
        kind._instance_dict.clear()
        kinds += kind.__subclasses__()

import signal
import subprocess
import sys

import pytest
from exact_runs import Noise
from torch.utils.data import DataLoader

from casvit_mm.engine.exact.randomness import load_with_care


@pytest.mark.skipif(not hasattr(signal, 'sigwaitinfo'), reason='does not tell who sent a signal')
def test_only_the_run_itself_ends_a_process_that_loads_data_for_it():
    loader = DataLoader(Noise(), batch_size=2, num_workers=1, persistent_workers=True)
    load_with_care(loader, seed=0)
    list(loader)
    worker = loader._iterator._workers[0]
    for name in ('SIGTERM', 'SIGINT'):
        # Another process sends it, as a scheduler or a terminal does.
        code = f'import os, signal; os.kill({worker.pid}, signal.{name})'
        subprocess.run([sys.executable, '-c', code], check=True)
    worker.join(0.5)
    assert worker.is_alive() and len(list(loader)) == 7
    worker.terminate()
    worker.join(10)
    assert worker.exitcode == 0

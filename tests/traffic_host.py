"""One of two machines that train together, as a script: times its steps, and counts what it sends.

Arguments: its rank, the config file, and the number of steps. It prints a list of pairs as JSON:
seconds, and bytes that its network device has sent.
"""

import json
import sys
import time
from pathlib import Path

import torch
from torch import distributed
from traffic import training_step

FIRST = 'tcp://10.213.0.1:29500'
SENT = Path('/sys/class/net/net/statistics/tx_bytes')


def main(rank, config, steps):
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=FIRST, rank=rank, world_size=2)
    step = training_step(config)
    for _ in range(2):
        step()
    found = []
    for _ in range(steps):
        distributed.barrier()
        begun, sent = time.perf_counter(), int(SENT.read_text())
        step()
        distributed.barrier()
        found.append((time.perf_counter() - begun, int(SENT.read_text()) - sent))
    print(json.dumps(found), flush=True)
    distributed.destroy_process_group()


if __name__ == '__main__':
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

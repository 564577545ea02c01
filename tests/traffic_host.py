"""One of two machines that train together, as a script: times its steps, and counts what it sends.

Arguments: its rank, the config file, how often it does all of them in turn, and limits to what it
sends, in megabits per second. It prints a list for each turn as JSON, with a pair for each step:
seconds, and bytes that its network device has sent. The first step of a turn reduces nothing, the
second one is not limited, and the others are limited in the order of the arguments.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import distributed
from traffic import BURST, training_step

FIRST = 'tcp://10.213.0.1:29500'
SENT = Path('/sys/class/net/net/statistics/tx_bytes')
QDISC = ('tc', 'qdisc')
ROOT = ('dev', 'net', 'root')


def limit(megabits):
    """Limits what this host can send; 0 for no limit."""
    subprocess.run([*QDISC, 'del', *ROOT], capture_output=True)
    if megabits:
        shape = ('tbf', 'rate', f'{megabits}mbit', 'burst', str(BURST), 'latency', '200ms')
        subprocess.run([*QDISC, 'add', *ROOT, *shape], check=True)


def timed(step, **options):
    """Seconds of a step that both hosts begin and end together, and bytes that this one sends."""
    distributed.barrier()
    begun, sent = time.perf_counter(), int(SENT.read_text())
    step(**options)
    distributed.barrier()
    return time.perf_counter() - begun, int(SENT.read_text()) - sent


def main(rank, config, turns, *limits):
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=FIRST, rank=rank, world_size=2)
    step = training_step(config)
    for _ in range(2):
        step()
    found = []
    for _ in range(turns):
        found.append([timed(step, reduces=False)])
        for megabits in (0, *limits):
            limit(megabits)
            found[-1].append(timed(step))
        limit(0)
    print(json.dumps(found), flush=True)
    distributed.destroy_process_group()


if __name__ == '__main__':
    main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))

"""What two processes send each other, counted by torch and by the network device, and timed."""

import json
import shutil
import statistics
import sys
from pathlib import Path

import pytest
import torch
from long_runs import report
from traffic import BURST, count_traffic, step_seconds
from two_hosts import Hosts, why_not

pytestmark = pytest.mark.long
SIZES = ('xs', 's', 'm', 't')
MODELS = {
    'classifier': 'casvit-{}_8xb128_in1k',
    'Semantic FPN': 'semantic_fpn_casvit-{}_40k_ade20k-512x512',
    'RetinaNet': 'retinanet_casvit-{}_fpn_1x_coco',
    'Mask R-CNN': 'mask_rcnn_casvit-{}_fpn_1x_coco',
}
HOST = Path(__file__).parents[1] / 'traffic_host.py'
MEGABIT = 10**6
LIMITS = (100, 400, 1000)
"""Megabits per second."""
TURNS = 7


def config(configs, name):
    return str(next(configs.glob(f'*/{name}.py')))


@pytest.mark.parametrize('model', MODELS)
def test_two_processes_reduce_their_gradients_and_nothing_else(model, configs, capsys):
    counted = count_traffic(*(config(configs, MODELS[model].format(size)) for size in SIZES))
    for each in counted:
        assert each.parameters > 10**6
        assert each.others == 0
    sizes = (
        f'{size.upper()} {each.reduced / 1e6:.1f}'
        for size, each in zip(SIZES, counted, strict=True)
    )
    report(capsys, f'{model}, MB per step: {", ".join(sizes)}')


def turns_of(hosts, file):
    """Seconds and sent bytes of the steps that both hosts do together, as host a sees them."""
    for rank, host in enumerate('ab'):
        options = map(str, (rank, file, TURNS, *LIMITS))
        hosts.run(host, [sys.executable, str(HOST), *options])
    assert [hosts.processes[host].wait(600) for host in 'ab'] == [0, 0], hosts.log('a').read_text()
    return json.loads(hosts.log('a').read_text().splitlines()[-1])


def spread(seconds):
    """Median and range, for a person."""
    return f'{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})'


@pytest.mark.skipif(bool(why_not()), reason=why_not() or 'not skipped')
@pytest.mark.skipif(shutil.which('tc') is None, reason='needs tc of iproute2')
@pytest.mark.skipif(torch.cuda.is_available(), reason='the hosts have no GPUs')
def test_a_network_device_sends_what_the_prediction_of_the_time_says(configs, tmp_path, capsys):
    file = config(configs, MODELS['RetinaNet'].format('xs'))
    size = count_traffic(file)[0].reduced
    with Hosts(tmp_path / 'run') as hosts:
        turns = turns_of(hosts, file)
    (alone, *reducing) = zip(*turns, strict=True)
    assert all(sent < 10**5 for _, sent in alone)
    compute = [seconds for seconds, _ in alone]
    lines = [f'without the network: {spread(compute)}']
    for megabits, found in zip((None, *LIMITS), reducing, strict=True):
        line = f'{megabits or "no limit"}: measured {spread([each[0] for each in found])}'
        # Two machines send each gradient once; headers of packets are some percent.
        assert all(size <= sent < 1.1 * size for _, sent in found)
        if megabits:
            bandwidth = megabits * MEGABIT
            # Otherwise the device was not limited.
            assert all(8 * (sent - BURST) / bandwidth <= seconds for seconds, sent in found)
            predicted = step_seconds(statistics.median(compute), size, 2, bandwidth)
            line += f', predicted {predicted:.2f} s'
        lines.append(line)
    title = f'RetinaNet XS, {size / 1e6:.1f} MB per step, two hosts, limits in Mbit/s:'
    report(capsys, '\n'.join([title, *lines]))

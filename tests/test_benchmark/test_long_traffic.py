"""What two processes send each other, counted by torch and by the network device, and timed."""

import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from long_runs import report
from traffic import count_traffic, step_seconds
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


def config(configs, name):
    return str(next(configs.glob(f'*/{name}.py')))


@pytest.mark.parametrize('model', MODELS)
def test_two_processes_reduce_their_gradients_and_next_to_nothing_else(model, configs, capsys):
    counted = {size: count_traffic(config(configs, MODELS[model].format(size))) for size in SIZES}
    for each in counted.values():
        assert each.parameters > 10**6
        assert 0 <= each.others < 1000
    report(
        capsys,
        f'{model}, MB per step (other bytes): '
        + ', '.join(
            f'{size.upper()} {each.reduced / 1e6:.1f} ({each.others})'
            for size, each in counted.items()
        ),
    )


def limit(megabits):
    """Limits what each host can send; None for no limit."""
    for host in 'ab':
        inside = ['ip', 'netns', 'exec', f'casvit-{host}', 'tc', 'qdisc']
        if megabits is None:
            subprocess.run([*inside, 'del', 'dev', 'net', 'root'], capture_output=True)
            continue
        shape = ('tbf', 'rate', f'{megabits}mbit', 'burst', '256kb', 'latency', '200ms')
        subprocess.run([*inside, 'replace', 'dev', 'net', 'root', *shape], check=True)


def steps_on(hosts, file, steps):
    """Seconds and sent bytes of steps that both hosts do together, as host a sees them."""
    for rank, host in enumerate('ab'):
        hosts.run(host, [sys.executable, str(HOST), str(rank), file, str(steps)])
    assert [hosts.processes[host].wait(300) for host in 'ab'] == [0, 0], hosts.log('a').read_text()
    return json.loads(hosts.log('a').read_text().splitlines()[-1])


@pytest.mark.skipif(bool(why_not()), reason=why_not() or 'not skipped')
@pytest.mark.skipif(shutil.which('tc') is None, reason='needs tc of iproute2')
@pytest.mark.skipif(torch.cuda.is_available(), reason='the hosts have no GPUs')
def test_a_network_device_sends_what_the_prediction_of_the_time_says(configs, tmp_path, capsys):
    file = config(configs, MODELS['RetinaNet'].format('xs'))
    size = count_traffic(file).reduced
    lines = []
    with Hosts(tmp_path / 'run') as hosts:
        compute = None
        for megabits in (None, *LIMITS):
            limit(megabits)
            found = steps_on(hosts, file, 7)
            seconds = [each[0] for each in found]
            # Two machines send each gradient once; headers of packets are some percent.
            for _, sent in found:
                assert size <= sent < 1.1 * size
            median = statistics.median(seconds)
            compute = compute or median
            predicted = step_seconds(compute, size, 2, megabits * MEGABIT) if megabits else median
            lines.append(
                f'{megabits or "no limit"} Mbit/s: measured {median:.2f} s '
                f'({min(seconds):.2f} to {max(seconds):.2f}), predicted {predicted:.2f} s'
            )
    report(capsys, '\n'.join([f'RetinaNet XS, {size / 1e6:.1f} MB per step, two hosts:', *lines]))

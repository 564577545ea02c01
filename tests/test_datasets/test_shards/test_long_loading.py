"""How fast a training loader reads images from files and from shards, side by side."""

import statistics
import time

import pytest
from long_runs import report
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from quick_runs import DEMO
from shard_server import serving

from casvit.configs import find_config
from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.edit import reroot
from casvit_mm.config.view import ConfigView
from casvit_mm.datasets.formats.find import read_dataset
from casvit_mm.datasets.shapes.objects import generate
from casvit_mm.datasets.shards.plan import plan_of
from casvit_mm.datasets.shards.write import write_shards

pytestmark = pytest.mark.long
TURNS = 9
IMAGES = 200


def loader_of(root, workers):
    cfg = Config.fromfile(find_config(DEMO))
    reroot(cfg, str(root))
    load_toolbox(cfg)
    init_default_scope(ConfigView(cfg).scope)
    options = cfg.train_dataloader
    options.update(num_workers=workers, persistent_workers=workers > 0)
    return Runner.build_dataloader(options, seed=0)


def images_per_second(loader):
    begun = time.perf_counter()
    count = sum(len(batch['inputs']) for batch in loader)
    assert count == IMAGES
    return count / (time.perf_counter() - begun)


def test_files_shards_and_a_web_server_take_turns(tmp_path, capsys):
    files, shards = tmp_path / 'files', tmp_path / 'demo.shards'
    generate(files, num_train=IMAGES, num_val=2, size=160, seed=0, progress=False)
    write_shards(plan_of(read_dataset(files, 'instance')), shards, 1 << 28)
    lines = []
    with serving(tmp_path) as (host, _):
        roots = {
            'files': files,
            'shards in a folder': f'shards://{shards}',
            'shards on a web server of this machine': f'shards+http://{host}/demo.shards',
        }
        for workers in (0, 2):
            loaders = {name: loader_of(root, workers) for name, root in roots.items()}
            found = {name: [] for name in roots}
            for turn in range(TURNS + 1):
                for name, loader in loaders.items():
                    speed = images_per_second(loader)
                    # The first one starts the worker processes.
                    if turn:
                        found[name].append(speed)
            for name, speeds in found.items():
                low, median, high = statistics.quantiles(speeds, n=4)
                lines.append(
                    f'{workers} workers, {name}: {median:.0f} images/s ({low:.0f} to {high:.0f})'
                )
    report(capsys, '\n'.join(['Mask R-CNN demo, loader:', *lines]))

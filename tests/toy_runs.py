"""Runs of a model with one weight, which take milliseconds per epoch.

As a script, ``python toy_runs.py RUNNER WORK_DIR``, it kills a run at each file that it touches,
and prints the files that were left each time as JSON.
"""

import json
import os
import sys
import traceback
from pathlib import Path

import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from mmengine.registry import RUNNERS
from mmengine.utils import ManagerMixin
from torch import nn
from torch.utils.data import Dataset

import casvit_mm  # noqa: F401

STEPS = 4
KILLED = 9


class Numbers(Dataset):
    """A dataset with one number for each step of an epoch."""

    def __init__(self):
        self.metainfo = dict(classes=('one',))

    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        return torch.tensor([float(index + 1)])


class Line(BaseModel):
    """Learns a slope. ``scripted`` maps steps, counted from 1, to factors for their loss."""

    def __init__(self, scripted=None):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.scripted = scripted or {}
        self.step = 0

    def forward(self, x, mode='tensor'):
        x = torch.stack(x) if isinstance(x, list) else x
        output = self.layer(x)
        if mode != 'loss':
            return output
        self.step += 1
        error = (output - 2 * x).square().mean()
        return dict(loss_line=error * self.scripted.get(self.step, 1))


class Scores(BaseMetric):
    """A metric that returns given scores, one per validation."""

    def __init__(self, scores):
        super().__init__()
        self.scores = iter(scores)

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(mAP=next(self.scores))


def toy_run(work_dir, *, runner='CASViTRunner', epochs=3, scores=None, scripted=None, **options):
    """A runner, as built from a config in a new process."""
    kinds = [ManagerMixin]
    while kinds:
        kind = kinds.pop()
        kind._instance_dict.clear()
        kinds += kind.__subclasses__()
    loader = dict(
        batch_size=1,
        num_workers=0,
        dataset=Numbers(),
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    hooks = dict(
        logger=None,
        checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1, save_best='mAP'),
    )
    train_cfg = options.pop('train_cfg', dict(by_epoch=True, max_epochs=epochs, val_interval=1))
    torch.manual_seed(0)
    return RUNNERS.get(runner)(
        model=Line(scripted),
        work_dir=str(work_dir),
        train_dataloader=loader,
        val_dataloader=loader,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        train_cfg=train_cfg,
        val_cfg=dict(),
        val_evaluator=Evaluator(Scores(scores or [0.1 * (1 + epoch) for epoch in range(epochs)])),
        default_hooks={**hooks, **options.pop('default_hooks', {})},
        randomness=dict(seed=0),
        log_level='ERROR',
        **{'cfg': dict(), **options},
    )


def killed_at(number, runner, work_dir):
    """Trains in a child process that is killed before it touches a file for the nth time.

    Returns:
        Whether it was killed; if not, it finished.
    """
    child = os.fork()
    if not child:
        try:
            _train_until(number, runner, work_dir)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    code = os.WEXITSTATUS(os.waitpid(child, 0)[1])
    assert code in (0, KILLED)
    return code == KILLED


def _train_until(number, runner, work_dir):
    touched = 0

    def count(event, arguments):
        nonlocal touched
        if event not in ('open', 'os.rename', 'os.remove'):
            return
        if event == 'open' and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        if Path(os.fsdecode(arguments[0])).parent == work_dir:
            touched += 1
            if touched == number:
                os._exit(KILLED)

    work_dir.mkdir(parents=True)
    # The runner is built only once, since collecting facts about the environment takes seconds.
    runner._work_dir = str(work_dir)
    sys.addaudithook(count)
    runner.train()


def is_readable(file):
    """Whether a checkpoint can be read."""
    try:
        return 'state_dict' in torch.load(file, weights_only=False)
    except (OSError, RuntimeError, EOFError):
        return False


def main(runner, where):
    """Kills runs, each one later than the one before, until one finishes."""
    torch.set_num_threads(1)
    runner = toy_run(Path(where, 'built'), runner=runner)
    left = []
    for number in range(1, 100):
        work_dir = Path(where, str(number))
        if not killed_at(number, runner, work_dir):
            break
        files = sorted(path.name for path in work_dir.glob('*.pth'))
        broken = [name for name in files if not is_readable(work_dir / name)]
        left.append(dict(work_dir=str(work_dir), files=files, broken=broken))
    print(json.dumps(left))


if __name__ == '__main__':
    main(*sys.argv[1:])

"""Fine-tunes a model on a dataset, with a config that it writes itself."""

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from mmengine.config import Config

from casvit.errors import DatasetError
from casvit.files import write_whole
from casvit.weights.find import local_path
from casvit_mm.commands.data import checked, report
from casvit_mm.commands.runs import say
from casvit_mm.datasets.audit.masks import MaskAudit
from casvit_mm.datasets.audit.objects import ObjectAudit
from casvit_mm.datasets.issues import Severity
from casvit_mm.engine.checkpoints import best_checkpoint, latest_checkpoint
from casvit_mm.finetune.config import config_text
from casvit_mm.finetune.data import FOLDER
from casvit_mm.finetune.fit import fit_plan
from casvit_mm.finetune.plan import make_plan, refuse_unsafe_path


def run(args: Namespace) -> int:
    """Checks the dataset, writes the config, trains and tests.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CliError: The arguments contradict each other, or no batch fits into memory.
        DatasetError: The dataset has errors, or cannot be read.
        CheckpointError: The checkpoint cannot be read.
    """
    name = Path(args.data).expanduser().resolve().stem
    work_dir = Path(args.work_dir or Path('work_dirs') / f'finetune_{name}')
    refuse_unsafe_path('data folder', Path(args.data).expanduser())
    refuse_unsafe_path('work dir', work_dir)
    if args.checkpoint:
        args.checkpoint = local_path(args.checkpoint)
        refuse_unsafe_path('checkpoint', Path(args.checkpoint).expanduser())
    check = checked(args, work_dir / FOLDER, read_images=True)
    for line in report(check, limit=3):
        say(line)
    _refuse_errors(check, args)
    plan = make_plan(args, check, work_dir)
    for note in plan.data.notes:
        say(note)
    file = work_dir / 'config.py'
    if not args.batch_size:
        plan, fit = fit_plan(plan, file, args.memory, say)
        say(str(fit))
    write_whole(file, config_text(plan))
    say(
        f'Images of {plan.image_size} pixels, {plan.max_epochs} epochs of '
        f'{plan.steps_an_epoch} steps, learning rate {plan.learning_rate:g}.'
    )
    say(f'config: {file}')
    if args.no_train:
        return 0
    return _train(file, work_dir)


def _refuse_errors(check: ObjectAudit | MaskAudit, args: Namespace) -> None:
    errors = check.issues.of(Severity.ERROR)
    if errors:
        raise DatasetError(
            f'The dataset has {len(errors)} errors (above). `casvit check {args.data} --task '
            f'{args.task} --fix OUT` writes a repaired copy to train on.'
        )
    if not check.classes:
        raise DatasetError(f'The dataset {args.data} has no classes.')


def _train(file: Path, work_dir: Path) -> int:
    """Trains, and tests the best checkpoint, with the commands that users would run."""
    tools = [sys.executable, '-m', 'casvit']
    code = subprocess.run([*tools, 'train', str(file)]).returncode
    if code:
        return code
    checkpoint = str(best_checkpoint(work_dir) or latest_checkpoint(work_dir))
    predictions = work_dir / 'predictions'
    config = Config.fromfile(file)
    say(f'Testing {checkpoint} on {config.test_dataloader.dataset.ann_file}')
    options = ['--work-dir', str(work_dir / 'test'), '--show-dir', str(predictions)]
    code = subprocess.run([*tools, 'test', str(file), checkpoint, *options]).returncode
    if code:
        return code
    say(f'best checkpoint: {checkpoint}')
    say(f'predictions: {predictions}')
    say(f'try it: casvit image_demo PHOTO.jpg {file} {checkpoint} --out-dir out')
    return 0

"""Fine-tunes a model on a dataset, with a config that it writes itself."""

import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from mmengine.config import Config

from casvit.cli.loading import loading
from casvit.errors import DatasetError
from casvit.files import write_whole
from casvit.sentences import count_of
from casvit.terminal.program import command
from casvit.terminal.screen import Screen
from casvit.weights.find import local_path
from casvit_mm.commands.data import checked, checked_classes, report
from casvit_mm.commands.runs import require_new_run
from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.values import check_values
from casvit_mm.datasets.audit.classes.audit import ClassAudit
from casvit_mm.datasets.audit.masks import MaskAudit
from casvit_mm.datasets.audit.objects import ObjectAudit
from casvit_mm.datasets.issues import Severity
from casvit_mm.engine.batches import smallest_batch
from casvit_mm.finetune.base import Base, choose_base
from casvit_mm.finetune.config import config_text
from casvit_mm.finetune.data import FOLDER
from casvit_mm.finetune.fit import fit_plan, require_batch, time_plan
from casvit_mm.finetune.kept import build_model, describe_start
from casvit_mm.finetune.plan import Plan, check_arguments, make_plan, refuse_unsafe_path
from casvit_mm.finetune.result import choose_checkpoint, write_model
from casvit_mm.finetune.start import Start, read_start
from casvit_mm.finetune.timing import describe_time, image_size_for, limited

Audit = ObjectAudit | MaskAudit | ClassAudit


def run(args: Namespace) -> int:
    """Checks the dataset, writes the config, trains and tests.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CliError: The arguments contradict each other, or no batch fits into memory.
        DatasetError: The dataset has errors, or cannot be read.
        CheckpointError: The checkpoint cannot be read, or does not fit.
    """
    screen = Screen(quiet=args.quiet)
    say = screen.say
    name = Path(args.data).expanduser().resolve().stem
    work_dir = Path(args.work_dir or Path('work_dirs') / f'finetune_{name}')
    if args.checkpoint:
        args.checkpoint = local_path(args.checkpoint)
    _refuse_unsafe_paths(args, work_dir)
    if not args.no_train and not args.overwrite:
        config = work_dir / 'config.py'
        require_new_run(
            work_dir, f'Continue that run with `{command("train", config, "--resume")}`'
        )
    start = _start(args) if args.checkpoint else None
    base = choose_base(args, start)
    check_arguments(args, base.task, start)
    load_toolbox(base.config)
    if args.config:
        check_values(base.config)
    for note in base.notes:
        say(note)
    check = _checked(args, base, work_dir, screen)
    plan = make_plan(args, check, work_dir, base, start)
    for note in plan.data.notes:
        say(note)
    smallest = _look_at_model(plan, start, screen)
    if args.batch_size:
        require_batch(plan, smallest)
    say(plan.augmentation)
    file = work_dir / 'config.py'
    measured = None
    if not args.batch_size:
        plan, fit, measured = fit_plan(plan, file, args.memory, say, smallest)
        say(str(fit))
    elif not args.no_train or args.minutes:
        say('Measuring the time of a step …')
        measured = time_plan(plan, file, args.memory)
    if args.minutes and measured is not None:
        side = args.image_size or image_size_for(plan, measured, args.minutes)
        if side < plan.image_size:
            say(
                f'Images of {side} pixels instead of {plan.image_size}: more steps fit into '
                f'{count_of(args.minutes, "minute")}. --image-size keeps a size.'
            )
            plan = replace(plan, image_size=side)
            measured = time_plan(plan, file, args.memory)
        plan = limited(plan, measured, args.minutes)
    write_whole(file, config_text(plan))
    say(
        f'Images of {plan.image_size} pixels, {plan.max_epochs} epochs of '
        f'{plan.steps_an_epoch} steps, learning rate {plan.learning_rate:g}.'
    )
    if measured is not None:
        for line in describe_time(plan, measured):
            say(line)
    (screen.tell if args.no_train else say)(f'config: {file}')
    if args.no_train:
        return 0
    return _train(file, plan, args, screen)


def _start(args: Namespace) -> Start:
    # The config in a checkpoint names types of its toolbox, which is imported to know them.
    with loading(f'The checkpoint {args.checkpoint}'):
        # Only the config tells which backbone it is for, and it is read later.
        return read_start(args.checkpoint, any_backbone=bool(args.config))


def _refuse_unsafe_paths(args: Namespace, work_dir: Path) -> None:
    refuse_unsafe_path('data folder', Path(args.data).expanduser())
    refuse_unsafe_path('work dir', work_dir)
    if args.checkpoint and '://' not in args.checkpoint:
        refuse_unsafe_path('checkpoint', Path(args.checkpoint).expanduser())


def _checked(args: Namespace, base: Base, work_dir: Path, screen: Screen) -> Audit:
    """Checks the dataset, and stops if it has errors."""
    args.task = base.task
    check: Audit
    if base.task == 'classification':
        check = checked_classes(args, read_images=True)
    else:
        check = checked(args, work_dir / FOLDER, read_images=True)
    errors = check.issues.of(Severity.ERROR)
    for line in report(check, limit=3):
        (screen.tell if errors else screen.say)(line)
    if errors:
        raise DatasetError(
            f'The dataset has {count_of(len(errors), "error")} (above). `casvit check {args.data} '
            f'--task {base.task} --fix OUT` writes a repaired copy to train on.'
        )
    return check


def _look_at_model(plan: Plan, start: Start | None, screen: Screen) -> int:
    """Says what is kept of the checkpoint; returns the smallest batch that can be trained."""
    if start is None and plan.task != 'semantic':
        return 1
    model = build_model(plan)
    if start is not None:
        screen.say(describe_start(plan, model, start))
    return smallest_batch(model)


def _train(file: Path, plan: Plan, args: Namespace, screen: Screen) -> int:
    """Trains, and tests the best checkpoint, with the commands that users would run."""
    tools = [sys.executable, '-m', 'casvit']
    shown = _passed_on(args)
    code = subprocess.run([*tools, 'train', str(file), '--overwrite', *shown]).returncode
    if code:
        return code
    work_dir = plan.work_dir
    checkpoint, note = choose_checkpoint(work_dir, plan.task)
    if note:
        screen.warn(note)
    model = write_model(checkpoint, work_dir)
    predictions = work_dir / 'predictions'
    config = Config.fromfile(file)
    screen.say(f'Testing {checkpoint} on {config.test_dataloader.dataset.ann_file}')
    options = ['--work-dir', str(work_dir / 'test'), '--show-dir', str(predictions)]
    code = subprocess.run([*tools, 'test', str(file), str(model), *options, *shown]).returncode
    if code:
        return code
    screen.say(f'checkpoint: {checkpoint}')
    screen.say(f'predictions: {predictions}')
    screen.tell(
        f'model to use: {model} (weights, classes and config, without the state of the run)'
    )
    command_line = command('image_demo', 'PHOTO.jpg', file, model, '--out-dir', 'out')
    screen.say(f'try it: {command_line}')
    return 0


def _passed_on(args: Namespace) -> list[str]:
    """The options that training and test share with this command."""
    flags = ('quiet', 'debug', 'trust', 'no_labels', 'no_boxes')
    options = [f'--{flag.replace("_", "-")}' for flag in flags if getattr(args, flag)]
    for name in ('line_width', 'font_size'):
        if (value := getattr(args, name)) is not None:
            options += [f'--{name.replace("_", "-")}', str(value)]
    return options

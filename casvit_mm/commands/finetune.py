"""Fine-tunes a model on a folder of images, without a config of one's own."""

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
from mmengine.config import Config

from casvit.errors import CliError, DatasetError
from casvit.names import name_fault
from casvit_mm.commands.data import checked, report
from casvit_mm.commands.runs import say
from casvit_mm.config.read import load_config
from casvit_mm.datasets.audit.masks import MapCheck
from casvit_mm.datasets.audit.objects import ObjectCheck
from casvit_mm.datasets.issues import Severity
from casvit_mm.engine.checkpoints import best_checkpoint, latest_checkpoint
from casvit_mm.finetune.config import config_text
from casvit_mm.finetune.data import prepare_maps, prepare_objects
from casvit_mm.finetune.memory import GIB, Fit, fit_batch, measure_run, usable_memory
from casvit_mm.finetune.plan import Plan
from casvit_mm.models.checkpoint import read_checkpoint

BASES = dict(
    detection='retinanet_casvit-{}_fpn_1x_coco',
    instance='mask_rcnn_casvit-{}_fpn_1x_coco',
    semantic='semantic_fpn_casvit-{}_40k_ade20k-512x512',
)
# A model that is larger than its pictures only repeats their pixels.
IMAGE_SIZES = dict(detection=(256, 1024), instance=(256, 1024), semantic=(128, 512))
HEADS = ('roi_head.', 'bbox_head.', 'decode_head.', 'rpn_head.')


def run(args: Namespace) -> int:
    """Fine-tunes.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CliError: The arguments do not go together, or nothing fits into memory.
        DatasetError: The data have errors, or cannot be read.
        CheckpointError: The checkpoint cannot be read.
    """
    name = Path(args.data).expanduser().resolve().stem
    work_dir = Path(args.work_dir or Path('work_dirs') / f'finetune_{name}')
    _refuse_unsafe_path('data folder', Path(args.data).expanduser())
    _refuse_unsafe_path('work dir', work_dir)
    if args.checkpoint:
        _refuse_unsafe_path('checkpoint', Path(args.checkpoint).expanduser())
    check = checked(args, read_pictures=True)
    for line in report(check, limit=3):
        say(line)
    _refuse_errors(check, args)
    plan = make_plan(args, check, work_dir)
    file = work_dir / 'config.py'
    if not args.batch_size:
        plan, fit = _fitted(plan, file, args.memory)
        say(str(fit))
    file.write_text(config_text(plan), encoding='utf-8')
    say(
        f'Pictures of {plan.image_size} pixels, {plan.max_epochs} epochs of '
        f'{plan.steps_an_epoch} steps, learning rate {plan.learning_rate:g}.'
    )
    say(f'config: {file}')
    if args.no_train:
        return 0
    return _train(file, work_dir)


def make_plan(args: Namespace, check: ObjectCheck | MapCheck, work_dir: Path) -> Plan:
    """What the arguments and the data come to; writes the data into the work dir.

    Args:
        args: The parsed arguments.
        check: The check of the data.
        work_dir: Folder of the run.

    Raises:
        CliError: The arguments do not go together.
        DatasetError: The data cannot be split.
        CheckpointError: The checkpoint cannot be read.
    """
    base = load_config(args.config or BASES[args.task].format(args.size))
    if not 0 < args.val_share < 1:
        raise CliError('--val-share has to be above 0 and below 1.')
    if args.balance and args.task == 'semantic':
        raise CliError('--balance is for detection and instance segmentation.')
    load_from, backbone_file = _starts_from(args.checkpoint)
    work_dir.mkdir(parents=True, exist_ok=True)
    seed = 0 if args.seed is None else args.seed
    prepare = prepare_maps if isinstance(check, MapCheck) else prepare_objects
    data = prepare(check, work_dir, args.val_share, seed)
    for part in data.parts.values():
        _refuse_unsafe_path('annotation file', part.ann_file)
        _refuse_unsafe_path('image folder', part.pictures)
    for note in data.notes:
        say(note)
    plan = Plan(
        source=Path(args.data),
        base=base,
        data=data,
        task=args.task,
        work_dir=work_dir,
        image_size=args.image_size or _image_size(check, args.task),
        batch_size=args.batch_size or 1,
        epochs=args.epochs,
        load_from=load_from,
        backbone_file=backbone_file,
        wished_rate=args.learning_rate,
        freeze=args.freeze,
        layer_decay=args.layer_decay,
        balance=args.balance,
        ema=not args.no_ema,
        patience=args.patience,
        seed=seed,
    )
    if plan.from_scratch:
        if plan.freeze:
            raise CliError(
                '--freeze keeps what the model knows, and without --checkpoint it knows nothing.'
            )
        say(
            'Starting from random weights (norm_eval=False): a few hundred pictures teach little '
            'that way. docs/own_data.md says where the published files are; --checkpoint FILE '
            'starts from one.'
        )
    return plan


def _refuse_unsafe_path(what: str, path: Path) -> None:
    """Raises CliError for a path that mmengine would change, as it reads the dump of a config."""
    if fault := name_fault(str(path.absolute())):
        raise CliError(
            f'The path of the {what}, {str(path.absolute())!a}, {fault}, which is not safe in '
            'a config: mmengine would replace it when the config is read. Rename or move it.'
        )


def _refuse_errors(check: ObjectCheck | MapCheck, args: Namespace) -> None:
    errors = check.faults.of(Severity.ERROR)
    if errors:
        raise DatasetError(
            f'The data set has {len(errors)} errors (above). `casvit check {args.data} --task '
            f'{args.task} --fix OUT` writes a repaired copy to train on.'
        )
    if not check.classes:
        raise DatasetError(f'{args.data} has no class.')


def _starts_from(checkpoint: str | None) -> tuple[Path | None, Path | None]:
    """The file of a whole model, or that of a backbone."""
    if checkpoint is None:
        return None, None
    file = Path(checkpoint).expanduser()
    keys = read_checkpoint(file)['state_dict']
    whole = any(key.startswith(HEADS) for key in keys)
    return (file, None) if whole else (None, file)


def _image_size(check: ObjectCheck | MapCheck, task: str) -> int:
    """The median longer side of the pictures, or shorter for label maps, in steps of 32."""
    sizes = np.concatenate([fact.sizes for fact in check.facts.values()])
    side = float(np.median(sizes.min(1) if task == 'semantic' else sizes.max(1)))
    low, high = IMAGE_SIZES[task]
    return int(np.clip(32 * round(side / 32), low, high))


def _fitted(plan: Plan, file: Path, wished: int | None) -> tuple[Plan, Fit]:
    """The plan with the largest batch that fits, of which an epoch still has some steps."""
    limit = wished or usable_memory()
    largest = max(1, plan.data.parts['train'].size // 4)
    # Processes that load pictures cost memory of their own.
    for workers in dict.fromkeys((plan.workers, 0)):
        say(
            f'Looking for the batch that fits into {limit / GIB:.1f} GiB'
            f'{"" if workers else ", without processes that load pictures"} …'
        )

        def measure(size: int, workers: int = workers) -> int:
            file.write_text(config_text(plan.with_batch(size, workers)), encoding='utf-8')
            peak = measure_run(file, limit)
            say(f'  {size} at once: {f"{peak / GIB:.1f} GiB" if peak else "too much"}')
            return peak

        try:
            fit = fit_batch(measure, limit, largest)
        except RuntimeError as error:
            raise CliError(f'A short run of {file} failed: {error}') from error
        if fit is not None:
            return plan.with_batch(fit.batch_size, workers), fit
    raise CliError(
        f'Not even one picture of {plan.image_size} pixels fits into {limit / GIB:.1f} GiB: '
        'a smaller --size or --image-size needs less.'
    )


def _train(file: Path, work_dir: Path) -> int:
    """Trains and tests the best, each as the command that a person would use."""
    tools = [sys.executable, '-m', 'casvit']
    code = subprocess.run([*tools, 'train', str(file)]).returncode
    if code:
        return code
    checkpoint = str(best_checkpoint(work_dir) or latest_checkpoint(work_dir))
    pictures = work_dir / 'pictures'
    config = Config.fromfile(file)
    say(f'Testing {checkpoint} on {config.test_dataloader.dataset.ann_file}')
    options = ['--work-dir', str(work_dir / 'test'), '--show-dir', str(pictures)]
    code = subprocess.run([*tools, 'test', str(file), checkpoint, *options]).returncode
    if code:
        return code
    say(f'best checkpoint: {checkpoint}')
    say(f'pictures: {pictures}')
    say(f'try it: casvit image_demo PHOTO.jpg {file} {checkpoint} --out-dir out')
    return 0

"""Plans a fine-tuning run from the arguments and the dataset."""

import math
from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mmengine.config import Config

from casvit.errors import CliError
from casvit.names import name_issue
from casvit_mm.config.read import load_config
from casvit_mm.datasets.audit.masks import MaskAudit
from casvit_mm.datasets.audit.objects import ObjectAudit
from casvit_mm.finetune.data import OwnData, prepare_masks, prepare_objects
from casvit_mm.models.checkpoint import read_checkpoint

BASES = dict(
    detection='retinanet_casvit-{}_fpn_1x_coco',
    instance='mask_rcnn_casvit-{}_fpn_1x_coco',
    semantic='semantic_fpn_casvit-{}_40k_ade20k-512x512',
)
# Larger inputs than the images only repeat pixels.
IMAGE_SIZES = dict(detection=(256, 1024), instance=(256, 1024), semantic=(128, 512))
HEADS = ('roi_head.', 'bbox_head.', 'decode_head.', 'rpn_head.')
# Enough steps to learn something, and enough epochs for small datasets.
STEPS_WANTED = 1500
EPOCHS = (12, 100)


@dataclass(frozen=True)
class Plan:
    """The settings of a fine-tuning run.

    Attributes:
        source: The folder of the original dataset.
        base: The config to inherit from, resolved.
        data: The prepared dataset.
        task: ``detection``, ``instance`` or ``semantic``.
        work_dir: Work dir of the run.
        image_size: Largest side that images are resized to, in pixels.
        batch_size: Images per batch.
        workers: Data loading processes, for training and validation each.
        epochs: Number of epochs; None to choose it.
        load_from: Checkpoint of a whole model to start from.
        backbone_file: ImageNet weights for the backbone.
        wished_rate: Learning rate; None to choose it.
        freeze: Stages of the backbone that are frozen, with the stem; 0 freezes nothing.
        layer_decay: Factor of the learning rate from layer to layer; None for a single rate.
        balance: Whether images of rare classes are repeated.
        ema: Whether a moving average of the weights is kept and validated.
        patience: Validations without improvement after which the run stops; 0 for never.
        seed: Random seed.
    """

    source: Path
    base: Config
    data: OwnData
    task: str
    work_dir: Path
    image_size: int
    batch_size: int = 1
    workers: int = 2
    epochs: int | None = None
    load_from: Path | None = None
    backbone_file: Path | None = None
    wished_rate: float | None = None
    freeze: int = 0
    layer_decay: float | None = None
    balance: bool = False
    ema: bool = True
    patience: int = 0
    seed: int = 0

    @property
    def from_scratch(self) -> bool:
        """Whether training starts from random weights."""
        return self.load_from is None and self.backbone_file is None

    @property
    def steps_an_epoch(self) -> int:
        """Steps per epoch."""
        return math.ceil(self.data.splits['train'].size / self.batch_size)

    @property
    def max_epochs(self) -> int:
        """Number of epochs, as requested or chosen."""
        if self.epochs is not None:
            return self.epochs
        wanted = math.ceil(STEPS_WANTED / self.steps_an_epoch)
        return max(EPOCHS[0], min(wanted, EPOCHS[1]))

    @property
    def learning_rate(self) -> float:
        """As requested, or the recipe's scaled by √batch size (Malladi et al., NeurIPS 2022)."""
        if self.wished_rate is not None:
            return self.wished_rate
        recipe = self.base.optim_wrapper.optimizer.lr
        batch = (self.base.get('auto_scale_lr') or {}).get('base_batch_size') or self.batch_size
        return float(f'{recipe * math.sqrt(self.batch_size / batch):.3g}')

    def with_batch(self, batch_size: int, workers: int) -> 'Plan':
        """The same plan with another batch size and number of data loading processes."""
        return replace(self, batch_size=batch_size, workers=workers)


def make_plan(args: Namespace, check: ObjectAudit | MaskAudit, work_dir: Path) -> Plan:
    """Makes a plan from the arguments and the dataset; writes the data files to the work dir.

    Args:
        args: The parsed arguments.
        check: The check of the dataset.
        work_dir: Work dir of the run.

    Raises:
        CliError: The arguments contradict each other.
        DatasetError: The dataset cannot be split.
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
    if isinstance(check, MaskAudit):
        data = prepare_masks(check, work_dir, args.val_share, seed)
    else:
        data = prepare_objects(check, work_dir, args.val_share, seed)
    for split in data.splits.values():
        refuse_unsafe_path('annotation file', split.ann_file)
        refuse_unsafe_path('image folder', split.images)
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
                '--freeze keeps pretrained stages as they are, so it needs --checkpoint.'
            )
        data.notes.append(
            'Starting from random weights (norm_eval=False): a few hundred images are too few for '
            'that. To start from a published checkpoint, use --checkpoint FILE; docs/own_data.md '
            'says where to find one.'
        )
    return plan


def refuse_unsafe_path(what: str, path: Path) -> None:
    """Checks that a path is safe to write into a config.

    Args:
        what: What the path is for, as messages name it.
        path: The path.

    Raises:
        CliError: mmengine would change the path when it reads the config or its dump.
    """
    if issue := name_issue(str(path.absolute())):
        raise CliError(
            f'The path of the {what}, {str(path.absolute())!a}, {issue}, which is not safe in '
            'a config: mmengine would replace it when the config is read. Rename or move it.'
        )


def _starts_from(checkpoint: str | None) -> tuple[Path | None, Path | None]:
    """The checkpoint of a whole model, or that of a backbone."""
    if checkpoint is None:
        return None, None
    file = Path(checkpoint).expanduser()
    keys = read_checkpoint(file)['state_dict']
    whole = any(key.startswith(HEADS) for key in keys)
    return (file, None) if whole else (None, file)


def _image_size(check: ObjectAudit | MaskAudit, task: str) -> int:
    """The median longer side of the images (shorter for semantic masks), in steps of 32."""
    sizes = np.concatenate([fact.sizes for fact in check.facts.values()])
    side = float(np.median(sizes.min(1) if task == 'semantic' else sizes.max(1)))
    low, high = IMAGE_SIZES[task]
    return int(np.clip(32 * round(side / 32), low, high))

"""Plans a fine-tuning run from the arguments and the dataset."""

import math
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from casvit.errors import CliError
from casvit.names import name_issue
from casvit.sentences import count_of
from casvit.tables import OBJECT_TASKS
from casvit_mm.datasets.audit.classes.audit import ClassAudit
from casvit_mm.datasets.audit.masks import MaskAudit
from casvit_mm.datasets.audit.objects import ObjectAudit
from casvit_mm.finetune.base import Base
from casvit_mm.finetune.class_data import prepare_classes
from casvit_mm.finetune.data import OwnData, prepare_masks, prepare_objects
from casvit_mm.finetune.start import Start

# Larger inputs than the images only repeat pixels.
IMAGE_SIZES = dict(
    detection=(256, 1024), instance=(256, 1024), semantic=(128, 512), classification=(64, 224)
)
# Enough steps to learn something, and enough epochs for small datasets.
STEPS_WANTED = 1500
EPOCHS = (12, 100)
VALIDATIONS = 20
# Fewer training images show too few objects beside each other: mosaics and copy-paste show more.
FEW_IMAGES = 500
# Share of the epochs, at the end, that see single images: mosaics look like no image that is used.
SINGLE = 0.4
VARIED = dict(
    detection='scale, crop, flip, colour',
    instance='scale, crop, flip, colour',
    semantic='scale, crop, flip, colour',
    classification='crop, flip, colour',
)


@dataclass(frozen=True)
class Plan:
    """The settings of a fine-tuning run.

    Attributes:
        source: The folder of the original dataset.
        base: The config to inherit from, resolved.
        data: The prepared dataset.
        task: ``detection``, ``instance``, ``semantic`` or ``classification``.
        work_dir: Work dir of the run.
        image_size: Largest side that images are resized to, in pixels.
        batch_size: Images per batch.
        workers: Data loading processes, for training and validation each.
        epochs: Number of epochs; None to choose it.
        load_from: Checkpoint of a whole model to start from, as configs name it.
        backbone_file: ImageNet weights for the backbone.
        wished_rate: Learning rate; None to choose it.
        freeze: Stages of the backbone that are frozen, with the stem; 0 freezes nothing.
        layer_decay: Factor of the learning rate from layer to layer; None for a single rate.
        balance: Whether images of rare classes are repeated.
        ema: Whether a moving average of the weights is kept and validated.
        patience: Validations without improvement after which the run stops; 0 for never.
        seed: Random seed.
        augment: Whether training images are varied.
        resized: What differs from the base config's file because of the size, as in ``model``.
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
    load_from: Path | str | None = None
    backbone_file: Path | str | None = None
    wished_rate: float | None = None
    freeze: int = 0
    layer_decay: float | None = None
    balance: bool = False
    ema: bool = True
    patience: int = 0
    seed: int = 0
    augment: bool = True
    resized: Mapping[str, Any] = field(default_factory=dict)

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

    @property
    def val_interval(self) -> int:
        """Epochs between two validations."""
        return max(1, self.max_epochs // VALIDATIONS)

    @property
    def mosaic(self) -> bool:
        """Whether some training images are put together from four."""
        few = self.data.splits['train'].size < FEW_IMAGES
        return self.augment and few and self.task in OBJECT_TASKS

    @property
    def copy_paste(self) -> bool:
        """Whether objects of other images are pasted into some training images."""
        return self.mosaic and self.task == 'instance'

    @property
    def last_epochs(self) -> int:
        """Epochs at the end without mosaics; 0 if there are none, or images are repeated."""
        # mmdet's hook changes the pipeline of the outermost dataset only.
        return round(SINGLE * self.max_epochs) if self.mosaic and not self.balance else 0

    @property
    def augmentation(self) -> str:
        """How training images are varied, in a sentence."""
        if not self.augment:
            return 'Augmentation: none.'
        images = count_of(self.data.splits['train'].size, 'training image')
        more = ''
        if self.mosaic:
            pasted = ' and copied objects' if self.copy_paste else ''
            more = f', before the last epochs mosaics of four{pasted} (for {images})'
        return f'Augmentation: {VARIED[self.task]}{more}; --no-augmentation turns it off.'

    def with_batch(self, batch_size: int, workers: int) -> 'Plan':
        """The same plan with another batch size and number of data loading processes."""
        return replace(self, batch_size=batch_size, workers=workers)


def make_plan(
    args: Namespace,
    check: ObjectAudit | MaskAudit | ClassAudit,
    work_dir: Path,
    base: Base,
    start: Start | None = None,
) -> Plan:
    """Makes a plan from the arguments and the dataset; writes the data files to the work dir.

    Args:
        args: The parsed arguments.
        check: The check of the dataset.
        work_dir: Work dir of the run.
        base: The config to inherit from.
        start: The checkpoint to start from; None for random weights.

    Raises:
        CliError: The arguments contradict each other.
        DatasetError: The dataset cannot be split.
    """
    check_arguments(args, base.task, start)
    work_dir.mkdir(parents=True, exist_ok=True)
    seed = 0 if args.seed is None else args.seed
    if isinstance(check, MaskAudit):
        data = prepare_masks(check, work_dir, args.val_share, seed)
    elif isinstance(check, ClassAudit):
        data = prepare_classes(check, work_dir, args.val_share, seed)
    else:
        data = prepare_objects(check, work_dir, args.val_share, seed)
    for split in data.splits.values():
        refuse_unsafe_path('annotation file', split.ann_file)
        refuse_unsafe_path('image folder', split.images)
    if start is None:
        data.notes.append(
            'Starting from random weights (norm_eval=False): a few hundred images are too few for '
            'that. To start from a published checkpoint, use --checkpoint FILE; docs/own_data.md '
            'says where to find one.'
        )
    whole = start is not None and start.is_whole(base.task)
    return Plan(
        source=Path(args.data),
        base=base.placed(work_dir),
        data=data,
        task=base.task,
        work_dir=work_dir,
        image_size=args.image_size or _image_size(check, base.task),
        batch_size=args.batch_size or 1,
        epochs=args.epochs,
        load_from=start.path if start and whole else None,
        backbone_file=start.path if start and not whole else None,
        wished_rate=args.learning_rate,
        freeze=args.freeze,
        layer_decay=args.layer_decay,
        balance=args.balance,
        ema=not args.no_ema,
        patience=args.patience,
        seed=seed,
        augment=not args.no_augmentation,
        resized=base.resized,
    )


def check_arguments(args: Namespace, task: str, start: Start | None) -> None:
    """Checks what can be checked before the dataset is read.

    Raises:
        CliError: The arguments contradict each other.
    """
    if not 0 < args.val_share < 1:
        raise CliError('--val-share has to be above 0 and below 1.')
    if args.balance and task not in OBJECT_TASKS:
        raise CliError('--balance is for detection and instance segmentation.')
    if args.freeze and start is None:
        raise CliError('--freeze keeps pretrained stages as they are, so it needs --checkpoint.')


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


def _image_size(check: ObjectAudit | MaskAudit | ClassAudit, task: str) -> int:
    """The median longer side of the images (for objects; else the shorter), in steps of 32."""
    sizes = np.concatenate([fact.sizes for fact in check.facts.values()])
    side = float(np.median(sizes.max(1) if task in OBJECT_TASKS else sizes.min(1)))
    low, high = IMAGE_SIZES[task]
    return int(np.clip(32 * round(side / 32), low, high))

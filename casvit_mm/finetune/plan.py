"""What a fine-tuning is to be."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from mmengine.config import Config

from casvit_mm.finetune.data import OwnData

# Enough steps to learn something, and passes enough over a few pictures.
STEPS_WANTED = 1500
EPOCHS = (12, 100)


@dataclass(frozen=True)
class Plan:
    """What a fine-tuning is to be.

    Attributes:
        source: The folder that the data come from.
        base: The shipped config to inherit, resolved.
        data: The data set.
        task: ``detection``, ``instance`` or ``semantic``.
        work_dir: Where the run writes.
        image_size: Side that pictures are resized to, at most, in pixels.
        batch_size: Pictures in a batch.
        workers: Processes that load pictures, of the training and of the validation each.
        epochs: Passes over the training pictures; chosen where None.
        load_from: Whole model to start from.
        backbone_file: ImageNet file to start the backbone from.
        wished_rate: Learning rate; chosen where None.
        freeze: Stages of the backbone that stay as they are; 0 for none.
        layer_decay: Factor of the learning rate from layer to layer; None for one rate.
        balance: Whether pictures of rare classes are repeated.
        ema: Whether a moving average of the weights is kept, and validated.
        patience: Validations without progress after which the run stops; 0 for never.
        seed: Start of all random numbers.
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
        """Whether it starts from random weights."""
        return self.load_from is None and self.backbone_file is None

    @property
    def steps_an_epoch(self) -> int:
        """Steps of one pass."""
        return math.ceil(self.data.parts['train'].size / self.batch_size)

    @property
    def max_epochs(self) -> int:
        """Passes, as wished or chosen."""
        if self.epochs is not None:
            return self.epochs
        wanted = math.ceil(STEPS_WANTED / self.steps_an_epoch)
        return max(EPOCHS[0], min(wanted, EPOCHS[1]))

    @property
    def learning_rate(self) -> float:
        """As wished, or the recipe's by the root of the batch (Malladi et al., NeurIPS 2022)."""
        if self.wished_rate is not None:
            return self.wished_rate
        recipe = self.base.optim_wrapper.optimizer.lr
        batch = (self.base.get('auto_scale_lr') or {}).get('base_batch_size') or self.batch_size
        return float(f'{recipe * math.sqrt(self.batch_size / batch):.3g}')

    def with_batch(self, batch_size: int, workers: int) -> 'Plan':
        """The same with another batch, loaded by so many processes."""
        return replace(self, batch_size=batch_size, workers=workers)

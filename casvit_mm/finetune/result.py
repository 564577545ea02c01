"""Chooses the checkpoint of a run that is used from then on, and writes what is needed of it."""

from pathlib import Path
from typing import Any

from casvit.errors import CheckpointError
from casvit.tables import OBJECT_TASKS
from casvit_mm.engine.checkpoints import best_checkpoint, latest_checkpoint
from casvit_mm.models.checkpoint.publish import write_weights
from casvit_mm.models.checkpoint.read import read_checkpoint

NAME = 'model.pth'
# What predictions need, and where the weights come from.
META = ('cfg', 'dataset_meta', 'epoch', 'iter', 'seed')
# Of the average precision of objects. Below it, which checkpoint is best is chance.
LEAST_PRECISION = 0.01


def choose_checkpoint(work_dir: Path, task: str) -> tuple[Path, str]:
    """Chooses the checkpoint of a finished run to go on with.

    Args:
        work_dir: The work dir.
        task: The task, as in a plan.

    Returns:
        The best checkpoint, or the last one if the best has learned too little to tell them apart;
        and a sentence about that, or ''.

    Raises:
        CheckpointError: There is none, or it cannot be read.
    """
    best, last = best_checkpoint(work_dir), latest_checkpoint(work_dir)
    if best is None and last is None:
        raise CheckpointError(f'The run in {work_dir} wrote no checkpoint.')
    if best is None or last is None or task not in OBJECT_TASKS:
        return Path(best or str(last)), ''
    score = _best_score(read_checkpoint(best))
    if score is None or score >= LEAST_PRECISION:
        return best, ''
    return Path(last), (
        f'The model has hardly learned anything yet: its best average precision is {score:.3f}, '
        'too low to tell checkpoints apart, so the last one is used. Train longer, with more '
        'images, or from a checkpoint that knows more; docs/own_data.md says how.'
    )


def _best_score(content: dict[str, Any]) -> float | None:
    """The best result of a run so far, which mmengine keeps in its message hub."""
    for key in ('message_hub', 'runtime_info'):
        content = content.get(key) or {}
        if not isinstance(content, dict):
            return None
    score = content.get('best_score')
    return float(score) if isinstance(score, (int, float)) else None


def write_model(checkpoint: str | Path, work_dir: Path) -> Path:
    """Writes the model of a checkpoint, without the state that only a resumed run needs.

    ``casvit.Predictor`` loads it without a config.

    Args:
        checkpoint: The checkpoint of a run. With a moving average, that is its weights.
        work_dir: The work dir.

    Returns:
        The file that was written, ``model.pth``.

    Raises:
        CheckpointError: The checkpoint cannot be read, or the file cannot be written.
    """
    content = read_checkpoint(checkpoint)
    meta = {key: value for key, value in content.get('meta', {}).items() if key in META}
    return write_weights(content['state_dict'], meta, work_dir / NAME)

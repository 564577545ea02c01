"""Writes the checkpoint of a run that is used from then on: its weights and what describes them."""

from pathlib import Path

from casvit_mm.models.checkpoint.publish import write_weights
from casvit_mm.models.checkpoint.read import read_checkpoint

NAME = 'model.pth'
# What predictions need, and where the weights come from.
META = ('cfg', 'dataset_meta', 'epoch', 'iter', 'seed')


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

"""Takes two training steps of a config and prints, as JSON, the memory that they needed.

A process of its own: ``python -m casvit_mm.engine.step CONFIG BATCH_SIZE``.
"""

import json
import sys

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from casvit_mm.engine.runner import with_trainable_norms

STEPS = 2


def main(config: str, batch_size: int) -> dict[str, int]:
    """Takes the steps.

    Args:
        config: Path of the config.
        batch_size: Pictures in a batch.

    Returns:
        ``peak``: bytes.
    """
    cfg = Config.fromfile(config)
    MMLogger.get_instance('step', log_level='ERROR')
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    loader = cfg.train_dataloader
    loader.update(batch_size=batch_size, num_workers=0, persistent_workers=False)
    return dict(peak=_peak_of(cfg))


def _peak_of(cfg: Config) -> int:
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model = with_trainable_norms(MODELS.build(cfg.model))
    model.init_weights()
    model.to(device).train()
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)
    batches = iter(loader)
    for _ in range(STEPS):
        batch = next(batches)
        data = model.data_preprocessor(batch, True)
        losses = model(**data, mode='loss')
        loss, _ = model.parse_losses(losses)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    if device.type == 'cuda':
        return torch.cuda.max_memory_reserved()
    import resource

    # Linux counts it in KiB, macOS in bytes.
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == '__main__':
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))

"""Models with random weights whose outputs are spread like those of trained ones."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from small_models import build
from torch.nn import functional

from casvit.configs import find_config
from casvit_mm.models.optional import import_toolbox

# So that scores of random weights differ, and some are high.
LARGER = {'retina_cls': 3, 'rtm_reg': 8, 'rpn_cls': 5, 'fc_cls': 20}
LIKELY = ('retina_cls', 'rtm_cls')


def as_trained(name):
    """The config of a name, and a model whose norms and last layers hold numbers as of training."""
    cfg = Config.fromfile(find_config(name))
    import_toolbox(cfg.get('default_scope', 'mmdet'))
    for part in ('backbone', 'neck'):
        cfg.model.get(part, {}).pop('init_cfg', None)
    if cfg.get('data_preprocessor'):
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    model = build(cfg)
    logger = MMLogger.get_current_instance()
    logger.setLevel('ERROR')
    model.init_weights()
    _fit_norms(model)
    with torch.no_grad():
        for key, value in model.named_parameters():
            for part, factor in LARGER.items():
                if f'{part}.' in key and key.endswith('weight'):
                    value.mul_(factor)
            if any(f'{part}.' in key for part in LIKELY) and key.endswith('bias'):
                value.fill_(-3)
            if 'rtm_reg.' in key and key.endswith('bias'):
                # Distances from points to sides of boxes; negative ones would give no boxes.
                value.fill_(2)
    return cfg, model.eval()


@torch.no_grad()
def _fit_norms(model):
    """Gives the norms the statistics of two images, so that features differ between places.

    Like photographs, they have both smooth areas and fine detail: without the latter, the features
    of other images would be many times larger, and differences of rounding with them.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = 1.0
        norm.train()
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(2, 3, 16, 16, generator=generator) * 4 - 2
    images = functional.interpolate(coarse, scale_factor=16, mode='bilinear')
    images += 0.5 * torch.randn(images.shape, generator=generator)
    features = model.extract_feat(images)
    if hasattr(model, 'decode_head'):
        model.decode_head(features)
    elif hasattr(model, 'bbox_head'):
        model.bbox_head(features)
    model.eval()


def checkpoint_as_trained(name, folder: Path) -> Path:
    """Writes the weights of such a model."""
    _, model = as_trained(name)
    path = folder / f'{name}.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, path)
    return path

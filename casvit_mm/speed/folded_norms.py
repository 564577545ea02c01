"""Frozen batch norms folded into convolutions while the model trains.

With frozen statistics, as the published detection and segmentation recipes train, a norm costs next
to nothing then; see :mod:`casvit_mm.models.conv_norm`. Checkpoints stay the same.
"""

from casvit_mm.models.casvit import CASViT
from casvit_mm.models.conv_norm import is_frozen


def fold_frozen_norms(backbone: CASViT) -> None:
    """Lets a backbone compute with its frozen norms folded, in place.

    A norm that is in training mode (``norm_eval=False``) works as before, and so does the one
    before a token mixer whose class does not say that it takes one, with ``takes_norm``.

    Args:
        backbone: The backbone. Its modules keep their parameters.
    """
    for module in backbone.modules():
        if hasattr(module, 'folds_norms'):
            module.folds_norms = True


def is_frozen_in(backbone: CASViT) -> bool:
    """Whether a backbone has norms to fold when it trains."""
    was_training = backbone.training
    backbone.train()
    frozen = any(is_frozen(module) for module in backbone.modules())
    backbone.train(was_training)
    return frozen

"""Unwraps models from the wrappers of distributed runs and test-time augmentation."""

from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn


def unwrap(model: nn.Module) -> nn.Module:
    """Returns the model inside wrappers for distributed runs and test-time augmentation.

    Args:
        model: A model, wrapped or not.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.get_submodule('module')
    return model

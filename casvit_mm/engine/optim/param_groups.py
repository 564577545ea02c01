"""Merges parameter groups, so that the optimiser needs fewer passes."""

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from casvit_mm.registration import registered_in


@registered_in(OPTIM_WRAPPER_CONSTRUCTORS)
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with one group for all parameters that have the same options.

    With ``paramwise_cfg``, mmengine gives each parameter a group of its own: hundreds, which a
    fused or foreach optimiser and the schedulers process one by one. The result of the optimiser
    is the same. A checkpoint stores its state by group, so a run must be resumed with the
    constructor that it was started with.

    Args:
        optim_wrapper_cfg (dict): Config of the optimiser wrapper.
        paramwise_cfg (dict, optional): As for mmengine's own constructor.
    """

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs: object
    ) -> None:
        """Adds the parameters of a module.

        Args:
            params: Groups of parameters, extended in place.
            module: The module; the model if ``prefix`` is empty.
            prefix: Its name in the model.
            kwargs: Passed on to mmengine.
        """
        super().add_params(params, module, prefix, **kwargs)
        if not prefix:
            self.adjust(params, module)
            params[:] = merge_alike(params)

    def adjust(self, params: list[dict], model: nn.Module) -> None:
        """Adjusts the options of the groups, one per parameter, before they are merged.

        Args:
            params: The groups, changed in place.
            model: The model.
        """


def merge_alike(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merges groups that have the same options.

    Args:
        groups: Groups as a torch optimiser takes them.

    Returns:
        One group per set of options, in the order of first occurrence.
    """
    merged: list[dict[str, Any]] = []
    for group in groups:
        options = {name: value for name, value in group.items() if name != 'params'}
        for known in merged:
            if known.keys() - {'params'} == options.keys() and all(
                known[name] == value for name, value in options.items()
            ):
                known['params'].extend(group['params'])
                break
        else:
            merged.append({**options, 'params': list(group['params'])})
    return merged

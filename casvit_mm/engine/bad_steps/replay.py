"""Computes a bad step again, and finds where it goes wrong."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.optim import SGD

from casvit_mm.engine.bad_steps.batch import not_finite_in
from casvit_mm.engine.bad_steps.record import BadStep, numbers_in
from casvit_mm.engine.exact.randomness import seed_step
from casvit_mm.engine.optim.bfloat16 import BFloat16OptimWrapper
from casvit_mm.models.checkpoint.finite import is_finite
from casvit_mm.models.wrappers import unwrap


@dataclass
class Replayed:
    """What a step gave when it was computed again.

    Attributes:
        losses: Its losses, by name.
        inputs: Places in the batch whose values are not finite.
        module: The first module whose output is not finite; '' if there is none.
        module_input_is_finite: Whether its input was.
        backward_module: The first module, on the way back from the loss, whose output has a
            gradient that is not finite; '' if there is none.
        gradients: Weights whose gradient is not finite.
        weights: Number of weights with a gradient.
    """

    losses: dict[str, float]
    inputs: list[str]
    module: str
    module_input_is_finite: bool
    backward_module: str
    gradients: list[str]
    weights: int

    def is_exact(self, step: BadStep) -> bool:
        """Whether the losses are those of the run, bit for bit."""
        return self.losses.keys() == step.losses.keys() and all(
            value == step.losses[name] or (math.isnan(value) and math.isnan(step.losses[name]))
            for name, value in self.losses.items()
        )

    def reproduces(self, step: BadStep) -> bool:
        """Whether the problem of the run is there again."""
        broken = any(not math.isfinite(value) for value in self.losses.values())
        if 'loss' in step.found:
            return broken
        return broken or bool(self.gradients)


class _BackwardOnly:
    """In the place of an optimiser wrapper: it computes gradients, and updates nothing."""

    def __init__(self, context: Callable[[nn.Module], AbstractContextManager]) -> None:
        self.optim_context = context

    def update_params(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Computes the gradients."""
        loss.backward()


def replay(model: BaseModel, step: BadStep, device: str = 'cpu') -> Replayed:
    """Computes a step again: forward and backward, with the random numbers of the run.

    Args:
        model: The model with the weights and buffers of before the step.
        step: The step.
        device: Where to compute.
    """
    inputs = list(not_finite_in(step.batch))
    model.to(device).train()
    model.zero_grad(set_to_none=True)
    if step.padded_to is not None:
        model.data_preprocessor.size = tuple(step.padded_to)
    wrapper: Any = _BackwardOnly(_context(model, step, torch.device(device).type))
    seed_step(step.seed, step.iteration, step.rank)
    with _first_not_finite(model) as first:
        outputs = model.train_step(step.batch, optim_wrapper=wrapper)
    gradients = {n: w.grad for n, w in model.named_parameters() if w.grad is not None}
    return Replayed(
        losses=numbers_in(outputs),
        inputs=inputs,
        module=first.get('module', ''),
        module_input_is_finite=first.get('input', True),
        backward_module=first.get('backward', ''),
        gradients=[name for name, each in gradients.items() if not is_finite(each)],
        weights=len(gradients),
    )


def breaks_alone(runner: Runner, batch: Any) -> bool:
    """Whether the gradients of a step are not finite in this process, before they are shared.

    The step is computed again, by all processes of the run, and leaves no gradients.

    Args:
        runner: The run, with the weights and buffers of before the step; buffers change again.
        batch: The batch of this process.
    """
    model: Any = unwrap(runner.model)
    own = runner.optim_wrapper
    if not isinstance(own, OptimWrapper):
        return False
    seed_step(runner.seed, runner.iter, get_rank())
    wrapper: Any = _BackwardOnly(own.optim_context)
    # Gradients are shared by the wrapper of the model, which has no part in this.
    outputs = model.train_step(batch, optim_wrapper=wrapper)
    gradients = [w.grad for w in model.parameters() if w.grad is not None]
    broken = not all(map(math.isfinite, numbers_in(outputs).values()))
    broken = broken or not all(map(is_finite, gradients))
    model.zero_grad(set_to_none=True)
    return broken


def _context(
    model: nn.Module, step: BadStep, device: str
) -> Callable[[nn.Module], AbstractContextManager]:
    """The precision of the run."""
    if step.precision == 'fp32':
        return lambda model: nullcontext()
    if step.is_autocast:
        dtype = torch.bfloat16 if step.precision == 'bf16' else torch.float16
        return lambda model: torch.autocast(device, dtype=dtype)
    return BFloat16OptimWrapper(optimizer=SGD(model.parameters(), lr=0.0)).optim_context


@contextmanager
def _first_not_finite(model: nn.Module) -> Iterator[dict[str, Any]]:
    """Context that notes the first modules that are not finite, forwards and backwards.

    The keys are ``module``, the first whose output is not finite; ``input``, whether its input is;
    and ``backward``, the first on the way back whose output has a gradient that is not.
    """
    first: dict[str, Any] = {}

    def watch(name: str) -> Callable[..., None]:
        def look_back(gradient: Tensor) -> None:
            if not is_finite(gradient):
                first.setdefault('backward', name)

        def look(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if 'module' not in first and not all(map(is_finite, _tensors(output))):
                first.update(module=name, input=all(map(is_finite, _tensors((args, kwargs)))))
            for each in _tensors(output):
                if each.requires_grad:
                    each.register_hook(look_back)

        return look

    handles = [
        module.register_forward_hook(watch(name or type(model).__name__), with_kwargs=True)
        for name, module in model.named_modules()
    ]
    try:
        yield first
    finally:
        for handle in handles:
            handle.remove()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))

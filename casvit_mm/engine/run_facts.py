"""What a person wants to know about a run before its first step."""

import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from casvit.errors import CheckpointError
from casvit.sentences import count_of, from_here
from casvit_mm.config.view import ConfigView
from casvit_mm.models.wrappers import unwrap

GIB = 2**30


def training_facts(runner: Runner) -> dict[str, str]:
    """What to show before the first training step, by name.

    Args:
        runner: The runner, with its loops and its optimizer.
    """
    return {
        'model': model_fact(runner),
        'weights': weights_fact(runner),
        'device': f'{device_fact(runner.model)}, {precision(runner)}',
        'training': schedule_fact(runner),
        'work dir': from_here(runner.work_dir),
        'log': from_here(log_file(runner)),
    }


def testing_facts(runner: Runner) -> dict[str, str]:
    """What to show before the first test step, by name."""
    if (facts := getattr(unwrap(runner.model), 'facts', None)) is not None:
        return facts()
    return {
        'model': model_fact(runner),
        'weights': from_here(str(runner._load_from)),
        'device': device_fact(runner.model),
    }


def log_file(runner: Runner) -> str:
    """The text log of a run."""
    return str(Path(runner.log_dir) / f'{runner.timestamp}.log')


def model_name(model: nn.Module) -> str:
    """The class of a model, and its backbone: 'MaskRCNN with CAS-ViT-XS'."""
    name, backbone = type(model).__name__, getattr(model, 'backbone', None)
    if not isinstance(backbone, nn.Module):
        return name
    arch, kind = getattr(backbone, 'arch', None), type(backbone).__name__
    if kind == 'CASViT' and isinstance(arch, str):
        kind = f'CAS-ViT-{arch.upper()}'
    return f'{name} with {kind}'


def model_fact(runner: Runner) -> str:
    """The model, its backbone, and their parameters."""
    model = unwrap(runner.model)
    backbone = getattr(model, 'backbone', None)
    text = f'{model_name(model)}, {_millions(model)} parameters'
    if isinstance(backbone, nn.Module):
        text += f' ({_millions(backbone)} in the backbone)'
    return text


def weights_fact(runner: Runner) -> str:
    """Where the weights of a training run come from."""
    if runner._resume and runner._load_from:
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        unit, done = ('epoch', runner.epoch) if by_epoch else ('step', runner.iter)
        return f'{from_here(runner._load_from)}, continues after {unit} {done}'
    if runner._load_from:
        return from_here(runner._load_from)
    try:
        files = [(key, file) for key, file, _ in ConfigView(runner.cfg).pretrained_files()]
    except CheckpointError:
        files = []
    if not files:
        return 'random'
    return ', '.join(f'{from_here(file)} ({key.rpartition(".")[2]})' for key, file in files)


def device_fact(model: nn.Module) -> str:
    """The devices of a run."""
    device, processes = next(model.parameters()).device, get_world_size()
    if device.type == 'cuda':
        memory = torch.cuda.get_device_properties(device).total_memory / GIB
        name = f'{torch.cuda.get_device_name(device)} ({memory:.0f} GiB)'
        return name if processes == 1 else f'{processes} x {name}'
    threads = count_of(torch.get_num_threads(), 'thread')
    name = f'CPU ({threads})' if device.type == 'cpu' else device.type
    return name if processes == 1 else f'{name}, {processes} processes'


def precision(runner: Runner) -> str:
    """The precision of training."""
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, AmpOptimWrapper):
        dtype = getattr(wrapper, 'cast_dtype', None) or torch.float16
        return {torch.bfloat16: 'bf16'}.get(dtype, 'fp16')
    return 'bf16' if type(wrapper).__name__ == 'BFloat16OptimWrapper' else 'fp32'


def schedule_fact(runner: Runner) -> str:
    """Steps, batch size, optimizer and validation of a training run."""
    loop = runner.train_loop
    unit, steps = 'step', count_of(loop.max_iters, 'step')
    if isinstance(loop, EpochBasedTrainLoop):
        unit = 'epoch'
        steps = f'{count_of(loop.max_epochs, unit)} of {count_of(len(loop.dataloader), "step")}'
    parts = [steps]
    if size := batch_size(loop.dataloader):
        parts.append(f'{count_of(size * get_world_size(), "image")} each')
    if optimizer := getattr(runner.optim_wrapper, 'optimizer', None):
        rate = optimizer.defaults.get('lr')
        parts.append(f'{type(optimizer).__name__}, learning rate {rate:g}' if rate else '')
    text, every = ', '.join(filter(None, parts)), getattr(loop, 'val_interval', 0)
    if runner.val_loop is None or not every:
        return text
    return f'{text}; validation every {unit if every == 1 else count_of(every, unit)}'


def batch_size(loader: DataLoader) -> int:
    """Images per step of a loader; 0 if it does not tell."""
    sizes: list[Any] = [loader.batch_size, getattr(loader.batch_sampler, 'batch_size', None)]
    return next((size for size in sizes if isinstance(size, int)), 0)


def memory(device: torch.device) -> str:
    """The most memory that a run has used so far, of the GPU or of the process; '' if unknown."""
    if device.type == 'cuda':
        return f'{torch.cuda.max_memory_allocated(device) / GIB:.1f} GiB'
    try:
        resource = importlib.import_module('resource')
    except ImportError:
        # Windows has no such module.
        return ''
    # In KiB; in bytes on macOS.
    unit = 1 if sys.platform == 'darwin' else 1024
    return f'{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB:.1f} GiB'


def _millions(model: nn.Module) -> str:
    return f'{sum(each.numel() for each in model.parameters()) / 1e6:.1f} M'

"""Estimates how long a run will take, and what would make it shorter."""

import math
from dataclasses import replace

import torch

from casvit.sentences import count_of
from casvit.tables import ARCHITECTURES
from casvit_mm.config.view import ConfigView
from casvit_mm.finetune.base import BASES, LIGHT
from casvit_mm.finetune.memory import Measured
from casvit_mm.finetune.plan import IMAGE_SIZES, Plan

# Seconds of a run that is short enough to need no advice, and minutes that are advised.
SHORT = 600
ADVISED = 10
# Training steps below which more of them, with smaller images, teach more in the same time.
FEW_STEPS = 500


def seconds_of(plan: Plan, measured: Measured) -> float:
    """The time that a run will take, in seconds.

    Args:
        plan: The plan.
        measured: A short run; with another batch size, the time of a step grows with it.
    """
    steps = plan.steps_an_epoch * plan.max_epochs
    validations = math.ceil(plan.max_epochs / plan.val_interval)
    images = plan.data.splits['val'].size * validations
    return steps * _step(plan, measured) + images * measured.val_seconds


def limited(plan: Plan, measured: Measured, minutes: int) -> Plan:
    """A plan whose training takes no longer than some minutes, or one epoch if that takes longer.

    Args:
        plan: The plan; its number of epochs is the most.
        measured: A short run.
        minutes: The time.

    Returns:
        The plan with the largest number of epochs that fits.
    """
    for epochs in range(plan.max_epochs, 1, -1):
        shorter = replace(plan, epochs=epochs)
        if seconds_of(shorter, measured) <= 60 * minutes:
            return shorter
    return replace(plan, epochs=1)


def image_size_for(plan: Plan, measured: Measured, minutes: int) -> int:
    """The image size for a training of some minutes, in pixels.

    Args:
        plan: The plan.
        measured: A short run with the plan's image size.
        minutes: The time.

    Returns:
        The plan's size, or the largest below it with which the time is enough for
        ``FEW_STEPS`` or all of the plan's steps; the smallest size of the task if none is.
    """
    smallest, side = IMAGE_SIZES[plan.task][0], plan.image_size
    wanted = min(FEW_STEPS, plan.steps_an_epoch * plan.max_epochs)
    while True:
        share = (side / plan.image_size) ** 2
        scaled = replace(
            measured, seconds=share * measured.seconds, val_seconds=share * measured.val_seconds
        )
        epochs = limited(plan, scaled, minutes).max_epochs
        if side - 32 < smallest or epochs * plan.steps_an_epoch >= wanted:
            return side
        side -= 32


def describe_time(plan: Plan, measured: Measured) -> list[str]:
    """Describes the time that a run will take, and if it is long, what would make it shorter.

    Args:
        plan: The plan.
        measured: A short run.

    Returns:
        One or two sentences.
    """
    total = seconds_of(plan, measured)
    device = 'the GPU' if torch.cuda.is_available() else 'the CPU'
    lines = [
        f'A step takes {_step(plan, measured):.2g} s on {device} and the validation of '
        f'{count_of(plan.data.splits["val"].size, "image")} '
        f'{duration(plan.data.splits["val"].size * measured.val_seconds)}: training takes about '
        f'{duration(total)}.'
    ]
    if total > SHORT and (options := _shorter(plan, measured, total)):
        lines.append(f'To make it shorter: {", ".join(options)}.')
    return lines


def duration(seconds: float) -> str:
    """A time as people say it: '40 s', '12 min', '3 h 20 min'."""
    if seconds < 90:
        return f'{max(1, round(seconds))} s'
    minutes = round(seconds / 60)
    if minutes < 90:
        return f'{minutes} min'
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if hours < 10 and minutes else f'{round(seconds / 3600)} h'


def _step(plan: Plan, measured: Measured) -> float:
    return measured.seconds * plan.batch_size / measured.batch_size


def _shorter(plan: Plan, measured: Measured, total: float) -> list[str]:
    options = []
    fewer = limited(plan, measured, ADVISED).max_epochs
    if fewer < plan.max_epochs:
        options.append(f'--minutes {ADVISED} ({count_of(fewer, "epoch")})')
    smaller = 32 * round(0.7 * plan.image_size / 32)
    if IMAGE_SIZES[plan.task][0] <= smaller < plan.image_size:
        share = (smaller / plan.image_size) ** 2
        options.append(f'--image-size {smaller} (about {duration(total * share)})')
    arch = ConfigView(plan.base).model['backbone'].get('arch')
    sizes = list(ARCHITECTURES)
    # A checkpoint has a size of its own.
    if plan.from_scratch and arch in sizes and sizes.index(arch):
        options.append(f'--size {sizes[0]}')
    light = BASES[plan.task].get(LIGHT)
    if light and plan.load_from is None and light not in str(plan.base.filename):
        options.append('--heads light')
    return options

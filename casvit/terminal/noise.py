"""Which messages of libraries users can do nothing about; they go to the log file only."""

import re
import warnings
from collections.abc import Callable
from typing import Any

LIBRARIES = frozenset(
    (
        'logging',
        'mmcv',
        'mmdet',
        'mmengine',
        'mmpretrain',
        'mmseg',
        'numpy',
        'prettytable',
        'pycocotools',
        'terminaltables',
        'torch',
        'torchvision',
    )
)
"""Packages whose prints and infos are about their own work, such as "creating index...". """

PATTERNS = re.compile(
    '|'.join(
        (
            r'deprecat',
            r'in an upcoming release',
            r'will be removed in',
            # mmdet's usual COCO metrics are computed by pycocotools.
            r'faster_coco_eval is not installed',
            r'prettytable. is not installed',
            # Names are prefixed only if the config says how.
            r'prefix is not set in metric class',
            r'Failed to search registry with scope',
            r'will force (the|set)',
            r'has been called more than once',
            # A deterministic run, which counts in its evaluation all the same.
            r'does not have a deterministic implementation',
            # A step that mixed precision skips is not followed by one of the schedule.
            r'lr_scheduler\.step\(\)',
            # Dataloaders of some configs are short on purpose.
            r'Reach the end of the dataloader',
            r'Grad strides do not match bucket view strides',
            r'Setting (OMP|MKL)_NUM_THREADS',
            r'Unnecessary conv bias before',
            r'the drawn \w+ may not be in the image',
            r'param_schedulers. is None',
            r'avg_non_ignore',
            r'The draw is False',
            r'^Loaded checkpoint ',
            r'^speed\.fold_norms: nothing to fold',
        )
    )
)
"""Messages about the code of libraries, not about a run, its config or its data."""


def is_noise(text: str, category: type[Warning] = UserWarning) -> bool:
    """Whether a message is of no use on the terminal.

    Args:
        text: The message.
        category: The class of a warning.
    """
    about_code = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, SyntaxWarning)
    return issubclass(category, about_code) or bool(PATTERNS.search(text))


def warning_handler(
    keep: Callable[[str], None], show: Callable[[str], None]
) -> Callable[..., None]:
    """A function to take the place of ``warnings.showwarning``.

    Args:
        keep: Gets every warning, with its place in the code, for the log.
        show: Gets the text of those that users can do something about.
    """

    def handle(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        *others: Any,
        **more: Any,
    ) -> None:
        keep(warnings.formatwarning(message, category, filename, lineno).strip())
        if not is_noise(str(message), category):
            show(str(message))

    return handle


def is_library(module: str) -> bool:
    """Whether a module belongs to one of the :data:`LIBRARIES`."""
    return module.partition('.')[0] in LIBRARIES

"""The AOTInductor backend: runs .pt2 files, compiled for this kind of processor, with torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from casvit.backends.with_torch import torch_with_operators
from casvit.exported.description import ExportedModelError
from casvit.exported.model import ExportedModel
from casvit.exported.opening import checked, require_cpu
from casvit.sentences import first_line


class AotInductor:
    """A compiled program. Calls from several threads run one after the other.

    Args:
        file: The file. Opening it runs code in it.
        threads: Threads that compute an operation, in the whole process; None to leave them.

    Raises:
        MissingPackageError: torch or torchvision cannot be imported.
        ExportedModelError: The file cannot be loaded.
    """

    device, precision = 'cpu', 'fp32'

    def __init__(self, file: str, threads: int | None = None) -> None:
        self.torch = torch = torch_with_operators('aotinductor', threads)
        try:
            from torch._inductor import aoti_load_package

            self.program = aoti_load_package(file)
        except Exception as error:
            raise ExportedModelError(
                f'torch {torch.__version__} cannot load {file}: {first_line(error)} Such files run '
                'on processors like the one that they were exported on.'
            ) from error

    def __call__(self, images: np.ndarray) -> Sequence[np.ndarray]:
        """Runs the network. Shape: ``(B, 3, H, W)``, uint8 RGB."""
        with self.torch.inference_mode():
            answer = self.program(self.torch.from_numpy(images))
        outputs = answer if isinstance(answer, (tuple, list)) else (answer,)
        return [output.numpy() for output in outputs]


def load(model: str, threads: int | None = None, **options: Any) -> ExportedModel:
    """Loads an exported model; see :class:`casvit.Predictor` for the arguments.

    Raises:
        MissingPackageError: torch or torchvision cannot be imported.
        UserError: The model cannot be loaded; the message says why and what to do.
    """
    description, device, threshold = checked(model, 'aotinductor', options)
    require_cpu(device, 'aotinductor')
    return ExportedModel(model, description, AotInductor(model, threads), threshold)

"""The TorchScript backend: runs .torchscript files with torch, without OpenMMLab."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from casvit.backends.with_torch import torch_with_operators
from casvit.exported.description import ExportedModelError
from casvit.exported.model import ExportedModel
from casvit.exported.opening import checked, require_cpu
from casvit.sentences import first_line


class TorchScript:
    """A module loaded by torch.

    Args:
        file: The file. Opening it can run code in it.
        threads: Threads that compute an operation, in the whole process; None to leave them.

    Raises:
        MissingPackageError: torch or torchvision cannot be imported.
        ExportedModelError: The file cannot be loaded.
    """

    device, precision = 'cpu', 'fp32'

    def __init__(self, file: str, threads: int | None = None) -> None:
        self.torch = torch = torch_with_operators('torchscript', threads)
        try:
            self.module = torch.jit.load(file, map_location='cpu').eval()
        except Exception as error:
            raise ExportedModelError(
                f'torch {torch.__version__} cannot load {file}: {first_line(error)}'
            ) from error

    def __call__(self, images: np.ndarray) -> Sequence[np.ndarray]:
        """Runs the network. Shape: ``(B, 3, H, W)``, uint8 RGB."""
        # Optimising for the values of the first calls would give later ones other roundings.
        with self.torch.inference_mode(), self.torch.jit.optimized_execution(False):
            answer = self.module(self.torch.from_numpy(images))
        outputs = answer if isinstance(answer, tuple) else (answer,)
        return [output.numpy() for output in outputs]


def load(model: str, threads: int | None = None, **options: Any) -> ExportedModel:
    """Loads an exported model; see :class:`casvit.Predictor` for the arguments.

    Raises:
        MissingPackageError: torch or torchvision cannot be imported.
        UserError: The model cannot be loaded; the message says why and what to do.
    """
    description, device, threshold = checked(model, 'torchscript', options)
    require_cpu(device, 'torchscript')
    return ExportedModel(model, description, TorchScript(model, threads), threshold)

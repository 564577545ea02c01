"""The ExecuTorch backend: runs .pte files with ExecuTorch's Python package, which brings torch."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from casvit.exported.description import ExportedModelError
from casvit.exported.model import ExportedModel, missing_package
from casvit.exported.opening import checked, require_cpu
from casvit.sentences import first_line


class ExecuTorch:
    """A program loaded by ExecuTorch. Calls from several threads run one after the other.

    Args:
        file: The file.
        threads: Threads that compute, in the whole process; None to leave them.

    Raises:
        MissingPackageError: executorch cannot be imported.
        ExportedModelError: The file cannot be loaded.
    """

    device, precision = 'cpu', 'fp32'

    def __init__(self, file: str, threads: int | None = None) -> None:
        try:
            import torch
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime
        except ImportError as error:
            raise missing_package('executorch', error) from error
        if threads is not None:
            portable_lib._unsafe_reset_threadpool(threads)
        self.tensor = torch.from_numpy
        try:
            # The program has to live as long as its method.
            self.program = Runtime.get().load_program(file)
            self.method = self.program.load_method('forward')
        except Exception as error:
            raise ExportedModelError(
                f'ExecuTorch cannot load {file}: {first_line(error)}'
            ) from error
        if self.method is None:
            raise ExportedModelError(f'{file} has no method forward.')
        self._lock = threading.Lock()

    def __call__(self, images: np.ndarray) -> Sequence[np.ndarray]:
        """Runs the network. Shape: ``(1, 3, H, W)``, uint8 RGB."""
        # The next call computes in the same memory.
        with self._lock:
            return [output.numpy().copy() for output in self.method.execute([self.tensor(images)])]


def load(model: str, threads: int | None = None, **options: Any) -> ExportedModel:
    """Loads an exported model; see :class:`casvit.Predictor` for the arguments.

    Raises:
        MissingPackageError: executorch cannot be imported.
        UserError: The model cannot be loaded; the message says why and what to do.
    """
    description, device, threshold = checked(model, 'executorch', options)
    require_cpu(device, 'executorch')
    return ExportedModel(model, description, ExecuTorch(model, threads), threshold)

"""The ONNX Runtime backend: runs .onnx files without torch."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from casvit.errors import UserError
from casvit.exported.description import (
    INPUT,
    KEY,
    Description,
    ExportedModelError,
    parse_description,
)
from casvit.exported.model import (
    ExportedModel,
    missing_package,
    of_another_model,
    require_options,
    require_size,
)
from casvit.sentences import first_line

PROVIDERS = {'cpu': 'CPUExecutionProvider', 'cuda': 'CUDAExecutionProvider'}


class OnnxRuntime:
    """A session of ONNX Runtime.

    Args:
        file: The file.
        device: 'cpu' or 'cuda'; None for a GPU if ONNX Runtime has one, else the CPU.
        threads: Threads that compute an operation; None for one per core.

    Raises:
        MissingPackageError: ONNX Runtime cannot be imported.
        ExportedModelError: The file cannot be loaded.
        UserError: The device is not available.
    """

    precision = 'fp32'

    def __init__(self, file: str, device: str | None = None, threads: int | None = None) -> None:
        # By itself, ONNX Runtime tells its makers over the network how it is used.
        os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')
        try:
            import onnxruntime
        except ImportError as error:
            raise missing_package('onnx', error) from error
        available = onnxruntime.get_available_providers()
        wanted = device or ('cuda' if PROVIDERS['cuda'] in available else 'cpu')
        kind = wanted.partition(':')[0]
        if PROVIDERS.get(kind) not in available:
            raise UserError(
                f'device={device!r}: ONNX Runtime has only {", ".join(available)} here.'
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        # Errors are raised; its warnings are about the graph, not for the user.
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(file, options, providers=[PROVIDERS[kind]])
        except Exception as error:
            raise ExportedModelError(
                f'ONNX Runtime {onnxruntime.__version__} cannot load {file}: {first_line(error)}'
            ) from error
        taken = self.session.get_providers()[0]
        self.device = next((name for name, each in PROVIDERS.items() if each == taken), taken)
        self.outputs = [output.name for output in self.session.get_outputs()]

    def __call__(self, images: np.ndarray) -> Sequence[np.ndarray]:
        """Runs the network. Shape: ``(B, 3, H, W)``, uint8 RGB."""
        return self.session.run(self.outputs, {INPUT: images})

    def description(self, file: str) -> Description:
        """What the file says of the model.

        Raises:
            ExportedModelError: It says nothing, or something else than the graph.
        """
        metadata = self.session.get_modelmeta().custom_metadata_map
        description = parse_description(metadata.get(KEY, ''), file)
        inputs = [(each.name, each.type) for each in self.session.get_inputs()]
        expected = list(description.outputs)
        if inputs != [(INPUT, 'tensor(uint8)')] or self.outputs != expected:
            raise of_another_model(file, description)
        sides = self.session.get_inputs()[0].shape
        require_size(file, description, [each if type(each) is int else None for each in sides])
        return description


def load(model: str, threads: int | None = None, **options: Any) -> ExportedModel:
    """Loads an exported model; see :class:`casvit.Predictor` for the arguments.

    Raises:
        MissingPackageError: ONNX Runtime cannot be imported.
        UserError: The model cannot be loaded; the message says why and what to do.
    """
    device, threshold, _ = require_options(model, options)
    if not Path(model).is_file():
        raise ExportedModelError(f'The model {model} does not exist.')
    runtime = OnnxRuntime(os.fspath(model), device, threads)
    description = runtime.description(model)
    runtime.precision = description.precision
    return ExportedModel(model, description, runtime, threshold)

"""The OpenVINO backend: runs .xml files without torch."""

import queue
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from casvit.errors import UserError
from casvit.exported.description import INPUT, Description, ExportedModelError
from casvit.exported.model import (
    ExportedModel,
    missing_package,
    of_another_model,
    require_size,
)
from casvit.exported.opening import checked

PRECISIONS = {'f32': 'fp32', 'f16': 'fp16', 'bf16': 'bf16'}
"""Our names of OpenVINO's precisions."""


TELEMETRY = 'openvino_telemetry'
"""The package that OpenVINO sends reports with; it does without if that cannot be imported."""


def import_without_reports() -> ModuleType:
    """Imports OpenVINO.

    By itself, OpenVINO tells its makers over the network that it was imported, and what it
    converts, unless the user has opted out. If it has been imported before, nothing changes.

    Raises:
        ImportError: It cannot be imported.
    """
    before = sys.modules.get(TELEMETRY)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import openvino
    finally:
        if before is None:
            del sys.modules[TELEMETRY]
        else:
            sys.modules[TELEMETRY] = before
    return openvino


class OpenVino:
    """A model compiled by OpenVINO.

    Args:
        file: The .xml file.
        description: What it says of itself.
        device: 'cpu', 'gpu', 'npu' or 'auto'; None for the CPU.
        threads: Threads that compute; None for one per core.

    Raises:
        MissingPackageError: OpenVINO cannot be imported.
        ExportedModelError: The file cannot be loaded, or is not what it says.
        UserError: The device is not available.
    """

    def __init__(
        self,
        file: str,
        description: Description,
        device: str | None = None,
        threads: int | None = None,
    ) -> None:
        try:
            openvino = import_without_reports()
        except ImportError as error:
            raise missing_package('openvino', error) from error
        core = openvino.Core()
        wanted = (device or 'cpu').upper()
        if wanted != 'AUTO' and wanted.partition('.')[0] not in core.available_devices:
            raise UserError(
                f'device={device!r}: OpenVINO has only {", ".join(core.available_devices)} here.'
            )
        # What the file was exported in, also where bf16 would be faster: it has too few digits. A
        # processor without fp16 computes in fp32.
        hint = {'fp32': 'f32', 'fp16': 'f16'}[description.precision]
        options: dict[str, Any] = {'INFERENCE_PRECISION_HINT': hint}
        if threads is not None:
            options['INFERENCE_NUM_THREADS'] = threads
        try:
            model = core.read_model(file)
            self.compiled = core.compile_model(model, wanted, options)
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise ExportedModelError(
                f'OpenVINO {openvino.__version__} cannot load {file}: {reason}'
            ) from error
        names = [output.get_any_name() for output in self.compiled.outputs]
        inputs = [each.get_any_name() for each in self.compiled.inputs]
        if inputs != [INPUT] or names != list(description.outputs):
            raise of_another_model(file, description)
        sides = self.compiled.input().get_partial_shape()
        require_size(
            file, description, [None if each.is_dynamic else each.get_length() for each in sides]
        )
        self.device = (device or 'cpu').lower()
        taken = self.compiled.get_property('INFERENCE_PRECISION_HINT').get_type_name()
        self.precision = PRECISIONS.get(taken, taken)
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, images: np.ndarray) -> Sequence[np.ndarray]:
        """Runs the network. Shape: ``(B, 3, H, W)``, uint8 RGB."""
        # A request belongs to one thread at a time; each has memory of its own.
        try:
            request = self._requests.get_nowait()
        except queue.Empty:
            request = self.compiled.create_infer_request()
        try:
            request.infer({INPUT: images})
            return [np.array(output.data) for output in request.output_tensors]
        finally:
            self._requests.put(request)


def load(model: str, threads: int | None = None, **options: Any) -> ExportedModel:
    """Loads an exported model; see :class:`casvit.Predictor` for the arguments.

    Raises:
        MissingPackageError: OpenVINO cannot be imported.
        UserError: The model cannot be loaded; the message says why and what to do.
    """
    description, device, threshold = checked(model, 'openvino', options)
    runtime = OpenVino(model, description, device, threads)
    return ExportedModel(model, description, runtime, threshold)

"""Runs a backbone as an ONNX file, to time it beside PyTorch."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from casvit.backends.onnxruntime import OnnxRuntime
from casvit_mm.deploy.export.onnx import converted
from casvit_mm.deploy.export.program import Network


def run_exported(backbone: nn.Module, image: Tensor) -> Callable[[], None]:
    """Exports a backbone for the size of an image, and loads the file.

    Args:
        backbone: In eval mode, on the CPU.
        image: Normalised images; ONNX Runtime takes as many threads as torch, on their device.
            Shape: ``(B, 3, H, W)``.

    Returns:
        A function that computes the features once.

    Raises:
        UserError: The backbone cannot be exported, or ONNX Runtime does not have the device.
    """
    images = image.cpu()
    with torch.no_grad():
        levels = len(backbone(images))
    outputs = tuple(f'level{index}' for index in range(levels))
    model = converted(Network(backbone, images, dynamic=False, batches=False, outputs=outputs))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'backbone.onnx'
        file.write_bytes(model.SerializeToString())
        runtime = OnnxRuntime(str(file), image.device.type, torch.get_num_threads())
    values = images.numpy()

    def call() -> None:
        runtime(values)

    return call

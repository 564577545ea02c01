"""The ncnn backend: runs .param files without torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from casvit.exported.description import INPUT, Description, ExportedModelError
from casvit.exported.model import ExportedModel, missing_package, of_another_model
from casvit.exported.opening import checked, require_cpu


class Ncnn:
    """A network loaded by ncnn.

    Args:
        file: The .param file; its .bin file lies beside it.
        description: What it says of itself.
        threads: Threads that compute; None for one per core.

    Raises:
        MissingPackageError: ncnn cannot be imported.
        ExportedModelError: The file cannot be loaded, or is not what it says.
    """

    device = 'cpu'

    def __init__(self, file: str, description: Description, threads: int | None = None) -> None:
        try:
            import ncnn
        except ImportError as error:
            raise missing_package('ncnn', error) from error
        self.net, self.mat, self.outputs = ncnn.Net(), ncnn.Mat, description.outputs
        options = self.net.opt
        options.use_vulkan_compute = False
        if threads is not None:
            options.num_threads = threads
        half = description.precision == 'fp16' and ncnn.cpu_support_arm_asimdhp() > 0
        # Otherwise ncnn would compute in fp16 wherever it can.
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = half
        self.precision = 'fp16' if half else 'fp32'
        # ncnn raises nothing: it returns a number other than 0.
        for loads, part in (
            (self.net.load_param, file),
            (self.net.load_model, str(Path(file).with_suffix('.bin'))),
        ):
            if loads(part) != 0:
                raise ExportedModelError(f'ncnn {ncnn.__version__} cannot load {part}.')
        names = (self.net.input_names(), sorted(self.net.output_names()))
        if names != ([INPUT], sorted(self.outputs)):
            raise of_another_model(file, description)

    def __call__(self, images: np.ndarray) -> Sequence[np.ndarray]:
        """Runs the network. Shape: ``(1, 3, H, W)``, uint8 RGB."""
        # The values have to live as long as the extractor, which does not copy them.
        values = images[0].astype(np.float32)
        extractor = self.net.create_extractor()
        extractor.input(INPUT, self.mat(values))
        outputs = []
        for name in self.outputs:
            code, found = extractor.extract(name)
            if code != 0:
                raise ExportedModelError(f'ncnn cannot compute {name} (code {code}).')
            outputs.append(np.array(found)[None])
        return outputs


def load(model: str, threads: int | None = None, **options: Any) -> ExportedModel:
    """Loads an exported model; see :class:`casvit.Predictor` for the arguments.

    Raises:
        MissingPackageError: ncnn cannot be imported.
        UserError: The model cannot be loaded; the message says why and what to do.
    """
    description, device, threshold = checked(model, 'ncnn', options)
    require_cpu(device, 'ncnn')
    return ExportedModel(model, description, Ncnn(model, description, threads), threshold)

"""The formats of exported models: what each can hold, who runs it, and what it needs."""

from typing import NamedTuple


class Format(NamedTuple):
    """A format of exported models.

    Attributes:
        name: Its name, for people.
        suffix: The suffix of its file.
        backend: The module that runs it; empty if none here does.
        package: The package that the module imports.
        whole_detectors: Whether the file of a detector has decoding and suppression in it;
            otherwise the Predictor does that.
        dynamic: Whether a file can take images of any size.
        precisions: Precisions that a file can have.
        runs_code: Whether opening a file can run code in it.
        described_inside: Whether the file itself holds its description.
    """

    name: str
    suffix: str
    backend: str
    package: str
    whole_detectors: bool
    dynamic: bool
    precisions: tuple[str, ...]
    runs_code: bool
    described_inside: bool


FORMATS: dict[str, Format] = {
    'onnx': Format(
        'ONNX',
        '.onnx',
        'casvit.backends.onnxruntime',
        'onnxruntime',
        whole_detectors=True,
        dynamic=True,
        precisions=('fp32', 'fp16'),
        runs_code=False,
        described_inside=True,
    ),
    'openvino': Format(
        'OpenVINO',
        '.xml',
        'casvit.backends.openvino',
        'openvino',
        whole_detectors=True,
        dynamic=True,
        precisions=('fp32', 'fp16'),
        runs_code=False,
        described_inside=False,
    ),
    'torchscript': Format(
        'TorchScript',
        '.torchscript',
        'casvit.backends.torchscript',
        'torch',
        whole_detectors=False,
        dynamic=False,
        precisions=('fp32',),
        runs_code=True,
        described_inside=False,
    ),
    'aotinductor': Format(
        'AOTInductor',
        '.pt2',
        'casvit.backends.aotinductor',
        'torch',
        whole_detectors=False,
        dynamic=False,
        precisions=('fp32',),
        runs_code=True,
        described_inside=False,
    ),
    'ncnn': Format(
        'ncnn',
        '.param',
        'casvit.backends.ncnn',
        'ncnn',
        whole_detectors=False,
        dynamic=False,
        precisions=('fp32', 'fp16'),
        runs_code=False,
        described_inside=False,
    ),
    'executorch': Format(
        'ExecuTorch',
        '.pte',
        'casvit.backends.executorch',
        'executorch',
        whole_detectors=False,
        dynamic=False,
        precisions=('fp32',),
        runs_code=False,
        described_inside=False,
    ),
    'coreml': Format(
        'Core ML',
        '.mlpackage',
        '',
        'coremltools',
        whole_detectors=False,
        dynamic=False,
        precisions=('fp32', 'fp16'),
        runs_code=False,
        described_inside=True,
    ),
}
"""By the name that ``--format`` takes."""

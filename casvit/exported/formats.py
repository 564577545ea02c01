"""The formats of exported models: what each can hold, who runs it, and what it needs."""

from collections.abc import Callable
from typing import NamedTuple

from casvit.errors import UserError


class Format(NamedTuple):
    """A format of exported models.

    Attributes:
        name: Its name, for people.
        suffix: The suffix of its file.
        backend: The module that runs it; empty if none here does.
        package: The package that the module imports.
        whole_detectors: Whether a file can have decoding and suppression of boxes in it, which
            second stages and masks come after; otherwise the Predictor decodes boxes.
        dynamic: Whether a file can take images of any size.
        precisions: Precisions that a file can have.
        resizing: Those in which a file can resize and pad images itself. A runtime that computes
            all of a file in fp16 has too few digits for it.
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
    resizing: tuple[str, ...]
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
        resizing=('fp32', 'fp16'),
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
        resizing=('fp32',),
        runs_code=False,
        described_inside=False,
    ),
    'torchscript': Format(
        'TorchScript',
        '.torchscript',
        'casvit.backends.torchscript',
        'torch',
        whole_detectors=True,
        dynamic=False,
        precisions=('fp32',),
        resizing=(),
        runs_code=True,
        described_inside=False,
    ),
    'aotinductor': Format(
        'AOTInductor',
        '.pt2',
        'casvit.backends.aotinductor',
        'torch',
        whole_detectors=True,
        dynamic=False,
        precisions=('fp32',),
        resizing=(),
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
        resizing=(),
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
        resizing=(),
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
        resizing=(),
        runs_code=False,
        described_inside=True,
    ),
}
"""By the name that ``--format`` takes."""


class FormatError(UserError, ValueError):
    """A format cannot hold what was asked for; the message names those that can."""


def require_able(chosen: str, what: str, able: Callable[[Format], bool]) -> None:
    """Checks that a format can hold something.

    Args:
        chosen: A key of :data:`FORMATS`.
        what: What it has to hold, for the message: 'instance masks'.
        able: Whether a format can hold it.

    Raises:
        FormatError: It cannot.
    """
    if not able(FORMATS[chosen]):
        names = ', '.join(each.name for each in FORMATS.values() if able(each))
        raise FormatError(f'{FORMATS[chosen].name} files cannot hold {what}. These can: {names}.')

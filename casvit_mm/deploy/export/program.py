"""Traces a lean model: the program that the formats are made from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.utils import digit_version
from torch import Tensor, nn

from casvit.errors import MissingPackageError, UserError
from casvit.extras import how_to_install
from casvit.sentences import first_line
from casvit_mm.deploy.convolutions import plain_operators
from casvit_mm.deploy.export.silence import silenced
from casvit_mm.deploy.lean.resizing import Resizing

OLDEST = '2.7'
"""The first version of torch whose exporter is used here."""


class ExportError(UserError, RuntimeError):
    """A model cannot be exported; the message says why and what to do."""


@dataclass(frozen=True)
class Network:
    """A lean model and what it is exported for.

    Attributes:
        module: The lean model; its only input is uint8 RGB, ``(B, 3, H, W)``.
        example: An input. Shape: ``(B, 3, H, W)``.
        dynamic: Whether images may have any size.
        batches: Whether batches may have any size; only with ``dynamic``.
        outputs: Names of the outputs.
        whole: What answers like the file and the Predictor together, if the file leaves decoding
            to the Predictor.
    """

    module: nn.Module
    example: Tensor
    dynamic: bool
    batches: bool
    outputs: tuple[str, ...]
    whole: nn.Module | None = None

    @property
    def most(self) -> int:
        """The largest number of objects that it gives; 0 if there is no limit, or no object."""
        module: Any = self.whole or self.module
        lean = module.network if isinstance(module, Resizing) else module
        cfg = getattr(lean, 'cfg', None)
        return 0 if cfg is None else max(cfg.get('max_per_img', 0), 0)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Runs the whole of it in eager mode, with the operators that are exported."""
        with plain_operators():
            answer = (self.whole or self.module)(images)
        return answer if isinstance(answer, tuple) else (answer,)


def require_exporter() -> None:
    """Checks that this version of torch can export.

    Raises:
        ExportError: It cannot.
    """
    if digit_version(torch.__version__) < digit_version(OLDEST):
        raise ExportError(
            f'Exporting needs torch {OLDEST} or newer; this is {torch.__version__}. A checkpoint '
            'that was trained with an older version can be exported with a newer one.'
        )


@torch.no_grad()
def exported_program(network: Network) -> Any:
    """The ``torch.export.ExportedProgram`` of a network.

    Raises:
        ExportError: It cannot be traced.
    """
    require_exporter()
    shapes: Any = None
    if network.dynamic:
        sides = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
        shapes = ({0: torch.export.Dim.DYNAMIC, **sides} if network.batches else sides,)
    example = network.example
    if network.batches:
        # A batch of one image would be taken for a constant.
        example = example.expand(2, -1, -1, -1).contiguous()
    try:
        with plain_operators():
            return torch.export.export(
                network.module, (example,), dynamic_shapes=shapes, strict=False
            )
    except Exception as error:
        hint = 'a fixed size (without --dynamic)' if network.dynamic else 'another format'
        raise ExportError(f'The model cannot be traced: {reason_of(error)} Try {hint}.') from error


@torch.no_grad()
def traced(network: Network, example: Tensor) -> Any:
    """The TorchScript trace of a network, for the size of its example.

    Args:
        network: The network.
        example: The example, of the type that the trace takes.

    Raises:
        ExportError: It cannot be traced.
    """
    require_exporter()
    try:
        # torch warns of each number that a trace keeps, and of tracing itself.
        with plain_operators(), silenced():
            return torch.jit.trace(network.module, (example,), check_trace=False)
    except Exception as error:
        raise ExportError(
            f'The model cannot be traced: {reason_of(error)} Try another format.'
        ) from error


@contextmanager
def converting(converter: str) -> Iterator[None]:
    """Context of what a package does to convert a network, silently.

    Args:
        converter: Its name.

    Raises:
        ExportError: It fails, for other reasons than the disk or the memory.
    """
    try:
        with silenced():
            yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ExportError(
            f'{converter} cannot convert the model: {reason_of(error)} Try another format.'
        ) from error


def reason_of(error: Exception) -> str:
    """What an error of torch says, in one line that ends in a full stop."""
    return f'{first_line(error).rstrip(".")}.'


def missing_converter(format_name: str, package: str, error: ImportError) -> MissingPackageError:
    """The error that what writes a format cannot be imported.

    Args:
        format_name: The format, for people.
        package: The package that an extra installs.
        error: What importing raised.
    """
    return MissingPackageError(
        f'Exporting to {format_name} needs {error.name or package}, which cannot be imported: '
        f'{how_to_install(package)}.'
    )

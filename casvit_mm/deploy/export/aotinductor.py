"""AOTInductor: machine code for processors like this one, made by torch's own compiler."""

from pathlib import Path

from casvit.exported.description import Description
from casvit_mm.deploy.export.program import ExportError, Network, exported_program, reason_of
from casvit_mm.deploy.export.silence import silenced
from casvit_mm.deploy.lean.two_stage import LeanTwoStage


def write(network: Network, description: Description, file: Path) -> None:
    """Writes a package of compiled code and weights.

    Args:
        network: The network.
        description: What the file says of itself.
        file: The .pt2 file.

    Raises:
        ExportError: The network cannot be traced or compiled.
    """
    from torch._inductor import aoti_compile_and_package

    with silenced():
        program = exported_program(network)
        try:
            # With it, torch 2.13 computes convolutions of an unknown number of boxes wrongly.
            options = {'layout_optimization': not isinstance(network.module, LeanTwoStage)}
            aoti_compile_and_package(program, package_path=str(file), inductor_configs=options)
        except Exception as error:
            raise ExportError(
                f'The model cannot be compiled: {reason_of(error)} This needs a C++ compiler (g++ '
                'or clang++), like torch.compile.'
            ) from error

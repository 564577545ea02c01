"""AOTInductor: machine code for processors like this one, made by torch's own compiler."""

from pathlib import Path

from casvit.exported.description import Description
from casvit_mm.deploy.export.program import ExportError, Network, exported_program, reason_of
from casvit_mm.deploy.export.silence import silenced


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
            aoti_compile_and_package(program, package_path=str(file))
        except Exception as error:
            raise ExportError(
                f'The model cannot be compiled: {reason_of(error)} This needs a C++ compiler (g++ '
                'or clang++), like torch.compile.'
            ) from error

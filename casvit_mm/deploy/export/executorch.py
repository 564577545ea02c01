"""ExecuTorch, torch's runtime for phones and small devices, with XNNPACK for the CPU."""

from pathlib import Path

from casvit.exported.description import Description
from casvit_mm.deploy.export.program import (
    Network,
    converting,
    exported_program,
    missing_converter,
)


def write(network: Network, description: Description, file: Path) -> None:
    """Writes a program in which XNNPACK computes what it can.

    Args:
        network: The network.
        description: What the file says of itself.
        file: The .pte file.

    Raises:
        MissingPackageError: executorch cannot be imported.
        ExportError: The network cannot be traced or converted.
    """
    try:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
    except ImportError as error:
        raise missing_converter('ExecuTorch', 'executorch', error) from error
    program = exported_program(network)
    with converting('ExecuTorch'):
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        content = lowered.to_executorch().buffer
    file.write_bytes(content)

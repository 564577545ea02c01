"""TorchScript, for programs in C++ that use torch."""

from io import BytesIO
from pathlib import Path

import torch

from casvit.exported.description import Description
from casvit_mm.deploy.export.program import Network, traced
from casvit_mm.deploy.export.silence import silenced


def write(network: Network, description: Description, file: Path) -> None:
    """Writes a trace.

    Args:
        network: The network.
        description: What the file says of itself.
        file: The .torchscript file.

    Raises:
        ExportError: The network cannot be traced.
    """
    program = traced(network, network.example)
    # Into memory first: the process would end if the disk were full.
    content = BytesIO()
    with silenced():
        torch.jit.save(program, content)
    file.write_bytes(content.getbuffer())

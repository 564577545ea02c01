"""OpenVINO's intermediate representation, converted from ONNX."""

import tempfile
from dataclasses import replace
from pathlib import Path

from casvit.backends.openvino import import_without_reports
from casvit.exported.description import Description
from casvit_mm.deploy.export import onnx
from casvit_mm.deploy.export.program import Network, missing_converter


def write(network: Network, description: Description, file: Path) -> None:
    """Writes an .xml file with the graph, and beside it a .bin file with the weights.

    Args:
        network: The network.
        description: What the file says of itself.
        file: The .xml file.

    Raises:
        MissingPackageError: openvino, onnx or onnxscript cannot be imported.
        ExportError: The network cannot be traced.
    """
    try:
        openvino = import_without_reports()
    except ImportError as error:
        raise missing_converter('OpenVINO', 'openvino', error) from error
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / 'model.onnx'
        onnx.write(network, replace(description, precision='fp32'), source)
        model = openvino.convert_model(source)
    # OpenVINO would halve the weights unless it is told not to.
    openvino.save_model(model, file, compress_to_fp16=description.precision == 'fp16')

"""OpenVINO's intermediate representation, converted from ONNX."""

import tempfile
from pathlib import Path
from typing import Any

from casvit.backends.openvino import import_without_reports
from casvit.exported.description import Description
from casvit_mm.deploy.export import onnx
from casvit_mm.deploy.export.program import Network, converting, missing_converter


def write(network: Network, description: Description, file: Path) -> None:
    """Writes an .xml file with the graph, and beside it a .bin file with the weights.

    Args:
        network: The network.
        description: What the file says of itself.
        file: The .xml file.

    Raises:
        MissingPackageError: openvino, onnx or onnxscript cannot be imported.
        ExportError: The network cannot be traced or converted.
    """
    try:
        openvino = import_without_reports()
    except ImportError as error:
        raise missing_converter('OpenVINO', 'openvino', error) from error
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / 'model.onnx'
        onnx.write(network, description, source)
        with converting('OpenVINO'):
            model = openvino.convert_model(source)
    if description.precision == 'fp16':
        _keep_precision(model)
    # OpenVINO would halve all weights unless it is told not to; those of the ONNX file are.
    openvino.save_model(model, file, compress_to_fp16=False)


def _keep_precision(model: Any) -> None:
    """Marks what is in fp32: told to compute in fp16, OpenVINO would halve coordinates too."""
    for node in model.get_ordered_ops():
        if any(output.get_element_type().get_type_name() == 'f32' for output in node.outputs()):
            node.get_rt_info()['precise_0'] = ''

"""ONNX, which ONNX Runtime, OpenVINO and TensorRT read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from casvit.exported.description import INPUT, KEY, Description
from casvit_mm.deploy.export.program import (
    Network,
    converting,
    exported_program,
    missing_converter,
)
from casvit_mm.deploy.lean.half import in_half

OPSET = 18
"""The version of ONNX's operators, which torch's exporter produces without conversion."""

DIMENSIONS = {
    'boxes': ('objects', None),
    'scores': ('objects',),
    'labels': ('objects',),
    'masks': ('objects', 'mask_height', 'mask_width'),
    'mask_boxes': ('objects', None),
    'logits': ('batch', None, 'logits_height', 'logits_width'),
    'probabilities': ('batch', None),
    'class_logits': ('batch', 'places', None),
    'box_values': ('batch', 'places', None),
}
"""Names of the dynamic dimensions of the outputs."""


def write(network: Network, description: Description, file: Path) -> None:
    """Writes an ONNX file with its description in it.

    Args:
        network: The network.
        description: What the file says of itself.
        file: The file.

    Raises:
        MissingPackageError: onnx or onnxscript cannot be imported.
        ExportError: The network cannot be traced or converted.
    """
    if description.precision == 'fp16':
        network = replace(network, module=in_half(network.module))
    model = converted(network)
    import onnx

    _name_dimensions(model.graph)
    # Shapes of values inside have other names, and runtimes find them out themselves.
    del model.graph.value_info[:]
    _forget_sources(model)
    model.producer_name, model.producer_version = 'casvit-mm', description.casvit
    model.doc_string = description.model
    onnx.helper.set_model_props(model, {KEY: description.to_json()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, str(file))


def converted(network: Network) -> Any:
    """The ``onnx.ModelProto`` of a network, without a description.

    Raises:
        MissingPackageError: onnx or onnxscript cannot be imported.
        ExportError: The network cannot be traced or converted.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise missing_converter('ONNX', 'onnx', error) from error
    program = exported_program(network)
    with converting("torch's ONNX exporter"):
        exported: Any = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(network.outputs),
            verbose=False,
        )
    return exported.model_proto


def _forget_sources(model: Any) -> None:
    """Removes what torch notes of each node: lines of source code, with paths of this machine."""
    graphs = [model.graph, *model.functions]
    for each in (*graphs, *(node for graph in graphs for node in graph.node)):
        del each.metadata_props[:]
        each.doc_string = ''
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]


def _name_dimensions(graph: Any) -> None:
    inputs = {INPUT: ('batch', None, 'height', 'width')}
    for value in (*graph.input, *graph.output):
        names = {**inputs, **DIMENSIONS}[value.name]
        for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
            if name is not None and not dimension.HasField('dim_value'):
                dimension.dim_param = name

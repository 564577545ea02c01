"""Core ML, for Apple's devices, converted from a trace. Nothing but macOS and iOS runs it."""

from pathlib import Path
from typing import Any

from casvit.exported.description import INPUT, KEY, Description
from casvit_mm.deploy.export.program import (
    ExportError,
    Network,
    converting,
    missing_converter,
    traced,
)
from casvit_mm.deploy.export.silence import silenced


def write(network: Network, description: Description, file: Path) -> None:
    """Writes an ML program for iOS 16 and macOS 13 or newer, with its description in it.

    Args:
        network: The network.
        description: What the file says of itself.
        file: The .mlpackage, which is a folder.

    Raises:
        MissingPackageError: coremltools cannot be imported.
        ExportError: The network cannot be traced or converted, or was not written as asked for.
    """
    try:
        with silenced():
            import coremltools
    except ImportError as error:
        raise missing_converter('Core ML', 'coremltools', error) from error
    half = description.precision == 'fp16'
    program = traced(network, network.example.float())
    with converting('coremltools'):
        model = coremltools.convert(
            program,
            inputs=[
                coremltools.ImageType(
                    name=INPUT,
                    shape=tuple(network.example.shape),
                    color_layout=coremltools.colorlayout.RGB,
                )
            ],
            outputs=[coremltools.TensorType(name=name) for name in network.outputs],
            convert_to='mlprogram',
            minimum_deployment_target=coremltools.target.iOS16,
            compute_precision=getattr(coremltools.precision, 'FLOAT16' if half else 'FLOAT32'),
            skip_model_load=True,
        )
    model.user_defined_metadata[KEY] = description.to_json()
    model.short_description, model.version = description.model, description.casvit
    with silenced():
        model.save(str(file))
        written = coremltools.models.MLModel(str(file), skip_model_load=True)
    _check(written.get_spec(), network)


def _check(spec: Any, network: Network) -> None:
    """Checks that a written file takes and gives what was asked for."""
    names = [each.name for each in spec.description.input]
    names += [each.name for each in spec.description.output]
    sides = spec.description.input[0].type.imageType
    if names != [INPUT, *network.outputs] or (sides.height, sides.width) != tuple(
        network.example.shape[2:]
    ):
        raise ExportError('The exported file has other inputs or outputs than the model.')

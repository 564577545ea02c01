"""Exports lean models: one small module for each format, whose ``write`` writes its files."""

WRITERS = {
    'onnx': 'casvit_mm.deploy.export.onnx',
    'openvino': 'casvit_mm.deploy.export.openvino',
}
"""The module of each format, a key of :data:`casvit.exported.formats.FORMATS`."""

"""Exports lean models: one small module for each format, whose ``write`` writes its files."""

WRITERS = {
    'onnx': 'casvit_mm.deploy.export.onnx',
    'openvino': 'casvit_mm.deploy.export.openvino',
    'torchscript': 'casvit_mm.deploy.export.torchscript',
    'aotinductor': 'casvit_mm.deploy.export.aotinductor',
    'ncnn': 'casvit_mm.deploy.export.ncnn',
    'executorch': 'casvit_mm.deploy.export.executorch',
    'coreml': 'casvit_mm.deploy.export.coreml',
}
"""The module of each format, a key of :data:`casvit.exported.formats.FORMATS`."""

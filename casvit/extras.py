"""The extras of the distribution: which one installs which package."""

OPENMMLAB = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain')
OF_SET_UP = frozenset((*OPENMMLAB, 'torch', 'torchvision', 'cv2'))
"""Packages that the set-up installs, because their versions have to match."""

EXTRAS = {
    'supervision': 'draw',
    'timm': 'bench',
    'defusedxml': 'data',
    'iterstrat': 'data',
    'imagehash': 'duplicates',
    'gdown': 'weights',
    'tifffile': 'bands',
    'onnxruntime': 'onnx',
    'onnx': 'export',
    'onnxscript': 'export',
    'openvino': 'openvino',
    'ncnn': 'ncnn',
    'pnnx': 'export',
    'executorch': 'executorch',
    'coremltools': 'coreml',
}
"""The extra that installs a package; all others come with ``train``."""

SET_UP = 'python tools/install.py in a checkout sets everything up'


def how_to_install(package: str) -> str:
    """Says how to install a missing package.

    Args:
        package: Its import name.

    Returns:
        A clause without a full stop.
    """
    if package in OF_SET_UP:
        return (
            f"{SET_UP}; pip install 'casvit-mm[maintained]' adds it to an environment in which "
            'mmcv can be compiled'
        )
    return f"pip install 'casvit-mm[{EXTRAS.get(package, 'train')}]' adds it"

"""The versions that are installed, defined only here."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Line:
    """Versions of one OpenMMLab line that were tested together.

    Attributes:
        pythons: Minor versions of Python 3 that this line's torch supports.
        torch: torch and its torchvision; not used if the environment already has a torch.
        mmcv: The only distribution that is compiled.
        packages: All other distributions.
        limits: Upper bounds that the packages themselves do not declare.
        extras: Extras of this package that only this line allows.
    """

    pythons: tuple[int, ...]
    torch: tuple[str, str]
    mmcv: str
    packages: tuple[str, ...]
    limits: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()


LINES = {
    'maintained': Line(
        pythons=(10, 11, 12),
        torch=('torch==2.13.0', 'torchvision==0.28.0'),
        mmcv='onedl-mmcv==2.3.6',
        packages=(
            'onedl-mmengine==0.10.12',
            'onedl-mmdetection==3.5.1',
            'onedl-mmsegmentation==1.4.2',
            'onedl-mmpretrain==1.3.6',
        ),
        # datumaro needs NumPy 2, and exporting a newer torch than the other line has.
        extras=('formats', 'export'),
    ),
    'original': Line(
        pythons=(10, 11),
        torch=('torch==2.1.2', 'torchvision==0.16.2'),
        mmcv='mmcv==2.1.0',
        packages=(
            'mmengine==0.10.7',
            'mmdet==3.3.0',
            'mmsegmentation==1.2.2',
            'mmpretrain==1.2.0',
            'ftfy',
            'regex',
        ),
        limits=('numpy<2', 'setuptools<81'),
    ),
}
# Extras of this package that both lines allow.
EXTRAS = (
    *('draw', 'data', 'duplicates', 'weights', 'bands', 'bench', 'dev'),
    *('onnx', 'openvino', 'ncnn'),
)
# Extras of many packages, which are better kept out of an environment for training.
OWN_ENVIRONMENT = ('executorch', 'coreml')
OPENCV = 'opencv-python-headless==4.11.0.86'
OPENCVS = (
    'opencv-python',
    'opencv-contrib-python',
    'opencv-python-headless',
    'opencv-contrib-python-headless',
)
BUILD_TOOLS = ('pip', 'setuptools', 'wheel', 'packaging', 'ninja')

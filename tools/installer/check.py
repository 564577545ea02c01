"""Imports the packages that casvit_mm needs and prints the results as one line of JSON.

Run by tools/install.py with the interpreter of the environment:
`python tools/installer/check.py [NAME ...]`.
"""

import importlib
import json
import sys
import warnings

NAMES = ('torch', 'torchvision', 'cv2', 'mmcv._ext', 'mmdet', 'mmseg', 'mmpretrain', 'casvit_mm')


def facts(name: str, module) -> dict:
    """Collects the version of an imported module and other facts about it."""
    found = {'version': getattr(module, '__version__', '')}
    if name == 'torch':
        found['cuda'] = module.version.cuda
        found['sees_gpu'] = module.cuda.is_available()
    if name == 'mmcv._ext':
        import mmcv
        from mmcv.ops import get_compiling_cuda_version

        cuda = get_compiling_cuda_version()
        found['version'] = mmcv.__version__
        found['operators'] = 'CPU' if cuda == 'not available' else f'CUDA {cuda}'
    return found


def examine(name: str) -> dict:
    """Imports one module.

    Args:
        name: Dotted name.

    Returns:
        Facts about it, or `{'error': first line of the error}`.
    """
    try:
        return facts(name, importlib.import_module(name))
    except Exception as error:
        first = (str(error).splitlines() or [''])[0]
        return {'error': f'{type(error).__name__}: {first}'}


if __name__ == '__main__':
    warnings.simplefilter('ignore')
    print(json.dumps({name: examine(name) for name in sys.argv[1:] or NAMES}))

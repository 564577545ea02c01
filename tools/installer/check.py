"""Imports what casvit_mm stands on and prints, as one line of JSON, what each import came to.

Run by tools/install.py with the interpreter of the environment:
`python tools/installer/check.py [NAME ...]`.
"""

import importlib
import json
import sys
import warnings

NAMES = ('torch', 'torchvision', 'cv2', 'mmcv._ext', 'mmdet', 'mmseg', 'mmpretrain', 'casvit_mm')


def facts(name: str, module) -> dict:
    """Reads what matters about an imported module beside its version."""
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
        Its facts, or `{'error': first line of what went wrong}`.
    """
    try:
        return facts(name, importlib.import_module(name))
    except Exception as error:
        first = (str(error).splitlines() or [''])[0]
        return {'error': f'{type(error).__name__}: {first}'}


if __name__ == '__main__':
    warnings.simplefilter('ignore')
    print(json.dumps({name: examine(name) for name in sys.argv[1:] or NAMES}))

"""What a command sees to before it imports OpenMMLab."""

import sys

from casvit_mm.models.optional import TOOLBOXES, import_error


def forget_broken_packages() -> None:
    """Lets commands that do not classify run where torchvision or mmpretrain is broken.

    A torchvision that was built for another torch raises a RuntimeError. mmdet and mmseg, which
    import it and mmpretrain if they are there, expect no more than an ImportError: after this,
    importing them raises one.
    """
    for module in TOOLBOXES['mmpretrain'].modules:
        if import_error(module):
            sys.modules[module.split('.')[0]] = None
            return

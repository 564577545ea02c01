"""The toolbox of OpenMMLab that a config is for, imported before anything of it is built."""

import importlib
import sys

from mmengine.config import Config

from casvit.cli.loading import loading
from casvit_mm.models.optional import TOOLBOXES, import_error, toolbox


def load_toolbox(cfg: Config) -> None:
    """Imports the toolbox of a config whole, so that whatever it prints or lacks is met here.

    Args:
        cfg: The config; its ``default_scope`` names the toolbox.

    Raises:
        MissingPackageError: The toolbox, or what it needs, is not installed.
    """
    scope = cfg.get('default_scope', 'mmdet')
    if scope not in TOOLBOXES:
        return
    with loading(f'The config {cfg.filename}'):
        _forget_broken_packages()
        with toolbox(scope):
            importlib.import_module(f'{scope}.utils').register_all_modules(init_default_scope=False)


def _forget_broken_packages() -> None:
    """Lets commands that do not classify run although torchvision or mmpretrain is broken.

    A torchvision that was built for another torch raises a RuntimeError. mmdet and mmseg, which
    import it and mmpretrain if they are there, expect no more than an ImportError: after this,
    importing them raises one.
    """
    for module in TOOLBOXES['mmpretrain'].modules:
        if import_error(module):
            sys.modules[module.split('.')[0]] = None
            return

"""The toolbox of OpenMMLab that a config is for, imported before anything of it is built."""

import importlib

from mmengine.config import Config

from casvit.cli.loading import loading

TOOLBOXES = ('mmdet', 'mmseg', 'mmpretrain')


def load_toolbox(cfg: Config) -> None:
    """Imports the toolbox of a config whole, so that whatever it prints or lacks is met here.

    Args:
        cfg: The config; its ``default_scope`` names the toolbox.

    Raises:
        MissingPackageError: The toolbox is not installed.
    """
    scope = cfg.get('default_scope', 'mmdet')
    if scope in TOOLBOXES:
        with loading(f'The config {cfg.filename}'):
            importlib.import_module(f'{scope}.utils').register_all_modules(init_default_scope=False)

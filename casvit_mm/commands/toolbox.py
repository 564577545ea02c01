"""Imports the OpenMMLab toolbox of a config before anything is built from it."""

import importlib

from mmengine.config import Config

from casvit.cli.loading import loading
from casvit_mm.config.view import ConfigView
from casvit_mm.models.optional import TOOLBOXES, forget_broken_packages, toolbox


def load_toolbox(cfg: Config) -> None:
    """Imports the complete toolbox of a config, so that its output and missing packages show here.

    From then on, mmengine reads weights as data too.

    Args:
        cfg: The config; its ``default_scope`` names the toolbox.

    Raises:
        MissingPackageError: The toolbox, or a package that it needs, is not installed.
    """
    importlib.import_module('casvit_mm.safe_loading')
    scope = ConfigView(cfg).scope
    if scope not in TOOLBOXES:
        return
    with loading(f'The config {cfg.filename}'):
        forget_broken_packages()
        with toolbox(scope):
            importlib.import_module(f'{scope}.utils').register_all_modules(init_default_scope=False)

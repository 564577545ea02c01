"""Makes mmengine read weights as data: nothing in a file is run, whoever loads it.

``import casvit_mm.safe_loading`` replaces mmengine's loaders of checkpoints, for this process: what
is loaded through mmengine (``load_from``, every ``init_cfg``, ``init_detector``, inferencers) is
then read by :func:`casvit_mm.models.checkpoint.read_checkpoint`. The commands of this package do
it, and its configs, which name it under ``custom_imports``. In your own code, import it first. A
plain ``import casvit_mm`` changes nothing for others.

Of what a checkpoint holds beside its weights, code is left out: ``meta.config``, which mmengine
executes, and a config that is more than data. Code that calls ``torch.load`` itself is not covered.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from casvit_mm.registration import LOADERS

SCHEMES: dict[str, tuple[str, ...]] = {
    # Files, and mmengine's patterns of addresses in object stores.
    'load_from_data': ('', r'(\S+\:)?s3://', r'(\S+\:)?petrel://', r'(\S+\:)?ceph://'),
    'load_from_address': ('http://', 'https://'),
    'load_from_torchvision': ('modelzoo://', 'torchvision://'),
    'load_from_openmmlab': ('open-mmlab://', 'openmmlab://'),
    'load_from_mmcls': ('mmcls://',),
    'load_from_nowhere': ('pavi://',),
}
"""The functions of :mod:`casvit_mm.inference.safe_loaders`, and what each loads."""


def install(loaders: ModuleType) -> None:
    """Replaces mmengine's loaders of checkpoints; a second call changes nothing.

    Args:
        loaders: mmengine's module of loaders.
    """
    for name, prefixes in SCHEMES.items():
        loaders.CheckpointLoader.register_scheme(prefixes, _late(name), force=True)


def _late(name: str) -> Callable[..., dict[str, Any]]:
    """A loader that is imported, with torch, when it is first used."""

    def load(filename: str, map_location: Any = None) -> dict[str, Any]:
        module = importlib.import_module('casvit_mm.inference.safe_loaders')
        return getattr(module, name)(filename, map_location)

    # mmengine prints it.
    load.__name__ = name
    return load


class _Waiting(MetaPathFinder):
    """Waits for mmengine's loaders: reading a config imports this module, and no torch."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Finds the module of loaders like anyone else, and installs ours once it has run."""
        if fullname != LOADERS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_install(module: ModuleType) -> None:
            run(module)
            install(module)

        spec.loader.exec_module = run_and_install  # type: ignore[method-assign]
        return spec


if LOADERS in sys.modules:
    install(sys.modules[LOADERS])
else:
    sys.meta_path.insert(0, _Waiting())

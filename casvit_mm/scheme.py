"""Makes mmengine load ``casvit://NAME``, the published weights of a name, wherever it loads files.

For code that does not read checkpoints with this package: the inferencers of the toolboxes, their
own tools, ``init_cfg`` of other models.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from casvit.weights.find import SCHEME

LOADERS = 'mmengine.runner.checkpoint'


def register_scheme() -> None:
    """Registers the scheme, at once or as soon as mmengine's loaders of checkpoints are imported.

    Importing them here would import torch, which reading a config does not need.
    """
    if LOADERS in sys.modules:
        _register_in(sys.modules[LOADERS])
    else:
        sys.meta_path.insert(0, _Watcher())


def load_from_casvit(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Loads published weights, as mmengine calls the loader of a scheme.

    Args:
        filename: ``casvit://NAME``.
        map_location: Device of the tensors, as in ``torch.load``; the CPU if None.

    Returns:
        The content of the file; see :func:`casvit_mm.models.checkpoint.read_checkpoint`.

    Raises:
        CheckpointError: The name is unknown, or its file is not on this machine.
    """
    from casvit_mm.models.checkpoint.read import read_checkpoint

    return read_checkpoint(filename, 'cpu' if map_location is None else map_location)


class _Watcher(MetaPathFinder):
    """Registers the scheme when mmengine's loaders are imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != LOADERS:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_register(module: ModuleType) -> None:
                run(module)
                _register_in(module)

            vars(spec.loader)['exec_module'] = run_and_register
        return spec


def _register_in(loaders: ModuleType) -> None:
    # By force: a process may import this package again, as tests do.
    loaders.CheckpointLoader.register_scheme(SCHEME, load_from_casvit, force=True)

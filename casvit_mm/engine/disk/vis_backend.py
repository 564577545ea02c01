"""mmengine's backend for the scalars of a run, which goes on if they cannot be written."""

import contextlib
import os
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.visualization import LocalVisBackend
from numpy import ndarray

from casvit_mm.engine.disk.outage import Outage

OF_MMENGINE = (LocalVisBackend, 'LocalVisBackend', 'mmengine.LocalVisBackend')


class TolerantVisBackend(LocalVisBackend):
    """Writes ``scalars.json``, the config and images; if the disk is full, it warns and goes on.

    :class:`casvit_mm.engine.CASViTRunner` uses it if a config asks for ``LocalVisBackend``. It
    takes the same arguments.
    """

    @cached_property
    def _outage(self) -> Outage:
        return Outage('the scalars of the run', self._save_dir)

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Writes the config."""
        with self._outage.tolerated():
            super().add_config(config, **kwargs)

    def add_image(self, name: str, image: ndarray, step: int = 0, **kwargs: Any) -> None:
        """Writes an image."""
        with self._outage.tolerated():
            super().add_image(name, image, step, **kwargs)

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Adds a number to the file."""
        with self._outage.tolerated():
            super().add_scalar(name, value, step, **kwargs)

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Adds numbers to the file."""
        with self._outage.tolerated():
            super().add_scalars(scalar_dict, step, file_path, **kwargs)

    def _dump(self, value_dict: dict, file_path: str, file_format: str) -> None:
        size = Path(file_path).stat().st_size if Path(file_path).is_file() else 0
        try:
            super()._dump(value_dict, file_path, file_format)
        except OSError:
            # Half a line would make the whole file unreadable.
            with contextlib.suppress(OSError):
                os.truncate(file_path, size)
            raise


def tolerant(backends: Any) -> Any:
    """Replaces mmengine's local backend in the ``vis_backends`` of a visualiser.

    Args:
        backends: A dict, a list of dicts or backends, or None.
    """
    if isinstance(backends, (list, tuple)):
        return [tolerant(each) for each in backends]
    if isinstance(backends, dict) and backends.get('type') in OF_MMENGINE:
        return {'name': 'LocalVisBackend', **backends, 'type': TolerantVisBackend}
    return backends

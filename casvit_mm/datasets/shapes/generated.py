"""Root folders of generated datasets: their location, and how they are written atomically."""

import json
import os
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from casvit.errors import DatasetError
from casvit.files import cache_folder, written_whole
from casvit.terminal.progress import Progress
from casvit_mm.datasets.roots import is_remote
from casvit_mm.datasets.shapes.scenes import SMALLEST_SIDE

RECORD = 'dataset.json'


@dataclass(frozen=True)
class GeneratedSet:
    """One of the generated datasets.

    Attributes:
        generator: Name of the generator in its record.
        folder: Its folder in the user's cache.
        options: Options of the command that generates it, besides the folder.
    """

    generator: str
    folder: str
    options: str = ''

    def default_root(self) -> Path:
        """The default root, in the user's cache folder."""
        return cache_folder() / self.folder

    def how_to_generate(self, root: Path | str) -> str:
        """The command that generates a root."""
        return f'python tools/generate_shapes.py {self.options}--out {shlex.quote(str(root))}'

    def is_generated(self, root: Path) -> bool:
        """Whether a folder is a complete generated dataset."""
        return bool(self.images(root))

    def images(self, root: Path) -> dict[str, int]:
        """Number of images by split; empty if the root is missing or of another kind."""
        try:
            record = json.loads((Path(root) / RECORD).read_text(encoding='utf-8'))
        except (OSError, ValueError):
            return {}
        known = isinstance(record, dict) and record.get('generator') == self.generator
        return record['pictures'] if known else {}

    def write(
        self,
        out: Path,
        record: dict[str, Any],
        write: Callable[[Path, Progress], None],
        *,
        progress: bool,
    ) -> None:
        """Writes a root atomically; replaces an earlier one.

        Args:
            out: The root: a new or empty folder, or one with a dataset of this kind.
            record: The parameters of the dataset: ``pictures`` (number of images by split),
                ``size``, ``seed`` and whatever else its files depend on.
            write: Writes the files into a folder, and counts images on a progress bar.
            progress: Whether to draw that bar on stderr.

        Raises:
            DatasetError: ``out`` holds something else or cannot be written, or a parameter is out
                of range.
        """
        _check_numbers(record)
        out = Path(out).expanduser().resolve()
        try:
            self._refuse_foreign(out)
            replace = self.is_generated(out)
            out.parent.mkdir(parents=True, exist_ok=True)
            with (
                written_whole(out, replace=replace) as root,
                Progress(
                    total=sum(record['pictures'].values()),
                    desc='generating shapes',
                    unit='image',
                    disable=not progress,
                ) as bar,
            ):
                write(root, bar)
                write_json(root / RECORD, dict(generator=self.generator, **record))
        except OSError as error:
            if self.is_generated(out) and not replace:
                # Another process has generated the same root in the meantime.
                return
            raise DatasetError(
                f'The dataset cannot be written to {out}: {error.strerror or error}. Generate it '
                f'elsewhere ({self.how_to_generate("DIR")}) and set --data-root DIR.'
            ) from error

    def prepare(
        self, root: Path | str, generate: Callable[[Path], None], wait_seconds: float
    ) -> None:
        """Makes sure that a root exists: generates the default one if it is missing.

        One on another machine or in shards is left to the file backend that reads it.

        Of several processes on one machine (``LOCAL_RANK``), the first generates and the others
        wait.

        Args:
            root: Root of the dataset.
            generate: Generates a root.
            wait_seconds: How long the others wait.

        Raises:
            DatasetError: A root other than the default is missing, or the default one cannot be
                written.
        """
        if is_remote(str(root)):
            return
        root = Path(root)
        if root.resolve() == self.default_root().resolve():
            if self.is_generated(root):
                return
            if os.environ.get('LOCAL_RANK', '0') == '0':
                generate(root)
            else:
                self._wait_for(root, wait_seconds)
        elif not root.is_dir():
            raise DatasetError(
                f'The dataset {root} does not exist. Generate it with: {self.how_to_generate(root)}'
            )

    def _refuse_foreign(self, out: Path) -> None:
        """Keeps the generator from deleting files that it did not write."""
        if out.exists() and not out.is_dir():
            raise DatasetError(
                f'{out} is a file; the dataset needs a folder. Choose another --out.'
            )
        if out.is_dir() and any(out.iterdir()) and not self.is_generated(out):
            raise DatasetError(
                f'The folder {out} is not empty, and does not hold a generated dataset of this '
                'kind. Choose another one with --out, or empty it.'
            )

    def _wait_for(self, root: Path, seconds: float) -> None:
        """Waits while another process generates a root."""
        until = time.monotonic() + seconds
        while not self.is_generated(root):
            if time.monotonic() > until:
                raise DatasetError(
                    f'The dataset {root} does not exist after {seconds} seconds: the first process '
                    'on this machine should have generated it. '
                    f'Generate it with: {self.how_to_generate(root)}'
                )
            time.sleep(0.2)


def write_image(path: Path, image: np.ndarray, options: list[int]) -> None:
    """Writes an image in the format of the path's suffix; ``options`` are OpenCV's."""
    # cv2.imwrite does not support every path.
    _, data = cv2.imencode(path.suffix, image, options)
    path.write_bytes(data.tobytes())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON that is identical on every platform."""
    path.write_text(json.dumps(content, indent=None) + '\n', encoding='utf-8', newline='\n')


def _check_numbers(record: dict[str, Any]) -> None:
    for name, value, least in (
        ('number of training images', record['pictures']['train'], 1),
        ('number of validation images', record['pictures']['val'], 1),
        ('size', record['size'], SMALLEST_SIDE),
        ('seed', record['seed'], 0),
    ):
        if value < least:
            raise DatasetError(
                f'The {name} of a generated dataset must be at least {least}, not {value}.'
            )

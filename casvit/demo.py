"""Runs inference on a folder of images or a video, and writes the results."""

import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from PIL import Image

from casvit.drawing.style import STYLE, Style
from casvit.errors import CliError, UserError
from casvit.files import write_whole
from casvit.inputs.bands import ARRAY_SUFFIXES
from casvit.inputs.images import IMAGE_SUFFIXES, ImageError, ImageLike
from casvit.inputs.streams import VIDEOS, Video, VideoWriter, list_images, output_names
from casvit.predictor import Outcome, PredictionError, Predictor
from casvit.results import Result, SemanticMap
from casvit.terminal.progress import Progress

JPEG_LIMIT = 65500
UNITS = {'semantic': 'areas of a class', 'classification': 'class scores'}


def find_inputs(source: Path) -> list[Path]:
    """Lists the images of an input; none if it is a video.

    Args:
        source: A file or folder.

    Raises:
        CliError: The input does not exist, or its type is not supported.
        StreamError: The input is a folder without images.
    """
    if not source.exists():
        raise CliError(f'The input {source} does not exist.')
    if source.is_dir():
        return list_images(source)
    if source.suffix.lower() in (*IMAGE_SUFFIXES, *ARRAY_SUFFIXES):
        return [source]
    if source.suffix.lower() in VIDEOS:
        return []
    raise CliError(
        f'The type of the input {source} is not supported. Images: {", ".join(IMAGE_SUFFIXES)}; '
        f'videos: {", ".join(VIDEOS)}.'
    )


class Demo:
    """Runs inference on images or a video and writes the results.

    Args:
        predictor: The Predictor.
        out_dir: Folder for the results.
        tile: Side of the tiles in pixels; None to predict whole images.
        overlap: Overlap of neighbouring tiles in pixels.
        style: How to draw.
        score_threshold: The score below which the Predictor leaves out detections, for the message
            if there are none.
    """

    def __init__(
        self,
        predictor: Predictor,
        out_dir: Path,
        tile: int | None = None,
        overlap: int | None = None,
        style: Style = STYLE,
        score_threshold: float = 0.3,
    ) -> None:
        self.predictor = predictor
        self.out_dir = out_dir
        self.tile, self.overlap, self.style = tile, overlap, style
        self.score_threshold = score_threshold
        self.unit = UNITS.get(predictor.task, 'detections')

    def on_images(self, paths: Sequence[Path]) -> dict[Path, str]:
        """Writes the results of images; returns the skipped images, each with the reason.

        Raises:
            Exception: Inference failed for every image; this is the error of the first.
        """
        names = output_names(paths)
        skipped: dict[Path, str] = {}
        errors: list[BaseException] = []
        total = done = 0
        with (
            self._progress(len(paths), 'image') as bar,
            closing(self._outcomes(paths, bar)) as outcomes,
        ):
            for path, outcome in zip(paths, outcomes, strict=True):
                bar.on_result()
                if isinstance(outcome, Exception):
                    skipped[path] = str(outcome)
                    if _is_of_model(outcome):
                        errors.append(outcome.__cause__ or outcome)
                    continue
                try:
                    total += self._write(path, names[path], outcome)
                    done += 1
                except (OSError, ImageError) as error:
                    reason = getattr(error, 'strerror', None) or error
                    skipped[path] = f'The results of {path} cannot be written: {reason}.'
        if errors and not done:
            raise errors[0]
        if done:
            print(f'{total} {self.unit} in {done} image(s): {self.out_dir}{self._why(total)}')
        return skipped

    def on_video(self, path: Path) -> None:
        """Writes the results of a video.

        Raises:
            StreamError: The video cannot be read, or the result cannot be written.
            Exception: Inference failed for a frame.
        """
        video = Video(path)
        target = self.out_dir / f'{path.stem}.mp4'
        records, number = [], 0
        with (
            VideoWriter(target, video.frames_per_second) as writer,
            self._progress(video.length, 'frame') as bar,
            closing(self._outcomes(video, bar)) as outcomes,
        ):
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise (outcome.__cause__ if _is_of_model(outcome) else None) or outcome
                bar.on_result()
                writer.write(outcome.draw(self.style))
                records += [{**record, 'frame': number} for record in outcome.to_records(path.name)]
                number += 1
        _write_json(records, self.out_dir / f'{path.stem}.json')
        print(f'{len(records)} {self.unit} in {number} frames: {target}{self._why(len(records))}')

    def _why(self, total: int) -> str:
        """Why there may be no detection; empty if there is one."""
        if total or self.predictor.task in UNITS:
            return ''
        return (
            f'. None has a score of {self.score_threshold:g} or more; --score-thr shows '
            'those with lower scores.'
        )

    def _outcomes(
        self, images: Iterable[ImageLike], bar: '_Progress'
    ) -> Generator[Outcome, None, None]:
        return self.predictor.answers(
            images, tile=self.tile, overlap=self.overlap, on_tiles=bar.on_tiles
        )

    def _progress(self, count: int | None, unit: str) -> '_Progress':
        if self.tile is None:
            return _Progress(total=count, unit=unit)
        # The number of tiles is known only once an image is read.
        return _Progress(total=None, unit='tile')

    def _write(self, path: Path, name: str, result: Result) -> int:
        """Writes the results of one image; returns the number of records."""
        # JPEG has a size limit, PNG does not.
        suffix = '.jpg' if max(result.height, result.width) < JPEG_LIMIT else '.png'
        result.save(self.out_dir / f'{name}{suffix}', self.style)
        if isinstance(result, SemanticMap):
            Image.fromarray(result.class_ids).save(self.out_dir / f'{name}_labels.png')
        records = result.to_records(path.name)
        _write_json(records, self.out_dir / f'{name}.json')
        return len(records)


class _Progress(Progress):
    """Counts images, frames or tiles; each tile once, also if its image fails."""

    _of_image = (0, 0)
    total: float | None

    def on_result(self) -> None:
        """Counts an image that was predicted, or failed."""
        if self.unit != 'tile':
            self.update()
            return
        done, total = self._of_image
        self._of_image = (total, total)
        self.update(total - done)

    def on_tiles(self, done: int, total: int) -> None:
        """Counts tiles of the current image."""
        if done == 0:
            self.total = (self.total or 0) + total
            self._of_image = (0, total)
        self.update(done - self._of_image[0])
        self._of_image = (done, total)


def _is_of_model(error: Exception) -> bool:
    """Whether the model raised an error that may have nothing to do with the image."""
    return isinstance(error, PredictionError) and not isinstance(error.__cause__, UserError)


def _write_json(records: list[dict[str, Any]], path: Path) -> None:
    write_whole(path, json.dumps(records, indent=1))

"""Detects or segments on an image, a folder of images, or a video.

  casvit image_demo photo.jpg CONFIG CHECKPOINT --out-dir out
  casvit image_demo photos/ CONFIG CHECKPOINT --score-thr 0.5 --batch-size 4
  casvit image_demo street.mp4 CONFIG CHECKPOINT --device cuda
  casvit image_demo street.mp4 CONFIG CHECKPOINT --fuse --compile
      the same answers, sooner: the compiler takes a minute or more once
  casvit image_demo aerial.png CONFIG CHECKPOINT --tile 1024 --overlap 256
      a picture too large to be seen at once, in overlapping tiles; what is found twice is
      reported once. Objects larger than the overlap may come out in pieces.

Per input, the out dir gets a picture (or a video) with the answer drawn on it, and a JSON list:
  detection     {file, label, score, bbox: [x1, y1, x2, y2], mask: COCO's run-length code}
  segmentation  {file, label, index, pixels, share} per class; NAME_labels.png holds the indices
A video's records also have the number of the frame.

In a folder, images that cannot be read, predicted or written are skipped and listed at the end with
the reasons; the exit code is then 1. An image given by itself that fails is an error (exit code 2).
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
from mmengine.config import Config
from tqdm import tqdm

from casvit.cli import arguments
from casvit.errors import CliError
from casvit_mm.commands.channels import require_matching_channels
from casvit_mm.commands.config import command_config
from casvit_mm.commands.devices import check_precision, find_device
from casvit_mm.commands.inputs import batches, find_inputs, output_names, read_image
from casvit_mm.deploy import Acceleration, accelerate
from casvit_mm.engine.detections import Detections
from casvit_mm.engine.inference import ImageDetector, ImageSegmentor, inner_test_dataset
from casvit_mm.engine.label_map import LabelMap, stitch
from casvit_mm.engine.tiles import merge, predict_tiled, tiles
from casvit_mm.models.checkpoint import require_checkpoint
from casvit_mm.report.drawing import draw_detections, draw_label_map

JPEG_LIMIT = 65500


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument('input', metavar='INPUT', help='image, folder of images, or video')
    arguments.add_config(parser)
    arguments.add_checkpoint(parser)
    parser.add_argument(
        '--out-dir', metavar='DIR', default='outputs', help='for the results (default: outputs)'
    )
    parser.add_argument(
        '--score-thr',
        type=arguments.fraction,
        default=0.3,
        metavar='S',
        help='leave out detections below this score (default: 0.3)',
    )
    parser.add_argument(
        '--batch-size',
        type=arguments.positive_int,
        default=1,
        metavar='N',
        help='images, frames or tiles at once (default: 1)',
    )
    parser.add_argument(
        '--tile',
        type=arguments.positive_int,
        metavar='SIZE',
        help='look at tiles of this side, in pixels, instead of the whole picture',
    )
    parser.add_argument(
        '--overlap',
        type=int,
        metavar='PIXELS',
        help='of neighbouring tiles, at least the size of an object (default: a quarter tile)',
    )
    arguments.add_acceleration(parser)
    arguments.add_device(parser)


def run(args: Namespace) -> int:
    """Detects and writes what was found.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code: 1 if images of a folder were skipped.

    Raises:
        CliError: There is nothing to look at, or it cannot be read.
        CheckpointError: The weights are not there, or do not fit.
    """
    source, out_dir = Path(args.input).expanduser(), Path(args.out_dir).expanduser()
    images = find_inputs(source)
    if args.overlap is not None and args.tile is None:
        raise CliError('--overlap is of tiles: give their size with --tile.')
    overlap = args.overlap if args.overlap is not None else (args.tile or 0) // 4
    if args.tile is not None and not 0 <= overlap < args.tile:
        raise CliError(f'--overlap {overlap} does not fit tiles of {args.tile} pixels.')
    folder = source if source.is_dir() else source.parent
    if out_dir.exists() and out_dir.resolve() == folder.resolve():
        raise CliError(f'--out-dir {out_dir} is where the input lies; results could replace it.')
    device = find_device(args.device)
    cfg = command_config(args)
    if not cfg.get('model'):
        raise CliError(f'The config {cfg.filename} has no model.')
    if inner_test_dataset(cfg) is None:
        raise CliError(
            f'The config {cfg.filename} has no test_dataloader whose dataset has a pipeline, which '
            'tells how to prepare images.'
        )
    require_matching_channels(cfg)
    require_checkpoint(args.checkpoint)
    if note := check_precision(args.precision, device):
        print(note)
    model = build_model(cfg, args.checkpoint, device, args.score_thr)
    accelerate(model.model, Acceleration(**arguments.acceleration(args)))
    out_dir.mkdir(parents=True, exist_ok=True)
    demo = _Demo(model, out_dir, args.batch_size, args.tile, overlap)
    if not images:
        demo.on_video(source)
        return 0
    skipped = demo.on_images(images)
    if not skipped:
        return 0
    if not source.is_dir():
        raise CliError(skipped[source])
    reasons = '\n'.join(f'  {reason}' for reason in skipped.values())
    print(f'Skipped {len(skipped)} of {len(images)} image(s):\n{reasons}', file=sys.stderr)
    return 1


def build_model(
    cfg: Config, checkpoint: str, device: str, score_thr: float
) -> ImageDetector | ImageSegmentor:
    """The model of a config, ready to be shown pictures.

    Raises:
        CliError: The config is of a task that has no pictures to draw.
        CheckpointError: The weights cannot be read or do not fit.
    """
    scope = cfg.get('default_scope', 'mmdet')
    if scope == 'mmdet':
        return ImageDetector(cfg, checkpoint, device=device, score_thr=score_thr)
    if scope == 'mmseg':
        return ImageSegmentor(cfg, checkpoint, device=device)
    raise CliError(f'image_demo draws detections and label maps; {cfg.filename} is for {scope}.')


class _Demo:
    """Runs a model over inputs and writes results."""

    def __init__(
        self,
        model: ImageDetector | ImageSegmentor,
        out_dir: Path,
        batch_size: int,
        tile: int | None,
        overlap: int,
    ) -> None:
        self.model = model
        self.out_dir = out_dir
        self.batch_size = batch_size
        self.tile = tile
        self.overlap = overlap

    def on_images(self, paths: Sequence[Path]) -> dict[Path, str]:
        """Writes the results of images; returns those that were skipped, each with the reason.

        Raises:
            Exception: Inference failed for every image, with the error of the first.
        """
        names = output_names(paths)
        skipped: dict[Path, str] = {}
        errors: list[Exception] = []
        total = done = 0
        with self._progress(len(paths), 'image') as bar:
            for first in range(0, len(paths), self.batch_size):
                images = {}
                for path in paths[first : first + self.batch_size]:
                    try:
                        images[path] = read_image(path)
                    except CliError as error:
                        skipped[path] = str(error)
                        bar.update(0 if self.tile else 1)
                for path, answer in self._answers(images, bar):
                    try:
                        if isinstance(answer, Exception):
                            raise answer
                        total += self._write(path, names[path], images[path], answer)
                        done += 1
                    except OSError as error:
                        reason = error.strerror or error
                        skipped[path] = f'The results of {path} cannot be written: {reason}.'
                    # What a model raises for an image of odd size is of any kind.
                    except Exception as error:
                        height, width = images[path].shape[:2]
                        skipped[path] = (
                            f'Inference failed for {path} ({width} x {height} pixels): '
                            f'{_reason(error)}'
                        )
                        if not isinstance(error, cv2.error):
                            errors.append(error)
        if errors and not done:
            raise errors[0]
        if done:
            print(f'{total} {self._unit} in {done} image(s): {self.out_dir}')
        return skipped

    def _answers(
        self, images: dict[Path, np.ndarray], bar: tqdm
    ) -> Iterator[tuple[Path, Detections | LabelMap | Exception]]:
        """The answer for each image, or the error that it raises when it is predicted alone."""
        if not images:
            return
        try:
            yield from zip(images, self._predict(list(images.values()), bar), strict=True)
            return
        except Exception as error:
            if len(images) == 1:
                yield next(iter(images)), error
                return
        for path, image in images.items():
            yield from self._answers({path: image}, bar)

    def on_video(self, path: Path) -> None:
        video = mmcv.VideoReader(str(path))
        if not video.opened or not video.width or not len(video):
            raise CliError(f'The video {path} cannot be read: it is damaged, or no video.')
        target = self.out_dir / f'{path.stem}.mp4'
        size = (video.width, video.height)
        writer = cv2.VideoWriter(
            str(target), cv2.VideoWriter_fourcc(*'mp4v'), video.fps or 25, size
        )
        if not writer.isOpened():
            raise CliError(f'The video {target} cannot be written.')
        records, number = [], 0
        try:
            with self._progress(len(video), 'frame') as bar:
                for frames in batches(video, self.batch_size):
                    for frame, answer in zip(frames, self._predict(frames, bar), strict=True):
                        writer.write(self._draw(frame, answer))
                        found = answer.to_records(path.name, self.model.classes, *frame.shape[:2])
                        records += [{**record, 'frame': number} for record in found]
                        number += 1
        finally:
            writer.release()
        _write_json(records, self.out_dir / f'{path.stem}.json')
        print(f'{len(records)} {self._unit} in {number} frames: {target}')

    def _progress(self, count: int, unit: str) -> tqdm:
        # How many tiles there are is known only once a picture is read.
        return tqdm(total=None if self.tile else count, unit='tile' if self.tile else unit)

    @property
    def _unit(self) -> str:
        return 'detections' if isinstance(self.model, ImageDetector) else 'areas of a class'

    def _predict(self, pictures: Sequence[np.ndarray], bar: tqdm) -> list[Detections | LabelMap]:
        if self.tile is None:
            found = self.model(pictures)
            bar.update(len(pictures))
            return found
        found = []
        for picture in pictures:
            count = len(tiles(*picture.shape[:2], self.tile, self.overlap))
            bar.total = (bar.total or 0) + count
            found.append(
                predict_tiled(
                    self.model,
                    picture,
                    self.tile,
                    self.overlap,
                    merge if isinstance(self.model, ImageDetector) else stitch,
                    batch_size=self.batch_size,
                    on_batch=bar.update,
                )
            )
        return found

    def _draw(self, picture: np.ndarray, answer: Detections | LabelMap) -> np.ndarray:
        draw = draw_detections if isinstance(answer, Detections) else draw_label_map
        return draw(picture, answer, self.model.classes, self.model.palette)

    def _write(
        self, path: Path, name: str, picture: np.ndarray, answer: Detections | LabelMap
    ) -> int:
        """Writes the results of one picture; returns the number of records."""
        # JPEG ends at 65,535 pixels a side.
        suffix = '.jpg' if max(picture.shape[:2]) < JPEG_LIMIT else '.png'
        mmcv.imwrite(self._draw(picture, answer), str(self.out_dir / f'{name}{suffix}'))
        if isinstance(answer, LabelMap):
            mmcv.imwrite(answer.labels, str(self.out_dir / f'{name}_labels.png'))
        records = answer.to_records(path.name, self.model.classes, *picture.shape[:2])
        _write_json(records, self.out_dir / f'{name}.json')
        return len(records)


def _reason(error: Exception) -> str:
    """What an image is skipped for, in one line."""
    if isinstance(error, cv2.error) and error.func == 'resize':
        return 'too narrow to be resized as the config says. --tile SIZE takes it as it is.'
    lines = str(error).strip().splitlines()
    return f'{type(error).__name__}: {lines[0]}' if lines else type(error).__name__


def _write_json(records: list[dict[str, Any]], path: Path) -> None:
    path.write_text(json.dumps(records, indent=1), encoding='utf-8')

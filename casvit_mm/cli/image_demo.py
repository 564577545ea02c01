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
"""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
from mmengine.config import Config
from tqdm import tqdm

from casvit_mm.cli import arguments
from casvit_mm.cli.config import command_config
from casvit_mm.cli.errors import CliError
from casvit_mm.deploy import Acceleration, accelerate
from casvit_mm.engine.detections import Detections
from casvit_mm.engine.inference import ImageDetector, ImageSegmentor
from casvit_mm.engine.label_map import LabelMap, stitch
from casvit_mm.engine.tiles import merge, predict_tiled, tiles
from casvit_mm.models.checkpoint import require_checkpoint
from casvit_mm.report.drawing import draw_detections, draw_label_map

IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm')
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg')
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
        The exit code.

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
    device = arguments.find_device(args.device)
    cfg = command_config(args)
    for key in ('model', 'test_dataloader'):
        if not cfg.get(key):
            raise CliError(f'The config {cfg.filename} has no {key}.')
    require_checkpoint(args.checkpoint)
    if note := arguments.note_on_precision(args.precision, device):
        print(note)
    model = build_model(cfg, args.checkpoint, device, args.score_thr)
    accelerate(model.model, Acceleration(**arguments.acceleration(args)))
    out_dir.mkdir(parents=True, exist_ok=True)
    demo = _Demo(model, out_dir, args.batch_size, args.tile, overlap)
    if images:
        demo.on_images(images)
    else:
        demo.on_video(source)
    return 0


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


def find_inputs(source: Path) -> list[Path]:
    """The images that an input stands for; none where it is a video.

    Args:
        source: A file or folder.

    Raises:
        CliError: It does not exist, is of an unknown kind, or has no image in it.
    """
    if not source.exists():
        raise CliError(f'The input {source} does not exist.')
    if source.is_dir():
        images = sorted(path for path in source.iterdir() if path.suffix.lower() in IMAGES)
        if not images:
            raise CliError(f'The folder {source} has no image in it ({", ".join(IMAGES)}).')
        return images
    if source.suffix.lower() in IMAGES:
        return [source]
    if source.suffix.lower() in VIDEOS:
        return []
    raise CliError(
        f'The input {source} is of an unknown kind. Images: {", ".join(IMAGES)}; videos: '
        f'{", ".join(VIDEOS)}.'
    )


def read_image(path: Path) -> np.ndarray:
    """Reads an image as BGR.

    Args:
        path: The file.

    Returns:
        The picture. Shape: ``(H, W, 3)``, uint8.

    Raises:
        CliError: It cannot be read.
    """
    try:
        image = mmcv.imread(str(path))
    except (OSError, cv2.error) as error:
        raise CliError(f'The image {path} cannot be read: {error}') from error
    if image is None:
        raise CliError(f'The image {path} cannot be read: it is damaged, or no image.')
    return image


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

    def on_images(self, paths: Sequence[Path]) -> None:
        names = _output_names(paths)
        total = 0
        with self._progress(len(paths), 'image') as bar:
            for first in range(0, len(paths), self.batch_size):
                batch = paths[first : first + self.batch_size]
                pictures = [read_image(path) for path in batch]
                found = self._predict(pictures, bar)
                for path, picture, answer in zip(batch, pictures, found, strict=True):
                    total += self._write(path, names[path], picture, answer)
        print(f'{total} {self._unit} in {len(paths)} image(s): {self.out_dir}')

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
                for frames in _batches(video, self.batch_size):
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


def _batches(video: mmcv.VideoReader, size: int) -> Iterator[list[np.ndarray]]:
    frames = []
    for frame in video:
        # The frame count in a video's header may be more than it holds.
        if frame is None:
            break
        frames.append(frame)
        if len(frames) == size:
            yield frames
            frames = []
    if frames:
        yield frames


def _output_names(paths: Sequence[Path]) -> dict[Path, str]:
    """The stem of every image, and its whole name where two share a stem."""
    stems = [path.stem for path in paths]
    return {path: path.stem if stems.count(path.stem) == 1 else path.name for path in paths}


def _write_json(records: list[dict[str, Any]], path: Path) -> None:
    path.write_text(json.dumps(records, indent=1), encoding='utf-8')

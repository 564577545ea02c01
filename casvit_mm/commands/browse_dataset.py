"""Draws images as the model gets them from the data pipeline."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import VISUALIZERS
from mmengine.visualization import Visualizer

from casvit.cli import arguments
from casvit.drawing.style import STYLE, Style
from casvit.errors import CliError
from casvit.inputs.bands import as_colours
from casvit.terminal.progress import Progress
from casvit_mm.commands.config import command_config
from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.values import check_values
from casvit_mm.config.view import ConfigView
from casvit_mm.datasets.build import build_dataset
from casvit_mm.datasets.preflight.check import check_data
from casvit_mm.engine.drawing import add_sample, drawn_sample, is_users_own, write_drawn


def run(args: Namespace) -> int:
    """Draws images of a split.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        CliError: The config has no dataset for the split, or a value that no run can use.
        DatasetError: The dataset is missing, or does not match the config.
    """
    cfg = command_config(args)
    loader = cfg.get(f'{args.split}_dataloader')
    if not loader:
        raise CliError(f'The config {cfg.filename} has no {args.split}_dataloader.')
    load_toolbox(cfg)
    check_values(cfg)
    for fact in check_data(cfg, (args.split,)):
        print(fact)
    dataset = build_dataset(cfg, args.split)
    out_dir = Path(args.out_dir or Path(cfg.work_dir) / 'browse')
    drawn = draw(
        cfg,
        dataset,
        args.number,
        out_dir,
        original=args.split != 'train',
        show=args.show,
        style=Style(**arguments.drawing(args)),
    )
    print(f'{drawn} images of {len(dataset)}: {out_dir}')
    return 0


def draw(
    cfg: Config,
    dataset: Any,
    number: int,
    out_dir: Path,
    *,
    original: bool = False,
    show: bool = False,
    style: Style = STYLE,
) -> int:
    """Draws images of a dataset.

    Args:
        cfg: The config, for its visualiser.
        dataset: The dataset, with its pipeline.
        number: Largest number of images.
        out_dir: Folder for the drawn images.
        original: Whether annotations are in pixels of the image before resizing, as in evaluation
            pipelines; the image is then drawn at that size.
        show: Whether to also show the images in windows.
        style: How to draw.

    Returns:
        The number of images drawn.
    """
    kind = ConfigView(cfg).visualizer
    options = cfg.get('visualizer') or dict(type=kind)
    visualizer = VISUALIZERS.build({'name': 'visualizer', **options})
    visualizer.dataset_meta = dataset.metainfo
    number = min(number, len(dataset))
    for position in Progress(range(number), desc='drawing', unit='image'):
        index = position * len(dataset) // number
        item = dataset[index]
        sample, image = item['data_samples'].numpy(), _pixels(item['inputs'])
        if original:
            image = mmcv.imresize(image, sample.ori_shape[::-1])
        boxes = getattr(sample.get('gt_instances'), 'bboxes', None)
        if (tensor := getattr(boxes, 'tensor', None)) is not None:
            sample.gt_instances.bboxes = tensor
        name = f'{index:06d}_{Path(sample.get("img_path", "image")).stem}'
        drawn = None
        if not is_users_own(visualizer):
            drawn = drawn_sample(sample, dataset.metainfo, image, style=style)
        if drawn is None:
            file = out_dir / f'{name}.jpg'
            add_sample(visualizer, name, image, sample, file, draw_pred=False, show=show)
            continue
        write_drawn(drawn, out_dir, name)
        if show:
            Visualizer.show(visualizer, drawn, win_name=name)
    return number


def _pixels(inputs: torch.Tensor) -> np.ndarray:
    """The output of a pipeline as an RGB image. Shape: ``(H, W, 3)``, uint8."""
    if len(inputs) != 3:
        return as_colours(inputs.permute(1, 2, 0).numpy())
    pixels = inputs.permute(1, 2, 0).clamp(0, 255).to(torch.uint8).numpy()
    return np.ascontiguousarray(pixels[..., ::-1])

"""Exports a trained model, and compares the file with PyTorch."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from casvit import __version__
from casvit.errors import CliError
from casvit.exported.description import Description
from casvit.exported.formats import FORMATS, require_able
from casvit.exported.preparation import PreparationError, Step, fit_of, prepare
from casvit.files import why_unwritable
from casvit.inputs.images import read_image
from casvit.sentences import count_of, from_here
from casvit.tables import OBJECT_TASKS
from casvit.weights.digest import sha256
from casvit.weights.find import local_path
from casvit_mm.commands.config import sized_config
from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.channels import require_matching_channels
from casvit_mm.config.view import ConfigView, type_name
from casvit_mm.datasets.shapes.scenes import paint
from casvit_mm.deploy import fuse, is_fused
from casvit_mm.deploy.export.program import Network, require_exporter
from casvit_mm.deploy.export.whole import export
from casvit_mm.deploy.lean import RawSingleStage, Resizing, decoding, lean_model
from casvit_mm.engine.run_facts import model_name
from casvit_mm.inference.image_model import ImageModel, require_usable
from casvit_mm.inference.preparation import DIVISOR, preparation, usual_size, with_size

SAMPLE_SIDE = 640
"""Side of the generated sample image in pixels."""
NECKS_OF_WHOLE_STRIDES = ('CSPNeXtPAFPN',)
"""Necks that enlarge features to exactly twice their size, whatever the size of the next level."""


def run(args: Namespace) -> int:
    """Exports the model, compares the file with PyTorch, and moves it to its place.

    Args:
        args: The parsed arguments.

    Returns:
        The exit code.

    Raises:
        UserError: The model cannot be exported, or its file does not answer the same.
    """
    out = _checked(args)
    sample = sample_image(args.sample)
    cfg = sized_config(args)
    view = ConfigView(cfg)
    raw = is_raw(args, view)
    require_usable(cfg)
    load_toolbox(cfg)
    require_matching_channels(cfg)
    steps, size = _steps(args, view.test_dataset()['pipeline'])  # type: ignore[index]
    _require_whole_strides(view, size)
    if args.resize:
        _require_resizable(view, steps)
    loaded = ImageModel(args.checkpoint, cfg, weights=args.weights)
    network, description = network_and_description(args, loaded, steps, size, sample, raw=raw)
    print(f'model      {description.model}, {count_of(len(loaded.classes), "class")}')
    print(f'input      {_shape(description)}, uint8 RGB')
    print(f'outputs    {", ".join(network.outputs)}')
    size_on_disk, _ = export(
        network, description, out, lambda line: print(f'compared   {line}', flush=True)
    )
    print(f'exported   {from_here(out)} ({size_on_disk:,} bytes)')
    return 0


def network_and_description(
    args: Namespace,
    loaded: ImageModel,
    steps: list[Step],
    size: tuple[int, int],
    sample: np.ndarray,
    *,
    raw: bool,
) -> tuple[Network, Description]:
    """The network of a model, and what its file will say of itself.

    Args:
        args: ``checkpoint``, ``format``, ``dynamic``, ``resize`` and ``half``.
        loaded: The model; it is fused in place.
        steps: How images are prepared.
        size: Height and width of the example.
        sample: The image that the example is made from, RGB.
        raw: Whether decoding is left out of the file.
    """
    name = model_name(loaded.model)
    if not is_fused(loaded.model):
        fuse(loaded.model)
    whole: Any = lean_model(loaded.model)
    batches = args.dynamic and loaded.task not in OBJECT_TASKS
    description = Description(
        format=args.format,
        task=loaded.task,
        model=name,
        classes=loaded.classes,
        palette=loaded.palette,
        size=None if args.dynamic else size,
        batch=None if batches else 1,
        preparation=steps,
        resizes=args.resize,
        precision='fp16' if args.half else 'fp32',
        raw=decoding(whole) if raw else None,
        weights_sha256=sha256(Path(local_path(args.checkpoint))),
        casvit=__version__,
        **_of_task(loaded),
    )
    module = RawSingleStage(whole).eval() if raw else whole
    if args.resize:
        enlarging = dict(
            enlarge_twice=description.enlarge_twice, align_corners=description.align_corners
        )
        module = Resizing(whole, fit_of(steps), **enlarging).eval()
        # Its logits are those of the image, without padding.
        description = replace(description, enlarge_twice=False)
    network = Network(
        module,
        _as_input(sample) if args.resize else _input(sample, steps, size),
        dynamic=args.dynamic or args.resize,
        batches=batches,
        outputs=description.outputs,
        whole=whole if raw else None,
    )
    return network, description


def _checked(args: Namespace) -> Path:
    """Checks the arguments against each other. Gives the file to write."""
    require_exporter()
    chosen = FORMATS[args.format]
    if args.dynamic and args.image_size is not None:
        raise CliError('--dynamic takes images of any size: leave out --size.')
    if args.dynamic and args.resize:
        raise CliError(
            '--resize makes all images one size inside the file, --dynamic leaves their size as it '
            'is: use --resize if other programs read the file, --dynamic for the results of the '
            'test pipeline.'
        )
    if args.raw and args.resize:
        raise CliError(
            '--resize is for files that answer in pixels of the image, which a file without '
            'decoding does not: leave out --raw or --resize.'
        )
    if args.resize:
        precision = 'fp16' if args.half else 'fp32'
        what = f'the resizing of images in {precision}'
        require_able(args.format, what, lambda each: precision in each.resizing)
    if args.dynamic:
        require_able(args.format, 'models for images of any size', lambda each: each.dynamic)
    if args.half:
        require_able(args.format, 'fp16 numbers', lambda each: 'fp16' in each.precisions)
    if args.image_size is not None and len(args.image_size) > 2:
        raise CliError('--size takes a height and a width, or one number for a square.')
    if args.out is not None:
        out = Path(args.out).expanduser()
    else:
        out = Path(local_path(args.checkpoint)).with_suffix(chosen.suffix)
    if out.suffix != chosen.suffix:
        raise CliError(f'The file {out} must end in {chosen.suffix} for {chosen.name}.')
    if out.is_dir() and out.suffix != '.mlpackage':
        raise CliError(f'{out} is a folder: choose another --out.')
    if reason := why_unwritable(out.parent):
        raise CliError(f'{out} cannot be written: {reason}. Name another file with --out FILE.')
    return out


def is_raw(args: Namespace, view: ConfigView) -> bool:
    """Whether decoding is left to the Predictor.

    Args:
        args: ``format`` and ``raw``.
        view: The config.

    Raises:
        UserError: The format cannot hold the model; the message says which formats can.
    """
    two_stage = view.task == 'detection' and 'roi_head' in view.model
    if view.task == 'detection' and not two_stage:
        return args.raw or not FORMATS[args.format].whole_detectors
    if view.task in OBJECT_TASKS:
        what = 'detectors with two stages' if two_stage else 'instance masks'
        require_able(args.format, what, lambda each: each.whole_detectors)
    if args.raw:
        raise CliError(
            '--raw is for detectors with one stage and without masks, such as RetinaNet: leave it '
            'out for this model.'
        )
    return False


def _require_resizable(view: ConfigView, steps: list[Step]) -> None:
    """Checks that the preparation of images can be part of the file.

    Raises:
        CliError: It cannot.
    """
    if view.task == 'instance' and 'roi_head' not in view.model:
        raise CliError(
            '--resize cannot be used with masks over the whole input, such as those of '
            'RTMDet-Ins: it can with Mask R-CNN, detectors without masks, and segmentors.'
        )
    try:
        fit_of(steps)
    except PreparationError as error:
        raise CliError(f'--resize cannot be used with this model: {error}.') from error


def _steps(args: Namespace, pipeline: list[Any]) -> tuple[list[Step], tuple[int, int]]:
    """How images are prepared, and the size of the example."""
    steps = preparation(pipeline)
    if args.dynamic:
        return steps, usual_size(steps) or (256, 256)
    if args.image_size is None:
        size = usual_size(steps)
        if size is None:
            raise CliError(
                'The test pipeline does not resize images: add --size HEIGHT WIDTH, as of those '
                'that the model was trained with, or --dynamic for images of any size.'
            )
    else:
        size = (args.image_size[0], args.image_size[-1])
    if min(size) < 32:
        raise CliError(f'--size {min(size)}: expected at least 32 pixels.')
    return with_size(steps, size), size


def _require_whole_strides(view: ConfigView, size: tuple[int, int]) -> None:
    """Checks that the levels of the features of an input are exactly twice as large as the next.

    Raises:
        CliError: They are not, and the neck cannot join them.
    """
    neck = type_name(view.model.get('neck') or {})
    height, width = size
    if neck in NECKS_OF_WHOLE_STRIDES and (height % DIVISOR or width % DIVISOR):
        height, width = (max(side // DIVISOR, 1) * DIVISOR for side in size)
        raise CliError(
            f'An input of {size[1]} x {size[0]} pixels does not fit the neck {neck}, which takes '
            f'multiples of {DIVISOR} only: add --size {height} {width}, for example.'
        )


def sample_image(file: str | None) -> np.ndarray:
    """The image that a file is compared on: RGB, uint8; a generated one if no file is named."""
    if file is not None:
        return read_image(file)
    scene = paint(np.random.default_rng(0), SAMPLE_SIDE)
    return np.ascontiguousarray(scene.image[..., ::-1])


def _input(sample: np.ndarray, steps: list[Step], size: tuple[int, int]) -> torch.Tensor:
    """The sample image as an input of the network. Shape: ``(1, 3, H, W)``."""
    if not steps:
        steps = [dict(step='resize', to=list(size), keep_ratio=False, method='bilinear')]
    return _as_input(prepare(sample, steps).pixels)


def _as_input(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]


def _of_task(loaded: ImageModel) -> dict[str, Any]:
    """What a description says only for some tasks."""
    model: Any = loaded.model
    if loaded.task == 'semantic':
        return dict(
            enlarge_twice=type(model).__name__ != 'LightEncoderDecoder',
            align_corners=bool(model.decode_head.align_corners),
        )
    if loaded.task != 'instance':
        return {}
    if hasattr(model, 'roi_head'):
        return dict(mask_threshold=float(model.roi_head.test_cfg.mask_thr_binary))
    head = model.bbox_head
    stride = head.prior_generator.strides[0][0]
    return dict(mask_threshold=float(head.test_cfg.mask_thr_binary), mask_stride=int(stride))


def _shape(description: Description) -> str:
    if description.resizes and description.size is not None:
        height, width = description.size
        return f'1 x 3 x height x width (resized inside to {height} x {width})'
    if description.size is None:
        batch = '1' if description.batch else 'batch'
        return f'{batch} x 3 x height x width'
    return f'1 x 3 x {description.size[0]} x {description.size[1]}'

"""Measures the formats that a trained model can be exported to."""

import copy
import json
import subprocess
import sys
import tempfile
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from casvit.cli import loading
from casvit.errors import CliError, UserError
from casvit.exported.formats import FORMATS
from casvit.extras import OPENMMLAB
from casvit_mm.benchmark.formats.installed import install_size
from casvit_mm.benchmark.formats.measure import EAGER, EXPORTED, Subject, measure_formats
from casvit_mm.benchmark.machine import describe
from casvit_mm.commands.config import sized_config
from casvit_mm.commands.export import is_raw, network_and_description, sample_image
from casvit_mm.commands.toolbox import load_toolbox
from casvit_mm.config.channels import require_matching_channels
from casvit_mm.config.view import ConfigView
from casvit_mm.deploy.export.whole import export
from casvit_mm.deploy.lean import lean_model
from casvit_mm.inference.image_model import ImageModel
from casvit_mm.inference.preparation import preparation, usual_size, with_size

THREADS = (1, 2)


def formats_record(args: Namespace) -> dict[str, Any]:
    """Exports a model to formats, and measures the files beside PyTorch.

    Args:
        args: The parsed arguments of the command.

    Returns:
        ``machine``, ``model``, ``size`` and ``formats``: a row for each format and precision, with
        its measurements by number of threads, or the reason why there is none.

    Raises:
        UserError: The model cannot be loaded, or a file cannot be measured.
    """
    if len(args.configs) != 1 or args.checkpoint is None:
        raise CliError('--formats needs one model: --configs CONFIG --checkpoint CHECKPOINT.')
    if len(args.image_size or [1]) != 1 or args.batch_size != [1]:
        raise CliError('--formats takes a single --image-size, and no --batch-size.')
    config = Namespace(config=args.configs[0], cfg_options=None, data_root=args.data_root)
    cfg = sized_config(config)
    load_toolbox(cfg)
    require_matching_channels(cfg)
    loaded = ImageModel(args.checkpoint, copy.deepcopy(cfg))
    sample = sample_image(None)
    view = ConfigView(copy.deepcopy(cfg))
    steps = preparation(view.test_dataset()['pipeline'])  # type: ignore[index]
    side = args.image_size and args.image_size[0]
    size = (side, side) if side else usual_size(steps)
    if size is None:
        raise CliError(
            'The test pipeline does not resize images: add --image-size, that of the images that '
            'the model was trained with.'
        )
    steps = with_size(steps, size)
    original = lean_model(copy.deepcopy(loaded.model))
    with tempfile.TemporaryDirectory() as folder:
        subjects = [_eager('PyTorch', original, Path(folder))]
        rows: list[dict[str, Any]] = [
            dict(label='PyTorch', install=install_size('torch', 'torchvision', *OPENMMLAB))
        ]
        for precision in args.precision:
            for name in args.formats or FORMATS:
                row, out = _exported(
                    args, view, loaded, steps, size, sample, name, precision, Path(folder)
                )
                if out is not None:
                    subjects.append(Subject(row['label'], EXPORTED, out))
                    if args.evaluate:
                        row['metrics'] = _metrics(args, '--backend', str(out), '--trust')
                rows.append(row)
        options = Namespace(
            checkpoint=args.checkpoint, format='onnx', dynamic=False, resize=False, half=False
        )
        network, _ = network_and_description(options, loaded, steps, size, sample, raw=False)
        subjects.insert(1, _eager('PyTorch, fused', network.module, Path(folder)))
        rows.insert(1, dict(label='PyTorch, fused', install=rows[0]['install']))
        if args.evaluate:
            rows[0]['metrics'] = _metrics(args, args.checkpoint)
        measured = measure_formats(
            subjects,
            network.example.numpy(),
            threads=[args.threads] if args.threads else THREADS,
            turns=args.turns,
            seconds=args.seconds,
        )
    for row in rows:
        row['measured'] = [each for each in measured if each['label'] == row['label']]
    return {
        'machine': describe('cpu', max(each['threads'] for each in measured)),
        'model': Path(cfg.filename).stem,
        'task': loaded.task,
        'size': size,
        'formats': rows,
    }


def _eager(label: str, module: torch.nn.Module, folder: Path) -> Subject:
    file = folder / f'{label}.pt'
    torch.save(module, file)
    return Subject(label, EAGER, file)


def _exported(
    args: Namespace,
    view: ConfigView,
    loaded: ImageModel,
    steps: Any,
    size: tuple[int, int],
    sample: Any,
    name: str,
    precision: str,
    folder: Path,
) -> tuple[dict[str, Any], Path | None]:
    """Exports the model to a format. Gives its row, and its file if there is one."""
    chosen = FORMATS[name]
    label = f'{chosen.name}, {precision}'
    options = Namespace(
        checkpoint=args.checkpoint,
        format=name,
        dynamic=False,
        resize=False,
        half=precision == 'fp16',
        raw=False,
    )
    row: dict[str, Any] = dict(label=label, install=install_size(chosen.package))
    if precision not in chosen.precisions:
        return {**row, 'error': f'is not written in {precision}'}, None
    try:
        raw = is_raw(options, view)
    except UserError as error:
        return {**row, 'error': str(error)}, None
    network, description = network_and_description(options, loaded, steps, size, sample, raw=raw)
    place = folder / f'{name}-{precision}'
    place.mkdir()
    out = place / f'model{chosen.suffix}'
    try:
        with loading.only_useful_warnings():
            row['bytes'], differences = export(network, description, out, lambda _: None)
    except UserError as error:
        return {**row, 'error': str(error)}, None
    row['difference'] = [asdict(each) for each in differences]
    return row, out if chosen.backend else None


def _metrics(args: Namespace, *model: str) -> dict[str, float]:
    """What OpenMMLab's evaluators say of a model; in a process of its own, as every run.

    Args:
        args: The parsed arguments.
        *model: What ``casvit test`` takes for it: a checkpoint, or ``--backend FILE``.

    Raises:
        CliError: The test failed.
    """
    data = [] if args.data_root is None else ['--data-root', args.data_root]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, '-m', 'casvit', 'test', args.configs[0], *model, *data]
        done = subprocess.run(
            [*command, '--work-dir', folder, '--quiet'], capture_output=True, text=True
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ['no message']
            reason = next((line for line in lines if ' error: ' in line), lines[-1])
            raise CliError(f'{" ".join(model)} cannot be evaluated: {reason}')
        logs = [file for file in Path(folder).glob('*/*.json') if file.parent.name == file.stem]
        return json.loads(logs[0].read_text(encoding='utf-8').splitlines()[-1])

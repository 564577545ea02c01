"""How a run ends on the terminal: where its results are, and what to type next."""

import os
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from casvit.inputs.images import IMAGE_SUFFIXES
from casvit.sentences import from_here
from casvit.terminal import results
from casvit.terminal.program import command
from casvit.terminal.screen import Screen
from casvit_mm.config.view import ConfigView
from casvit_mm.engine.checkpoints import best_checkpoint, noted_checkpoint
from casvit_mm.engine.hooks.screen import ScreenHook
from casvit_mm.engine.run_facts import log_file


def end_training(runner: Runner, cfg: Config, screen: Screen) -> None:
    """Shows what a finished run has written, and the commands to use it.

    Args:
        runner: The runner, after training.
        cfg: The config of the run.
        screen: Where to show it.
    """
    last, best = noted_checkpoint(runner.work_dir), best_checkpoint(runner.work_dir)
    if screen.quiet:
        metrics = next((hook.last for hook in runner.hooks if isinstance(hook, ScreenHook)), {})
        found = [results.in_a_sentence(metrics), str(best or last or runner.work_dir)]
        screen.tell(', '.join(filter(None, found)))
        return
    for line in written(runner):
        screen.say(line)
    if checkpoint := best or last:
        screen.say('Next:')
        for line in next_commands(runner, cfg, str(checkpoint)):
            screen.say(f'  {line}')


def written(runner: Runner) -> list[str]:
    """Lists the files that a finished training run has written.

    Args:
        runner: The runner, after training.

    Returns:
        One line per kind of file.
    """
    work_dir = Path(runner.work_dir)
    found: dict[str, str | Path | None] = {
        'last checkpoint': noted_checkpoint(work_dir),
        'best checkpoint': best_checkpoint(work_dir),
        'images': work_dir / 'preview' if any(work_dir.glob('preview/*.jpg')) else None,
        'log': log_file(runner),
    }
    lines = [f'  {name:<17}{_within(path, work_dir)}' for name, path in found.items() if path]
    return [f'Training finished. In {from_here(work_dir)}:', *lines]


def _within(path: str | Path, folder: Path) -> str:
    """A path from a folder on, if it is in there."""
    inside = Path(path).is_relative_to(folder)
    return str(Path(path).relative_to(folder)) if inside else from_here(path)


def next_commands(runner: Runner, cfg: Config, checkpoint: str) -> list[str]:
    """Commands that use a checkpoint, complete, so that they can be copied.

    Args:
        runner: The runner that wrote it.
        cfg: Its config.
        checkpoint: The file.
    """
    config = Path(runner.work_dir, Path(cfg.filename).name)
    used = [config if config.is_file() else cfg.filename, checkpoint]
    lines = [command('image_demo', an_image(cfg), *used, '--out-dir', 'out')]
    if cfg.get('test_dataloader'):
        lines.append(command('test', *used))
    return lines


def an_image(cfg: Config) -> str:
    """An image of the validation set, or the name of an image that a user would have."""
    for dataset in ConfigView(cfg).datasets('val', 'test'):
        prefix = dataset.get('data_prefix') or ''
        if isinstance(prefix, dict):
            prefix = prefix.get('img') or prefix.get('img_path') or ''
        if not (dataset.get('data_root') or prefix):
            continue
        root = Path(dataset.get('data_root') or '', str(prefix))
        for folder, folders, files in os.walk(root):
            folders.sort()
            images = [name for name in files if name.lower().endswith(IMAGE_SUFFIXES)]
            if images:
                return str(Path(folder, min(images)))
    return 'PHOTO.jpg'

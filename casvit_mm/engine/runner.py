"""The runner: mmengine's, with this package's checkpoint reader."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size, master_only
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn

from casvit.files import write_whole, written_whole
from casvit_mm.config.text import escape_braces
from casvit_mm.engine.checkpoints import latest_checkpoint
from casvit_mm.engine.hooks.invalid_loss import StopOnInvalidLossHook
from casvit_mm.engine.hooks.safe_checkpoint import SafeCheckpointHook
from casvit_mm.engine.hooks.training_speed import TrainingSpeedHook
from casvit_mm.engine.resumed_state import check_resumable, drop_foreign_state
from casvit_mm.models.checkpoint import CheckpointError, load_into, read_checkpoint
from casvit_mm.models.checkpoint.class_rows import keep_known_classes
from casvit_mm.models.wrappers import unwrap
from casvit_mm.registration import registered_in
from casvit_mm.speed.training import TrainingSpeed, faster_optimizer

CHECKPOINT_HOOKS = (CheckpointHook, 'CheckpointHook', 'mmengine.CheckpointHook')


@registered_in(RUNNERS)
class CASViTRunner(Runner):
    """Runner that reads every layout of checkpoint in use and never loads half a model silently.

    Testing, validating and resuming want every weight of the model from the file. A training run
    that starts from a file (``load_from``) may leave heads new, says which, keeps the outputs of
    classes that it trains again, and wants the whole backbone. Name it in a config:
    ``runner_type = 'CASViTRunner'``.

    ``load_weights = 'ema'`` in a config loads the moving average of a file that has one beside its
    weights; see :func:`casvit_mm.models.checkpoint.read_checkpoint`.

    ``speed = dict(...)`` in a config makes training faster; see
    :class:`casvit_mm.speed.training.TrainingSpeed`.

    Norms that a config synchronises over GPUs (SyncBN) become ordinary batch norms where there is
    nothing to synchronise: in a run of one process, and on a CPU, where torch refuses them.

    Checkpoints are written whole or not at all, and the old one is removed after the new one is
    there; see :class:`casvit_mm.engine.SafeCheckpointHook`. A run whose loss stays NaN stops; see
    :class:`casvit_mm.engine.StopOnInvalidLossHook`.
    """

    _whole_model_wanted = False
    _is_resuming = False

    def __init__(self, *args: Any, cfg: dict[str, Any] | None = None, **kwargs: Any) -> None:
        self.speed = TrainingSpeed.of((cfg or {}).get('speed') or {})
        if cfg and cfg.get('speed'):
            # What the run leaves behind says what it did, not that it chose.
            cfg = copy.deepcopy(cfg)
            cfg['speed']['precision'] = self.speed.precision
        super().__init__(*args, cfg=cfg, **kwargs)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Builds the model, with norms that this run can train."""
        return with_trainable_norms(super().build_model(model))

    def build_optim_wrapper(self, optim_wrapper: OptimWrapper | dict) -> OptimWrapper:
        """Builds the optimiser's wrapper, as fast as the config's ``speed`` wants it."""
        if isinstance(optim_wrapper, dict) and 'optimizer' in optim_wrapper:
            optim_wrapper = faster_optimizer(optim_wrapper, self.speed)
        return super().build_optim_wrapper(optim_wrapper)

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """Registers the hooks that every run has, those that keep a run from being lost among them.

        Args:
            hooks: The config's ``default_hooks``; None in place of one leaves it out.
        """
        hooks = {'invalid_loss': dict(type=StopOnInvalidLossHook), **(hooks or {})}
        if hooks['invalid_loss'] is None:
            del hooks['invalid_loss']
        checkpoint = hooks.setdefault('checkpoint', dict(type='CheckpointHook', interval=1))
        # Also a config that names mmengine's hook, as most do, is to lose nothing.
        if isinstance(checkpoint, dict) and checkpoint.get('type') in CHECKPOINT_HOOKS:
            hooks['checkpoint'] = {**checkpoint, 'type': SafeCheckpointHook}
        super().register_default_hooks(hooks)

    @master_only
    def save_checkpoint(
        self, out_dir: str, filename: str, file_client_args: dict | None = None, **kwargs: Any
    ) -> None:
        """Saves a checkpoint; into a folder of this machine whole or not at all.

        Args:
            out_dir: The folder.
            filename: Name of the file in it.
            file_client_args: As of mmengine's Runner, like ``kwargs``. A file that is not in a
                folder of this machine is written as mmengine does it.
        """
        if '://' in str(out_dir) or file_client_args or kwargs.get('backend_args'):
            super().save_checkpoint(out_dir, filename, file_client_args, **kwargs)
            return
        with written_whole(Path(out_dir, filename)) as unfinished:
            super().save_checkpoint(out_dir, unfinished.name, **kwargs)

    def load_or_resume(self) -> None:
        """Loads the weights or the run that the config asks for."""
        if self._resume and self._load_from is None and not self._has_loaded:
            self._load_from = latest_checkpoint(self.work_dir)
            if self._load_from is None:
                self._resume = False
                self.logger.warning(
                    f'There is no checkpoint in {self.work_dir} to resume from: the run starts '
                    'anew.'
                )
        super().load_or_resume()

    def train(self) -> nn.Module:
        """Trains, as fast as the config's ``speed`` wants it."""
        self.register_hook(TrainingSpeedHook(self.speed))
        return super().train()

    @master_only
    def dump_config(self) -> None:
        """Writes the whole config into the work dir, except over the file that it was read from."""
        file = Path(self.cfg.filename or f'{self.timestamp}.py')
        target = Path(self.work_dir, file.name)
        if file.is_file() and file.resolve().parent == target.parent.resolve():
            # Some hundred lines that a person may edit; the run's own folder has the whole of it.
            return
        super().dump_config()
        if target.suffix == '.py':
            text = target.read_text(encoding='utf-8')
            write_whole(target, escape_braces(text))

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable = 'cpu',
        strict: bool = False,
        revise_keys: list | None = None,
    ) -> dict[str, Any]:
        """Loads a checkpoint into the model; see :func:`casvit_mm.models.checkpoint.load_into`.

        Args:
            filename: The file.
            map_location: Where tensors go, as in ``torch.load``.
            strict: Want every weight, also where this run would not.
            revise_keys: Not needed: published and DistributedDataParallel keys are known.

        Returns:
            The content of the file.

        Raises:
            CheckpointError: The file cannot be read, does not fit the model, or has no state of
                a run to resume.
        """
        weights = self.cfg.get('load_weights', 'model')
        checkpoint = read_checkpoint(filename, map_location, weights)
        if self._is_resuming:
            check_resumable(checkpoint, str(filename))
        drop_foreign_state(checkpoint, self._checkpoint_folders())
        strict = strict or self._whole_model_wanted
        if not strict:
            self._keep_known_classes(checkpoint)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        load_into(self.model, checkpoint, strict=strict, source=str(filename))
        self._has_loaded = True
        self.logger.info(f'Loaded checkpoint {filename}')
        return checkpoint

    def _keep_known_classes(self, checkpoint: dict[str, Any]) -> None:
        """Fits the last layers of a checkpoint to the classes that this run trains."""
        metainfo = getattr(self.train_dataloader.dataset, 'metainfo', {})
        meta = checkpoint.get('meta') or {}
        old = (meta.get('dataset_meta') or {}).get('classes') or meta.get('CLASSES') or ()
        new = metainfo.get('classes') or ()
        if not old or not new:
            return
        model = unwrap(self.model)
        checkpoint['state_dict'], known = keep_known_classes(
            checkpoint['state_dict'], model.state_dict(), list(old), list(new)
        )
        if known:
            self.logger.info(
                f'The checkpoint knows {len(known)} of the {len(new)} classes, whose outputs are '
                f'kept: {", ".join(known[:20])}{" …" if len(known) > 20 else ""}.'
            )

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Continues the training run that wrote ``filename``.

        Raises:
            CheckpointError: The file cannot be read, or its state is not that of such a run.
        """
        self._whole_model_wanted = self._is_resuming = True
        try:
            super().resume(filename, *args, **kwargs)
        except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
            raise CheckpointError(
                f'{filename} holds the state of another kind of run, or it is damaged: '
                f'{error or type(error).__name__}. A run resumes with the optimizer and schedule '
                'that it began with.'
            ) from error
        finally:
            self._is_resuming = False

    def _checkpoint_folders(self) -> list[str]:
        """The folders that the run's CheckpointHook writes into."""
        outs = [hook.out_dir for hook in self.hooks if isinstance(hook, CheckpointHook)]
        name = Path(self.work_dir).name
        return [self.work_dir, *(f'{str(out).rstrip("/")}/{name}' for out in outs if out)]

    def val(self) -> dict[str, float]:
        """Validates with the weights of ``load_from``."""
        self._whole_model_wanted = True
        return super().val()

    def test(self) -> dict[str, float]:
        """Tests with the weights of ``load_from``."""
        self._whole_model_wanted = True
        return super().test()


def with_trainable_norms(model: nn.Module) -> nn.Module:
    """Makes synchronised norms ordinary ones where there is nothing to synchronise.

    Args:
        model: The model, changed in place.

    Returns:
        It.
    """
    if get_world_size() > 1 and torch.cuda.is_available():
        return model
    if any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
        print_log('SyncBN becomes BN: this run has one process, or no GPU.', logger='current')
    return revert_sync_batchnorm(model)

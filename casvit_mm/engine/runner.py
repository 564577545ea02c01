"""mmengine's runner with this package's checkpoint reader."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import master_only
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import RUNNERS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from mmengine.visualization import Visualizer
from torch import nn

from casvit.files import write_whole, written_whole
from casvit_mm.config.formatted import FormattedOnce
from casvit_mm.config.text import escape_braces
from casvit_mm.engine.batches import require_batches
from casvit_mm.engine.disk.outage import Outage, keep_logging
from casvit_mm.engine.disk.vis_backend import tolerant
from casvit_mm.engine.exact.loops import exact_loop
from casvit_mm.engine.exact.rewinds import STATE
from casvit_mm.engine.exact.state import state_of_checkpoint
from casvit_mm.engine.hooks.determinism import DeterminismHook, prepare_libraries
from casvit_mm.engine.hooks.invalid_loss import StopOnInvalidLossHook
from casvit_mm.engine.hooks.normalisation import NormalisationHook
from casvit_mm.engine.hooks.run_state import InterruptionHook, RunStateHook
from casvit_mm.engine.hooks.safe_checkpoint import MetricError, SafeCheckpointHook
from casvit_mm.engine.hooks.training_speed import TrainingSpeedHook
from casvit_mm.engine.interruption import Interruption
from casvit_mm.engine.known_classes import keep_classes_of
from casvit_mm.engine.norms import with_trainable_norms
from casvit_mm.engine.optim.layer_decay import require_layer_depths
from casvit_mm.engine.resume.choice import checkpoint_to_resume
from casvit_mm.engine.resume.foreign_state import (
    check_progress,
    check_resumable,
    drop_foreign_state,
)
from casvit_mm.engine.resume.last_read import LastRead
from casvit_mm.engine.resume.rates import scale_rates
from casvit_mm.engine.resume.training_state import check_optimizers, check_schedules
from casvit_mm.engine.terminal import show_on_screen
from casvit_mm.models.checkpoint import CheckpointError, load_into
from casvit_mm.models.checkpoint.content.digests import add_digests
from casvit_mm.models.checks.query_positions import check_query_positions
from casvit_mm.models.wrappers import unwrap
from casvit_mm.registration import registered_in
from casvit_mm.speed.training import TrainingSpeed, faster_optimizer, lay_out

LOST_GRADIENTS = 'the gradient of some iterations is lost'
CHECKPOINT_HOOKS = (CheckpointHook, 'CheckpointHook', 'mmengine.CheckpointHook')


@registered_in(RUNNERS)
class CASViTRunner(Runner):
    """Runner that reads all supported checkpoint layouts and never loads half a model silently.

    Testing, validating and resuming need every weight of the model from the file. A training run
    that starts from a file (``load_from``) needs the complete backbone; heads may be newly
    initialised, which is logged, and outputs of classes that the file knows are kept. To use it,
    set ``runner_type = 'CASViTRunner'`` in a config.

    ``load_weights = 'ema'`` in a config loads the moving average if a file has one beside its
    weights; see :func:`casvit_mm.models.checkpoint.read_checkpoint`.

    ``speed = dict(...)`` in a config makes training faster; see
    :class:`casvit_mm.speed.training.TrainingSpeed`.

    Synchronised batch norms (SyncBN) become ordinary ones if there is nothing to synchronise: in a
    run of one process, and on a CPU, where torch does not support them.

    Checkpoints are written completely or not at all, with checksums, and the old one is removed
    only after the new one is on disk. A full disk stops no run. A run is resumed from the newest
    checkpoint that is whole; see :class:`casvit_mm.engine.SafeCheckpointHook`. Steps with
    numbers that are NaN or infinite change nothing, and a run that has no others is stopped; see
    :class:`casvit_mm.engine.StopOnInvalidLossHook`. Images that are not
    normalised as the pretrained weights expect are reported; see
    :class:`casvit_mm.engine.NormalisationHook`.
    """

    # Set by mmengine's Runner.
    _resume: bool
    _load_from: str | None
    optim_wrapper: Any
    param_schedulers: Any

    _whole_model_wanted = False
    _is_resuming = False

    def __init__(self, *args: Any, cfg: dict[str, Any] | None = None, **kwargs: Any) -> None:
        self.speed = TrainingSpeed.of((cfg or {}).get('speed') or {})
        if cfg and cfg.get('speed'):
            # The saved config names the precision that was used, not 'auto'.
            cfg = copy.deepcopy(cfg)
            cfg['speed']['precision'] = self.speed.precision
        if isinstance(cfg, Config):
            cfg = FormattedOnce.of(cfg)
        super().__init__(*args, cfg=cfg, **kwargs)
        self._reader = LastRead(self.cfg.get('load_weights', 'model'))

    def set_randomness(
        self, seed: int | None, diff_rank_seed: bool = False, deterministic: bool = False
    ) -> None:
        """Sets the random state, and lets a deterministic run be one on a GPU, too."""
        if deterministic:
            prepare_libraries()
        super().set_randomness(seed, diff_rank_seed, deterministic)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Builds the logger; on the terminal, commands show less than it logs."""
        logger = super().build_logger(*args, **kwargs)
        keep_logging(logger)
        show_on_screen(logger)
        return logger

    def build_visualizer(self, visualizer: Visualizer | dict | None = None) -> Visualizer:
        """Builds the visualiser; what it cannot write on a full disk stops no run."""
        if visualizer is None:
            visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
        if isinstance(visualizer, dict) and 'vis_backends' in visualizer:
            visualizer = {**visualizer, 'vis_backends': tolerant(visualizer['vis_backends'])}
        return super().build_visualizer(visualizer)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Builds the model, with batch norms that this run can train."""
        model = with_trainable_norms(super().build_model(model))
        check_query_positions(model)
        return model

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wraps the model of a run of several processes, in the memory order of its training.

        In the first step, torch would mix up the elements of gradients whose weights got another
        order after they had been wrapped.
        """
        if self.distributed and self._train_dataloader is not None:
            lay_out(unwrap(model), self.speed, get_device())
        return super().wrap_model(model_wrapper_cfg, model)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Builds the training loop; mmengine's own become those that resume exactly.

        Raises:
            BatchTooSmallError: A batch is too small for the norms of the model.
        """
        built = super().build_train_loop(exact_loop(loop))
        steps = None if isinstance(built, EpochBasedTrainLoop) else built.max_iters
        require_batches(unwrap(self.model), built.dataloader, steps)
        return built

    def build_optim_wrapper(self, optim_wrapper: OptimWrapper | dict) -> OptimWrapper:
        """Builds the optimiser wrapper with the options of the config's ``speed``.

        Raises:
            LayerDecayError: A toolbox's layer-wise decay is asked for, which does not know the
                layers of this model.
        """
        require_layer_depths(optim_wrapper, unwrap(self.model))
        if isinstance(optim_wrapper, dict) and 'optimizer' in optim_wrapper:
            optim_wrapper = faster_optimizer(optim_wrapper, self.speed)
        return super().build_optim_wrapper(optim_wrapper)

    def build_evaluator(self, evaluator: dict | list[dict] | Evaluator) -> Evaluator:
        """Builds the evaluator; ``iou_thrs`` of mmdet's CocoMetric may be a number or a list.

        pycocotools compares arrays only, and mmdet passes on what the config has.

        Raises:
            MetricError: ``iou_thrs`` holds something else than numbers.
        """
        built = super().build_evaluator(evaluator)
        for metric in built.metrics:
            given = getattr(metric, 'iou_thrs', None)
            names = {base.__name__ for base in type(metric).__mro__}
            if given is None or 'CocoMetric' not in names:
                continue
            try:
                metric.iou_thrs = np.atleast_1d(np.asarray(given, dtype=float))
            except (TypeError, ValueError) as error:
                raise MetricError(
                    f'iou_thrs of {type(metric).__name__} is {given!r}: expected a number, or a '
                    'list of numbers from 0 to 1.'
                ) from error
        return built

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """Registers the default hooks, including those that keep a run from being lost.

        Args:
            hooks: The config's ``default_hooks``; set a hook to None to disable it.
        """
        own = dict(
            invalid_loss=dict(type=StopOnInvalidLossHook),
            normalisation=dict(type=NormalisationHook),
            run_state=dict(type=RunStateHook),
        )
        if self.deterministic:
            own['determinism'] = dict(type=DeterminismHook)
        hooks = {**own, **(hooks or {})}
        for name in own:
            if hooks[name] is None:
                del hooks[name]
        checkpoint = hooks.setdefault('checkpoint', dict(type='CheckpointHook', interval=1))
        # Most configs name mmengine's hook: they get the safe one too.
        if isinstance(checkpoint, dict) and checkpoint.get('type') in CHECKPOINT_HOOKS:
            hooks['checkpoint'] = {**checkpoint, 'type': SafeCheckpointHook}
        super().register_default_hooks(hooks)

    @master_only
    def save_checkpoint(
        self, out_dir: str, filename: str, file_client_args: dict | None = None, **kwargs: Any
    ) -> None:
        """Saves a checkpoint; a local file is written completely or not at all.

        It holds the SHA-256 of all that is in it; see
        :mod:`casvit_mm.models.checkpoint.content.digests`.

        Args:
            out_dir: The folder.
            filename: Name of the file in it.
            file_client_args: As for mmengine's Runner, like ``kwargs``. Files that are not local
                are written by mmengine.
        """
        if '://' in str(out_dir) or file_client_args or kwargs.get('backend_args'):
            super().save_checkpoint(out_dir, filename, file_client_args, **kwargs)
            return
        with written_whole(Path(out_dir, filename)) as unfinished:
            super().save_checkpoint(out_dir, unfinished.name, **kwargs)
            add_digests(unfinished)

    def load_or_resume(self) -> None:
        """Loads weights or resumes a run, as the config asks.

        Raises:
            CheckpointError: No checkpoint of the run is whole, or one does not fit.
        """
        if self._resume and self._load_from is None and not self._has_loaded:
            folders = [each for each in self._checkpoint_folders() if '://' not in each]
            self._load_from = checkpoint_to_resume(
                self.work_dir, folders, self.logger, self._reader.read
            )
            if self._load_from is None:
                self._resume = False
                self.logger.warning(
                    f'There is no checkpoint in {self.work_dir} to resume from: the run starts '
                    'from the beginning.'
                )
        super().load_or_resume()

    def train(self) -> nn.Module:
        """Trains the model with the options of the config's ``speed``.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; the run was saved after its current step.
            SystemExit: The process was told to end by SIGTERM; the same, with the exit code 143.
        """
        self.register_hook(TrainingSpeedHook(self.speed))
        with Interruption() as interruption:
            self.register_hook(InterruptionHook(interruption))
            return super().train()

    @master_only
    def dump_config(self) -> None:
        """Writes the full config into the work dir, unless that would overwrite its own file."""
        file = Path(self.cfg.filename or f'{self.timestamp}.py')
        target = Path(self.work_dir, file.name)
        if file.is_file() and file.resolve().parent == target.parent.resolve():
            # The user's own file must stay; the folder of the run has the full config anyway.
            return
        with Outage('the config', self.work_dir).tolerated():
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
            map_location: Device of the tensors, as in ``torch.load``.
            strict: Whether to require every weight even if this run would not.
            revise_keys: Ignored: published and DistributedDataParallel keys are known.

        Returns:
            The content of the file.

        Raises:
            CheckpointError: The file cannot be read, does not fit the model, or lacks the state
                of a run to resume.
        """
        checkpoint = self._reader.take(filename, map_location)
        if self._is_resuming:
            check_resumable(checkpoint, str(filename))
            if not isinstance(self.train_loop, EpochBasedTrainLoop):
                check_progress(checkpoint, self.train_loop.max_iters, str(filename))
            self._check_training_state(checkpoint, str(filename))
            self._take_up_state(checkpoint, str(filename))
        drop_foreign_state(checkpoint, self._checkpoint_folders())
        strict = strict or self._whole_model_wanted
        if not strict:
            metainfo = getattr(self.train_dataloader.dataset, 'metainfo', {})
            keep_classes_of(checkpoint, metainfo, unwrap(self.model), self.logger)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        load_into(self.model, checkpoint, strict=strict, source=str(filename))
        self._has_loaded = True
        self.logger.info(f'Loaded checkpoint {filename}')
        return checkpoint

    def _check_training_state(self, checkpoint: dict[str, Any], source: str) -> None:
        """Compares the state of optimisers and schedules with those of this run."""
        if 'optimizer' in checkpoint:
            self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
            checkpoint['optimizer'] = check_optimizers(
                checkpoint['optimizer'], self.optim_wrapper, source
            )
        if 'param_schedulers' in checkpoint and self.param_schedulers:
            self.param_schedulers = self.build_param_scheduler(self.param_schedulers)
            check_schedules(checkpoint['param_schedulers'], self.param_schedulers, source)

    def _take_up_state(self, checkpoint: dict[str, Any], source: str) -> None:
        """Lets the loop go on exactly where the run was that wrote a checkpoint."""
        loop: Any = self.train_loop
        saved = checkpoint.pop(STATE, None)
        if not hasattr(loop, 'resumed'):
            return
        loop.resumed = state_of_checkpoint(saved, checkpoint['meta'], loop, source)
        loop.resumed.check(self, source)
        loop.resumed.adapt(self, source)
        for line in loop.resumed.warnings(self):
            self.logger.warning(line)
        if (factor := loop.resumed.rate_factor(self)) != 1:
            scale_rates(checkpoint, factor)
        if loop.resumed.gradients:
            # mmengine does not know that they were saved.
            self.logger.addFilter(lambda record: LOST_GRADIENTS not in record.getMessage())

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Continues the training run that wrote ``filename``.

        Raises:
            CheckpointError: The file cannot be read, or holds the state of another kind of run.
        """
        self._whole_model_wanted = self._is_resuming = True
        try:
            super().resume(filename, *args, **kwargs)
        except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
            raise CheckpointError(
                f'{filename} holds the state of another kind of run, or it is damaged: '
                f'{error or type(error).__name__}. A run must be resumed with the optimizer and '
                'schedule that it was started with.'
            ) from error
        finally:
            self._is_resuming = False
        self.logger.info(f'Resumed from {filename} ({self._reader.verification.value})')

    def rewind(self, filename: str) -> None:
        """Goes back to a checkpoint of the run while it trains, as if it were resumed from it.

        The loop goes on from there by itself; see
        :class:`casvit_mm.engine.StopOnInvalidLossHook`.

        Args:
            filename: The file.

        Raises:
            CheckpointError: The file cannot be read, or holds the state of another kind of run.
        """
        self._resume = True
        self.optim_wrapper.zero_grad()
        self.resume(filename)
        loop = self.train_loop
        self.optim_wrapper.initialize_count_status(self.model, loop.iter, loop.max_iters)

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

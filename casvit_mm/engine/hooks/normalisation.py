"""Reports images that are prepared differently from what the pretrained weights expect."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from casvit.errors import CheckpointError
from casvit_mm.config.normalisation import normalisation_note
from casvit_mm.config.view import ConfigView
from casvit_mm.registration import registered_in


@registered_in(HOOKS)
class NormalisationHook(Hook):
    """Warns at the start of a run if images are not normalised as the pretrained weights expect.

    A config whose backbone was replaced by a CAS-ViT keeps the normalisation of the old one, with
    which the pretrained weights are worth little. A run from random weights may normalise as it
    likes, and so may a checkpoint that was trained with a config, which has its own normalisation.

    :class:`casvit_mm.engine.CASViTRunner` adds this hook by itself. For the runner of mmengine, as
    in the toolboxes' own tools, name it in ``custom_hooks``.
    """

    def __init__(self) -> None:
        self._loaded_published = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Notes whether a file comes without a config, as the published ones do."""
        self._loaded_published = not (checkpoint.get('meta') or {}).get('cfg')

    def before_train(self, runner: Runner) -> None:
        """Warns before the first step of a run that starts from pretrained weights."""
        if self._loaded_published or (not runner._load_from and _starts_pretrained(runner)):
            self._warn(runner)

    def before_test(self, runner: Runner) -> None:
        """Warns before a test of published weights."""
        if self._loaded_published:
            self._warn(runner)

    def _warn(self, runner: Runner) -> None:
        if note := normalisation_note(runner.cfg):
            runner.logger.warning(note)


def _starts_pretrained(runner: Runner) -> bool:
    try:
        return any(ConfigView(runner.cfg).pretrained_files())
    except CheckpointError:
        return False

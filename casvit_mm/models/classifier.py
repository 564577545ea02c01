"""CAS-ViT as an image classifier: one linear head or two, and distillation from a teacher."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn import functional

from casvit_mm.models.checkpoint import CheckpointError, load_into, read_checkpoint
from casvit_mm.models.checkpoint.pretrained import load_pretrained_classifier, split_pretrained
from casvit_mm.models.checkpoint.published_layout import adapt_classifier_keys
from casvit_mm.models.optional import toolbox
from casvit_mm.registration import registered_in

with toolbox('mmpretrain'):
    from mmpretrain.models import ImageClassifier, LinearClsHead
    from mmpretrain.registry import MODELS
    from mmpretrain.structures import DataSample


@registered_in(MODELS)
class CASViTClsHead(LinearClsHead):
    """One linear classifier, or two of one shape side by side.

    ::

        pooled features ─┬─ fc ───────┬─ evaluating: the mean of the logits
                         └─ dist_fc ──┘  training: both

    Trained without a teacher, the two share the labels, and the loss is the mean of theirs. With
    one, ``dist_fc`` learns the class that the teacher names (hard distillation).

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Channels of the pooled features.
        two_heads (bool): Whether there is a ``dist_fc``. Defaults to False, as the published
            training has it; the published parameter counts are of two heads.
        init_cfg (dict, optional): Initialisation. Defaults to a truncated normal of std 0.02, bias
            0.
        **kwargs: As for mmpretrain's ``LinearClsHead``: ``loss``, ``topk``, ``cal_acc`` (of
            ``fc`` alone).

    Source: the published implementation for the two heads; "Training data-efficient image
    transformers & distillation through attention", arXiv 2012.12877, section 4, for their use.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        two_heads: bool = False,
        init_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        init_cfg = init_cfg or dict(type='TruncNormal', layer='Linear', std=0.02, bias=0)
        super().__init__(num_classes, in_channels, init_cfg=init_cfg, **kwargs)
        self.two_heads = two_heads
        if two_heads:
            self.dist_fc = nn.Linear(in_channels, num_classes)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, Tensor]:
        """The logits.

        Shape: ``(B, in_channels)`` as the last of ``feats`` -> ``(B, num_classes)``; two of them
        from two heads in training mode.
        """
        features = self.pre_logits(feats)
        if not self.two_heads:
            return self.fc(features)
        both = self.fc(features), self.dist_fc(features)
        return both if self.training else (both[0] + both[1]) / 2

    def loss(
        self,
        feats: tuple[Tensor, ...],
        data_samples: list[DataSample],
        teacher_labels: Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        """The losses of a batch.

        Args:
            feats: Features, of which the last are used. Shape: ``(B, in_channels)``.
            data_samples: The labels.
            teacher_labels: What ``dist_fc`` is to answer instead. Shape: ``(B,)``, int64.
            **kwargs: For the loss.

        Returns:
            ``loss``; of two heads ``loss_cls`` and ``loss_dist``, each by half.
        """
        features = self.pre_logits(feats)
        losses = self._get_loss(self.fc(features), data_samples, **kwargs)
        if self.two_heads:
            logits = self.dist_fc(features)
            if teacher_labels is None:
                distilled = self._get_loss(logits, data_samples, **kwargs)['loss']
            else:
                distilled = functional.cross_entropy(logits, teacher_labels)
            losses['loss_cls'] = losses.pop('loss') / 2
            losses['loss_dist'] = distilled / 2
        return losses


class _Aside:
    """Holds a module that is no part of the one that uses it: of its weights, modes and copies."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __deepcopy__(self, memo: dict) -> '_Aside':
        return self


@registered_in(MODELS)
class CASViTClassifier(ImageClassifier):
    """mmpretrain's classifier, which reads published files and learns from a teacher on request.

    Args:
        backbone (dict): Config of a :class:`casvit_mm.models.CASViT` with ``out_indices=(3,)``:
            its output norm is the classifier's.
        neck (dict, optional): Config of the pooling. Defaults to None.
        head (dict, optional): Config of a :class:`CASViTClsHead`. Defaults to None.
        teacher (dict, optional): Config of a trained classifier of mmpretrain that knows the same
            classes, with ``init_cfg=dict(type='Pretrained', checkpoint=FILE)``. It is given the
            images as this model's preprocessor leaves them. It is no part of this model: not
            trained, not saved, built for training only. Wants a head of ``two_heads=True``.
            Defaults to None.
        init_cfg (dict | list[dict], optional): Initialisation. With ``dict(type='Pretrained',
            checkpoint=FILE)``, FILE is any file that :mod:`casvit_mm.models.checkpoint` reads;
            ``weights='ema'`` takes its moving average. A head of other classes starts new.
            Defaults to None.
        **kwargs: As for mmpretrain's ``ImageClassifier``.

    Raises:
        ValueError: The teacher has no checkpoint, or the head has no second part to learn from it.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        head: dict | None = None,
        teacher: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, neck, head, **kwargs)
        if teacher is not None:
            if not split_pretrained(teacher.get('init_cfg'))[0]:
                raise ValueError(
                    "the teacher needs init_cfg=dict(type='Pretrained', checkpoint=FILE): "
                    'what it answers from random weights teaches nothing'
                )
            if not getattr(self.head, 'two_heads', False):
                raise ValueError(
                    "a teacher is learned from by the second head: head=dict(type='CASViTClsHead', "
                    'two_heads=True)'
                )
        self._teacher_cfg = teacher
        self._teacher: _Aside | None = None
        self._register_load_state_dict_pre_hook(self._adapt_on_load)

    def init_weights(self) -> None:
        """Initialises the weights; files are read by this package's own reader.

        Raises:
            CheckpointError: A file cannot be read, or does not fit.
        """
        full_init_cfg = self.init_cfg
        pretrained, self.init_cfg = split_pretrained(self.init_cfg)
        super().init_weights()
        self.init_cfg = full_init_cfg
        for cfg in pretrained:
            load_pretrained_classifier(self, cfg['checkpoint'], cfg.get('weights', 'model'))
        if self._teacher_cfg is not None:
            self._teacher = _Aside(self._build_teacher(self._teacher_cfg))

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """The losses of a batch.

        Args:
            inputs: Normalised images. Shape: ``(B, C, H, W)``.
            data_samples: Their labels.

        Returns:
            The losses of the head, by name.
        """
        features = self.extract_feat(inputs)
        if self._teacher_cfg is None:
            return self.head.loss(features, data_samples)
        return self.head.loss(features, data_samples, teacher_labels=self._ask_teacher(inputs))

    def adapt_state_dict(self, state_dict: dict[str, Tensor], prefix: str = '') -> list[str]:
        """Rewrites in place what a file holds for a classifier into what this one expects.

        Args:
            state_dict: Weights, changed in place; keys that do not start with ``prefix`` stay.
            prefix: Where this classifier stands in ``state_dict``.

        Returns:
            Sentences that say what was changed or left out.
        """
        two_heads = getattr(self.head, 'two_heads', False)
        return adapt_classifier_keys(state_dict, prefix, two_heads)

    def _adapt_on_load(self, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        for note in self.adapt_state_dict(state_dict, prefix):
            print_log(note, logger='current')

    def _apply(self, function: Callable[[Tensor], Tensor], *args: Any) -> 'CASViTClassifier':
        if self._teacher is not None:
            self._teacher.module._apply(function, *args)
        return super()._apply(function, *args)

    @torch.no_grad()
    def _ask_teacher(self, inputs: Tensor) -> Tensor:
        if self._teacher is None:
            raise RuntimeError('The teacher is built by init_weights(), which was not called.')
        return self._teacher.module(inputs, mode='tensor').argmax(dim=1)

    def _build_teacher(self, cfg: dict) -> nn.Module:
        """Builds the teacher, reads its weights, and puts it where this model is."""
        cfg = dict(cfg)
        files, others = split_pretrained(cfg.pop('init_cfg'))
        teacher = MODELS.build(dict(cfg, init_cfg=others))
        for file in files:
            path = file['checkpoint']
            weights = read_checkpoint(path, weights=file.get('weights', 'model'))
            load_into(teacher, weights, strict=True, source=f'The teacher {path}')
        known = getattr(teacher.head, 'num_classes', self.head.num_classes)
        if known != self.head.num_classes:
            raise CheckpointError(
                f'The teacher knows {known} classes, the model {self.head.num_classes}: '
                'a teacher names classes by the same numbers.'
            )
        device = next(self.parameters()).device
        return teacher.requires_grad_(False).eval().to(device)

"""CAS-ViT as an image classifier, with one or two linear heads and distillation from a teacher."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn import functional

from casvit_mm.models.checkpoint import CheckpointError, load_into, read_checkpoint
from casvit_mm.models.checkpoint.init_cfg import split_pretrained
from casvit_mm.models.checkpoint.pretrained import load_pretrained_classifier
from casvit_mm.models.checkpoint.published_layout import adapt_classifier_keys
from casvit_mm.models.optional import toolbox
from casvit_mm.registration import registered_in

with toolbox('mmpretrain'):
    from mmpretrain.models import ImageClassifier, LinearClsHead
    from mmpretrain.registry import MODELS
    from mmpretrain.structures import DataSample


@registered_in(MODELS)
class CASViTClsHead(LinearClsHead):
    """One linear classifier, or two of the same shape side by side.

    ::

        pooled features ─┬─ fc ───────┬─ evaluation: the mean of the logits
                         └─ dist_fc ──┘  training: both

    Without a teacher, both heads are trained on the labels and their losses are averaged. With a
    teacher, ``dist_fc`` learns the class that the teacher predicts (hard distillation).

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Channels of the pooled features.
        two_heads (bool): Whether to add a ``dist_fc``. Defaults to False, as in the published
            training; the published parameter counts include both heads.
        init_cfg (dict, optional): Initialisation. Defaults to a truncated normal of std 0.02, bias
            0.
        **kwargs: As for mmpretrain's ``LinearClsHead``: ``loss``, ``topk``, ``cal_acc`` (of
            ``fc`` only).

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
        """Computes the logits.

        Shape: ``(B, in_channels)`` as the last of ``feats`` -> ``(B, num_classes)``; in training
        mode, two heads return one tensor each.
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
        """Computes the losses of a batch.

        Args:
            feats: Features, of which the last are used. Shape: ``(B, in_channels)``.
            data_samples: The labels.
            teacher_labels: Targets of ``dist_fc`` instead of the labels. Shape: ``(B,)``, int64.
            **kwargs: Passed on to the loss.

        Returns:
            ``loss``; with two heads ``loss_cls`` and ``loss_dist``, each halved.
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
    """Hides a module from the one that uses it: from its weights, modes and copies."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __deepcopy__(self, memo: dict) -> '_Aside':
        return self


@registered_in(MODELS)
class CASViTClassifier(ImageClassifier):
    """mmpretrain's classifier that also reads published files and can learn from a teacher.

    Args:
        backbone (dict): Config of a :class:`casvit_mm.models.CASViT` with ``out_indices=(3,)``;
            its output norm is used as the classifier's.
        neck (dict, optional): Config of the pooling. Defaults to None.
        head (dict, optional): Config of a :class:`CASViTClsHead`. Defaults to None.
        teacher (dict, optional): Config of a trained mmpretrain classifier for the same classes,
            with ``init_cfg=dict(type='Pretrained', checkpoint=FILE)``. It gets the images as
            preprocessed for this model. It does not become part of this model: it is not trained,
            not saved, and built for training only. Needs a head with ``two_heads=True``. Defaults
            to None.
        init_cfg (dict | list[dict], optional): Initialisation. With ``dict(type='Pretrained',
            checkpoint=FILE)``, FILE is any file that :mod:`casvit_mm.models.checkpoint` reads;
            ``weights='ema'`` loads its moving average. A head for other classes is newly
            initialised. Defaults to None.
        **kwargs: As for mmpretrain's ``ImageClassifier``.

    Raises:
        ValueError: The teacher has no checkpoint, or the model has no second head to learn from it.
    """

    init_cfg: dict | list[dict] | None

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
                    'nothing can be learned from random weights'
                )
            if not getattr(self.head, 'two_heads', False):
                raise ValueError(
                    'a teacher needs a second head that learns from it: head=dict('
                    "type='CASViTClsHead', two_heads=True)"
                )
        self._teacher_cfg = teacher
        self._teacher: _Aside | None = None
        self._register_load_state_dict_pre_hook(self._adapt_on_load)

    def init_weights(self) -> None:
        """Initialises the weights, and loads pretrained ones with this package's reader.

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
        """Computes the losses of a batch.

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
        """Rewrites the weights of a classifier, in place, to those that this one expects.

        Args:
            state_dict: Weights, changed in place; only keys that start with ``prefix``.
            prefix: Prefix of this classifier's keys.

        Returns:
            Sentences about what was changed or left out.
        """
        two_heads = getattr(self.head, 'two_heads', False)
        return adapt_classifier_keys(state_dict, prefix, two_heads)

    def _adapt_on_load(self, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        # mmengine's loader takes a published ImageNet file as it is, and would load nothing of it.
        published = state_dict.get('model') if not prefix else None
        if isinstance(published, Mapping):
            del state_dict['model']
            state_dict.update(published)
        for note in self.adapt_state_dict(state_dict, prefix):
            print_log(note, logger='current')

    def _apply(self, function: Callable[[Tensor], Tensor], *args: Any) -> 'CASViTClassifier':
        if self._teacher is not None:
            self._teacher.module._apply(function, *args)
        return super()._apply(function, *args)

    @torch.no_grad()
    def _ask_teacher(self, inputs: Tensor) -> Tensor:
        if self._teacher is None:
            raise RuntimeError('The teacher is not built yet: call init_weights() first.')
        return self._teacher.module(inputs, mode='tensor').argmax(dim=1)

    def _build_teacher(self, cfg: dict) -> nn.Module:
        """Builds the teacher, loads its weights, and moves it to the device of this model."""
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
                f'The teacher has {known} classes, the model {self.head.num_classes}: '
                'both must have the same classes.'
            )
        device = next(self.parameters()).device
        return teacher.requires_grad_(False).eval().to(device)

"""Reads the checkpoint that a fine-tuning starts from: its model, task and size."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from casvit.errors import CheckpointError, CliError
from casvit.tables import PEERS
from casvit_mm.config.view import ConfigView, type_name
from casvit_mm.inference.saved_config import (
    SavedConfigError,
    read_saved_config,
    read_saved_recipe,
)
from casvit_mm.models.checkpoint import read_checkpoint
from casvit_mm.models.checkpoint.publish import native_weights
from casvit_mm.models.checkpoint.published_layout import guess_size
from casvit_mm.models.checkpoint.structures import structure_of

# Heads are told by weights that no other head has. Files without a config, such as the authors',
# get the shipped config of that head.
FAMILIES: tuple[tuple[str, str, str], ...] = (
    (r'roi_head\.bbox_head\.0\.', 'instance', 'cascade_mask_rcnn_casvit-{}_fpn_1x_coco'),
    (r'roi_head\.mask_head\.', 'instance', 'mask_rcnn_casvit-{}_fpn_1x_coco'),
    (r'bbox_head\.retina_cls\.', 'detection', 'retinanet_casvit-{}_fpn_1x_coco'),
    (r'bbox_head\.conv_centerness\.', 'detection', 'fcos_casvit-{}_fpn_1x_coco'),
    (r'dn_query_generator\.', 'detection', 'dino_casvit-{}_8xb2-12e_coco'),
    (r'panoptic_head\.query_feat\.', 'instance', 'mask2former_casvit-{}_8xb2-lsj-50e_coco'),
    (r'bbox_head\.rtm_kernel\.', 'instance', 'rtmdet_ins_casvit-{}_8xb32-300e_coco'),
    (r'bbox_head\.rtm_cls\.', 'detection', 'rtmdet_casvit-{}_8xb32-300e_coco'),
    (r'decode_head\.scale_heads\.', 'semantic', 'semantic_fpn_casvit-{}_40k_ade20k-512x512'),
    (r'decode_head\.psp_modules\.', 'semantic', 'upernet_casvit-{}_80k_ade20k-512x512'),
    (
        r'decode_head\.query_feat\.',
        'semantic',
        'mask2former_semantic_casvit-{}_160k_ade20k-512x512',
    ),
    (r'decode_head\.c1_bottleneck\.', 'semantic', 'deeplabv3plus_casvit-{}_80k_ade20k-512x512'),
    (r'decode_head\.fusion_conv\.', 'semantic', 'segformer_casvit-{}_80k_ade20k-512x512'),
    (r'(dist_)?head\.(fc\.)?weight$', 'classification', 'casvit-{}_8xb128_in1k'),
)
HEADS = re.compile(r'[a-z_]*head\.')


@dataclass(frozen=True)
class Start:
    """The checkpoint that a run starts from.

    Attributes:
        source: The file, as it was named.
        weights: Its weights.
        task: The task of its model; None for a backbone alone, or a head that is unknown.
        size: The size of its CAS-ViT; None if its depths and channels are of no known size.
        config: The config of its model, read as data; None if the file has none.
        recipe: ``optim_wrapper`` and ``auto_scale_lr`` of the run that wrote it; may be empty.
        family: Name of the shipped config for its head, with ``{}`` for the size; empty if unknown.
        classes: Names of its classes; empty if unknown.
        refused: Why the config that it has is not used; empty if it is, or if there is none.
        foreign: Why its backbone is no CAS-ViT; empty if it is one.
    """

    source: str
    weights: dict[str, Any]
    task: str | None
    size: str | None
    config: Config | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    family: str = ''
    classes: tuple[str, ...] = ()
    refused: str = ''
    foreign: str = ''

    @property
    def path(self) -> str:
        """The file as configs name it: an absolute path, or what mmengine resolves."""
        return self.source if '://' in self.source else str(Path(self.source).absolute())

    @property
    def has_head(self) -> bool:
        """Whether it holds more than a backbone."""
        return self.task is not None or any(map(HEADS.match, self.weights))

    def is_whole(self, task: str) -> bool:
        """Whether it is loaded as a whole model for a task, not only its backbone."""
        if self.foreign and not any(key.startswith('backbone.') for key in self.weights):
            # A classifier of timm, which names its head as it likes.
            return False
        if self.task == 'classification':
            return task == 'classification'
        return self.has_head or bool(self.foreign)


def is_peer(config: Config | None) -> bool:
    """Whether the backbone of a config is one to compare CAS-ViT with."""
    model = ConfigView(config).model if config is not None else {}
    return type_name(model.get('backbone') or {}) in {peer.backbone for peer in PEERS.values()}


def read_start(checkpoint: str, *, any_backbone: bool = False) -> Start:
    """Reads the checkpoint to start from.

    Args:
        checkpoint: Its file, or any name that mmengine opens.
        any_backbone: Whether it may hold another backbone than a CAS-ViT, although it has no
            config that says so.

    Raises:
        CheckpointError: It cannot be read, or holds no CAS-ViT.
    """
    source = checkpoint if '://' in checkpoint else str(Path(checkpoint).expanduser())
    content = read_checkpoint(source)
    if structure := structure_of(content, source):
        raise CheckpointError(
            f'{source} holds a {structure} model, which cannot be trained: start from the '
            'checkpoint that it was made from.'
        )
    weights, meta = content['state_dict'], content.get('meta') or {}
    config, recipe, refused = _saved(meta, source)
    task, family = next(
        ((task, name) for key, task, name in FAMILIES if any(map(re.compile(key).match, weights))),
        (None, ''),
    )
    if config is not None:
        task = ConfigView(config).task
    classes = (meta.get('dataset_meta') or {}).get('classes') or meta.get('CLASSES') or ()
    size, foreign = _size(weights, source)
    if foreign and not any_backbone and not is_peer(config):
        raise CheckpointError(foreign)
    return Start(
        source,
        weights,
        task,
        size,
        config=config,
        recipe=recipe,
        family=family,
        classes=tuple(classes),
        refused=refused,
        foreign=foreign,
    )


def require_size(start: Start, size: str | None, what: str = '--size') -> None:
    """Checks that a size is that of the checkpoint.

    Args:
        start: The checkpoint.
        size: The size; None if none was asked for.
        what: What asks for it.

    Raises:
        CliError: The sizes differ.
    """
    if size and start.size and size != start.size:
        raise CliError(
            f'Size {size.upper()} ({what}) does not fit the checkpoint {start.source}, which holds '
            f'a CAS-ViT-{start.size.upper()}: '
            + (
                'leave out --size, or name another checkpoint.'
                if what == '--size'
                else f'use a config of size {start.size.upper()}, or name another checkpoint.'
            )
        )


def _saved(meta: dict[str, Any], source: str) -> tuple[Config | None, dict[str, Any], str]:
    """The config of a checkpoint, the recipe of its run, and why the config is refused."""
    text = meta.get('cfg')
    if text is None:
        return None, {}, ''
    try:
        config = read_saved_config(text, source)
    except SavedConfigError as error:
        return None, {}, str(error).split(' Pass the config')[0]
    return config, read_saved_recipe(text, ConfigView(config).scope), ''


def _size(weights: dict[str, Any], source: str) -> tuple[str | None, str]:
    """The size of the CAS-ViT in a checkpoint, and why it holds none."""
    try:
        native = native_weights(weights, source)
    except CheckpointError as error:
        return None, str(error)
    prefix = 'backbone.' if any(key.startswith('backbone.') for key in native) else ''
    return guess_size(native, prefix), ''

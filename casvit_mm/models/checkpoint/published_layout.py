"""The layout of published CAS-ViT files: translates their keys to this package's and back.

Source: the published implementation (class ``RCViT``) and its checkpoint files.
"""

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from casvit.tables import ARCHITECTURES

Renaming = tuple[str, str | Callable[[re.Match[str]], str]]
"""A pattern of keys, and its replacement as for :func:`re.sub`."""

PUBLISHED_KEYS: tuple[Renaming, ...] = (
    (r'^patch_embed\.', lambda m: 'stem.'),
    (r'^network\.([0246])\.', lambda m: f'stages.{int(m[1]) // 2}.'),
    (r'^network\.([135])\.', lambda m: f'patch_embeds.{int(m[1]) // 2}.'),
    (r'^norm([0246])\.', lambda m: f'out_norms.{int(m[1]) // 2}.'),
)
PUBLISHED_BLOCK_KEYS: tuple[Renaming, ...] = (
    (r'\.local_perception\.network\.', '.local_integration.layers.'),
    (r'\.norm1\.', '.mixer_norm.'),
    (r'\.norm2\.', '.mlp_norm.'),
    (r'\.attn\.oper_([qk])\.([01])\.block\.', r'.mixer.\1_gate.\2.saliency.'),
    (r'\.attn\.dwc\.', '.mixer.context.'),
    (r'\.attn\.', '.mixer.'),
)
PUBLISHED_CLASSIFIER_KEYS: tuple[Renaming, ...] = (
    (r'^norm\.', 'backbone.out_norms.3.'),
    (r'^head\.', 'head.fc.'),
    (r'^dist_head\.', 'head.dist_fc.'),
    (r'^(?=patch_embed\.|network\.)', 'backbone.'),
)
NATIVE_KEYS: tuple[Renaming, ...] = (
    (r'^stem\.', lambda m: 'patch_embed.'),
    (r'^stages\.(\d)\.', lambda m: f'network.{2 * int(m[1])}.'),
    (r'^patch_embeds\.(\d)\.', lambda m: f'network.{2 * int(m[1]) + 1}.'),
    (r'^out_norms\.(\d)\.', lambda m: f'norm{2 * int(m[1])}.'),
)
NATIVE_BLOCK_KEYS: tuple[Renaming, ...] = (
    (r'\.local_integration\.layers\.', '.local_perception.network.'),
    (r'\.mixer_norm\.', '.norm1.'),
    (r'\.mlp_norm\.', '.norm2.'),
    (r'\.mixer\.([qk])_gate\.([01])\.saliency\.', r'.attn.oper_\1.\2.block.'),
    (r'\.mixer\.context\.', '.attn.dwc.'),
    (r'\.mixer\.', '.attn.'),
)
STEM_WEIGHT = 'stem.0.weight'


def adapt_backbone_keys(
    state_dict: dict[str, Tensor], prefix: str, in_channels: int, out_indices: Sequence[int]
) -> list[str]:
    """Rewrites the weights of a CAS-ViT, in place, to those that the backbone expects.

    Published keys are translated; published output norms of stages that the backbone does not
    output are left out; an RGB stem is adapted to another number of input channels. Native weights
    stay as they are, so running this twice changes nothing.

    Args:
        state_dict: Weights; only keys that start with ``prefix`` are changed.
        prefix: Prefix of the backbone's keys, such as ``'backbone.'``, or ``''``.
        in_channels: Input channels of the backbone.
        out_indices: Stages that it outputs.

    Returns:
        Sentences about what was adapted or left out, except for translated keys.
    """
    notes = []
    if f'{prefix}patch_embed.0.weight' in state_dict:
        for key in [key for key in state_dict if key.startswith(prefix)]:
            native = prefix + to_native_key(key[len(prefix) :])
            state_dict[native] = state_dict.pop(key)
        unused = sorted(
            {
                match[0]
                for key in state_dict
                if (match := re.match(rf'{re.escape(prefix)}out_norms\.(\d)\.', key))
                and int(match[1]) not in out_indices
            }
        )
        for key in [key for key in state_dict if key.startswith(tuple(unused) or ('\0',))]:
            del state_dict[key]
        if unused:
            published = [f'norm{2 * int(name[-2])}' for name in unused]
            notes.append(
                f'left out {", ".join(published)}: output norms of stages that are not used'
            )
    stem = state_dict.get(f'{prefix}{STEM_WEIGHT}')
    if stem is not None and stem.ndim == 4 and stem.shape[1] == 3 != in_channels:
        state_dict[f'{prefix}{STEM_WEIGHT}'] = adapt_input_channels(stem, in_channels)
        notes.append(f'RGB stem adapted to {in_channels} input channels, keeping its mean response')
    return notes


def to_native_key(key: str) -> str:
    """Translates a key of a published file to its name in :class:`CASViT`."""
    for pattern, replacement in PUBLISHED_KEYS:
        key, count = re.subn(pattern, replacement, key)
        if count:
            break
    if key.startswith('stages.'):
        for pattern, replacement in PUBLISHED_BLOCK_KEYS:
            key = re.sub(pattern, replacement, key)
    return key


def to_published_key(key: str) -> str:
    """The inverse of :func:`to_native_key`."""
    if key.startswith('stages.'):
        for pattern, replacement in NATIVE_BLOCK_KEYS:
            key = re.sub(pattern, replacement, key)
    for pattern, replacement in NATIVE_KEYS:
        key, count = re.subn(pattern, replacement, key)
        if count:
            break
    return key


def adapt_classifier_keys(state_dict: dict[str, Tensor], prefix: str, two_heads: bool) -> list[str]:
    """Rewrites the weights of a classifier, in place, to those that the classifier expects.

    Published keys are translated, except inside the backbone, which adapts its own. If the file
    has two heads and the classifier one, or the other way round, the weights are converted such
    that predictions stay the same: the mean of two linear heads is the linear head of their mean.
    Native weights with the same number of heads stay as they are.

    Args:
        state_dict: Weights; only keys that start with ``prefix`` are changed.
        prefix: Prefix of the classifier's keys, usually ``''``.
        two_heads: Whether the classifier has two heads.

    Returns:
        Sentences about what was adapted, except for translated keys.
    """
    if {f'{prefix}patch_embed.0.weight', f'{prefix}norm.weight'} <= state_dict.keys():
        for key in [key for key in state_dict if key.startswith(prefix)]:
            native = prefix + to_native_classifier_key(key[len(prefix) :])
            state_dict[native] = state_dict.pop(key)
    notes = []
    for name in ('weight', 'bias'):
        first, second = f'{prefix}head.fc.{name}', f'{prefix}head.dist_fc.{name}'
        if first in state_dict and second in state_dict and not two_heads:
            state_dict[first] = (state_dict[first] + state_dict.pop(second)) / 2
            notes = ['merged the two heads into their mean, which predicts the same']
        elif first in state_dict and second not in state_dict and two_heads:
            state_dict[second] = state_dict[first].clone()
            notes = ['copied the single head into both heads, which predicts the same']
    return notes


def to_native_classifier_key(key: str) -> str:
    """Translates a key of a published ImageNet file; backbone keys get the backbone's prefix."""
    for pattern, replacement in PUBLISHED_CLASSIFIER_KEYS:
        key, count = re.subn(pattern, replacement, key)
        if count:
            break
    return key


def to_published_classifier_key(key: str) -> str:
    """Translates a key of this package's classifier to that of a published ImageNet file."""
    key = key.replace('backbone.out_norms.3.', 'norm.', 1)
    key = re.sub(r'^head\.fc\.', 'head.', key)
    key = re.sub(r'^head\.dist_fc\.', 'dist_head.', key)
    return to_published_key(key.removeprefix('backbone.'))


def adapt_input_channels(weight: Tensor, in_channels: int) -> Tensor:
    """Adapts an RGB convolution to ``in_channels`` inputs, keeping its response to grey.

    The RGB filters are repeated over the channels and scaled by ``3 / in_channels``; what their
    sum over channels then lacks is spread evenly, so an input whose channels are all equal gives
    the same output as before.

    Shape: ``(O, 3, kh, kw) -> (O, in_channels, kh, kw)``.
    """
    repeated = weight[:, torch.arange(in_channels) % 3] * (3 / in_channels)
    lacking = weight.sum(1, keepdim=True) - repeated.sum(1, keepdim=True)
    return repeated + lacking / in_channels


def guess_size(weights: dict[str, Tensor], prefix: str = '') -> str | None:
    """Name of the CAS-ViT size that the native weights under ``prefix`` have; None if unknown."""
    depths = []
    for stage in range(4):
        pattern = re.compile(rf'{re.escape(prefix)}stages\.{stage}\.(\d+)\.')
        blocks = [int(match[1]) for key in weights if (match := pattern.match(key))]
        if not blocks:
            break
        depths.append(max(blocks) + 1)
    channels = [
        weights[key].shape[0]
        for stage in range(len(depths))
        if (key := f'{prefix}stages.{stage}.0.mixer_norm.weight') in weights
    ]
    candidates = [
        name
        for name, size in ARCHITECTURES.items()
        if depths
        and size.depths[: len(depths)] == tuple(depths)
        and size.channels[: len(channels)] == tuple(channels)
    ]
    return candidates[0] if len(candidates) == 1 else None

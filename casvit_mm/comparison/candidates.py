"""What is compared: CAS-ViT with each registered token mixer, its sizes, and other backbones."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.registry import MODELS
from torch import nn

from casvit.errors import UserError
from casvit.tables import PEERS, UNPUBLISHED, PublishedAccuracy
from casvit_mm.benchmark.peers import peer_backbone, published_casvit
from casvit_mm.models import TOKEN_MIXERS
from casvit_mm.models.mixers.registry import mixer_of_stages

DEFAULT_MIXER: str = mixer_of_stages(None, 1)[0]['type']
"""The mixer that CAS-ViT has if its config names none."""


SIZE_PREFIX = 'casvit-'
"""Before a size of CAS-ViT, in the key of a candidate."""


class ComparisonError(UserError, ValueError):
    """A comparison cannot be made; the message says why."""


@dataclass(frozen=True)
class Candidate:
    """A backbone to compare.

    Attributes:
        key: Its name in a record: a registered token mixer, ``casvit-`` and a size, or a key of
            :data:`casvit.tables.PEERS`.
        label: Its name for people.
        kind: ``'mixer'``; ``'size'``, a CAS-ViT of another size than those with the mixers; or
            ``'peer'``.
        model: Its size, or its key of :data:`casvit.tables.PEERS`.
        mixer: The token mixer that takes the place of that of CAS-ViT; None if none does.
        backbone: Its config, without weights.
        published: Its accuracy as others publish it.
    """

    key: str
    label: str
    kind: str
    model: str
    mixer: str | None
    backbone: dict[str, Any]
    published: PublishedAccuracy

    def build(self) -> nn.Module:
        """Builds the backbone with random weights, in eval mode."""
        return MODELS.build(self.backbone).eval()


def mixer_candidates(size: str, names: Sequence[str] | None = None) -> list[Candidate]:
    """CAS-ViT with token mixers.

    Args:
        size: Size of the CAS-ViT.
        names: Registered mixers; None for all, that of CAS-ViT first.

    Raises:
        ComparisonError: A mixer is not registered.
    """
    known = sorted(TOKEN_MIXERS.module_dict, key=lambda name: name != DEFAULT_MIXER)
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ComparisonError(
            f'There is no token mixer {", ".join(unknown)}; there are {", ".join(known)}. '
            'Add --custom-imports MODULE if a module of yours registers it.'
        )
    return [_with_mixer(size, name) for name in (known if names is None else names)]


def size_candidates(sizes: Sequence[str]) -> list[Candidate]:
    """CAS-ViT in other sizes, with its own token mixer.

    Args:
        sizes: Keys of :data:`casvit.tables.ARCHITECTURES`.
    """
    return [
        Candidate(
            key=SIZE_PREFIX + size,
            label=f'CAS-ViT {size.upper()}',
            kind='size',
            model=size,
            mixer=None,
            backbone=dict(type='CASViT', arch=size, norm_eval=False),
            published=published_casvit(size),
        )
        for size in sizes
    ]


def peer_candidates(names: Sequence[str] | None = None) -> list[Candidate]:
    """Other backbones.

    Args:
        names: Keys of :data:`casvit.tables.PEERS`; None for all.

    Raises:
        ComparisonError: There is no such peer.
    """
    unknown = [name for name in names or () if name not in PEERS]
    if unknown:
        raise ComparisonError(
            f'There is no peer {", ".join(unknown)}; there are {", ".join(PEERS)}.'
        )
    return [
        Candidate(
            key=name,
            label=PEERS[name].name,
            kind='peer',
            model=name,
            mixer=None,
            backbone=dict(**peer_backbone(name), norm_eval=False),
            published=PEERS[name].published,
        )
        for name in (PEERS if names is None else names)
    ]


def _with_mixer(size: str, name: str) -> Candidate:
    ours = name == DEFAULT_MIXER
    return Candidate(
        key=name,
        label=f'CAS-ViT {size.upper()}' if ours else words_of(name),
        kind='mixer',
        model=size,
        mixer=name,
        backbone=dict(type='CASViT', arch=size, mixer=dict(type=name), norm_eval=False),
        # Nobody trained the other mixers in this backbone.
        published=published_casvit(size) if ours else UNPUBLISHED,
    )


def words_of(mixer: str) -> str:
    """The name of a mixer's class for people: 'Self attention' for ``SelfAttentionMixer``."""
    words = re.findall(r'[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+', mixer.removesuffix('Mixer'))
    kept = [word if word.isupper() else word.lower() for word in words]
    name = ' '.join(kept) or mixer
    return name[0].upper() + name[1:]

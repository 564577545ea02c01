"""Benchmark cases: a model, in a variant, on images of one size."""

from dataclasses import dataclass
from pathlib import Path

from casvit.tables import ARCHITECTURES, PEERS, VARIANTS
from casvit_mm.speed.dense_parts import PRECISIONS

PEER_VARIANTS = {'inference': ('reference', 'eager', 'static'), 'training': ('eager',)}
"""For a peer, ``reference`` is the model as timm builds it, in NCHW; ``eager`` is in channels last
and, for inference, has its branches merged if its authors merge them; ``static`` is the latter
with ``torch.compile`` for this size only, with weights as constants, so that norms are folded."""

REFERENCE = 'reference'
EXPORTED = 'exported'
"""A variant of backbones and peers for inference: a fused CAS-ViT, or a peer with its branches
merged, as an ONNX file of this image and batch size, run by ONNX Runtime."""

PARTS = ('model', 'mixer')
"""What is measured of a model: all of it, or the token mixer of the first stage of a CAS-ViT, on
features of the size that the stage has for this image."""


@dataclass(frozen=True)
class Case:
    """A single case to measure.

    Attributes:
        model: Size of a CAS-ViT backbone ('xs', 's', 'm', 't' or 'l'), a key of
            :data:`casvit.tables.PEERS`, or the config file of a complete model.
        variant: One of the variants that the model has in this mode.
        precision: A key of :data:`casvit_mm.speed.dense_parts.PRECISIONS`.
        mode: ``'inference'``, from a normalised image to features, or to predictions of a complete
            model; ``'training'``, forward and backward with frozen norm statistics, as in the
            detection recipes.
        image_size: Side of the square image, in pixels.
        batch_size: Images per batch.
        device: The device to measure on.
        mixer: The registered token mixer of a CAS-ViT backbone; None for that of CAS-ViT.
        part: One of :data:`PARTS`; a mixer is measured in the variant ``'eager'`` of inference.
        imports: Modules to import first, such as one that registers the mixer.

    Raises:
        ValueError: A value is unknown, or there is no such variant in this mode.
    """

    model: str
    variant: str
    precision: str = 'fp32'
    mode: str = 'inference'
    image_size: int = 512
    batch_size: int = 1
    device: str = 'cpu'
    mixer: str | None = None
    part: str = 'model'
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in VARIANTS:
            raise ValueError(f'mode={self.mode!r} is unknown; known: {", ".join(VARIANTS)}')
        if self.kind == 'config' and not Path(self.model).is_file():
            names = ', '.join([*ARCHITECTURES, *PEERS])
            raise ValueError(f'model={self.model!r} is neither a config file nor one of {names}')
        known = {'variant': self._variants(), 'precision': PRECISIONS, 'part': self._parts()}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(
                    f'{name}={getattr(self, name)!r} is unknown for {self.mode} of {self.label}; '
                    f'known: {", ".join(values) or "none"}'
                )

    def __str__(self) -> str:
        shape = f'{self.batch_size} x {self.image_size} px'
        device = '' if self.device == 'cpu' else f', on {self.device}'
        return f'{self.label} ({self.mode}, {self.name}, {shape}{device})'

    def _variants(self) -> tuple[str, ...]:
        known = variants(self.model, self.mode)
        if self.mode == 'inference' and self.kind != 'config':
            known += (EXPORTED,)
        # The reference computes the mixer of CAS-ViT, whatever the backbone has.
        return known if self.mixer is None else tuple(each for each in known if each != REFERENCE)

    def _parts(self) -> tuple[str, ...]:
        eager = (self.mode, self.variant) == ('inference', 'eager')
        return PARTS if eager and self.kind == 'backbone' else PARTS[:1]

    @property
    def kind(self) -> str:
        """``'backbone'``, ``'peer'`` or ``'config'``."""
        if self.model in ARCHITECTURES:
            return 'backbone'
        return 'peer' if self.model in PEERS else 'config'

    @property
    def label(self) -> str:
        """Display name of the model."""
        if self.kind == 'peer':
            return PEERS[self.model].name
        if self.mixer is not None:
            return f'CAS-ViT {self.model.upper()} with {self.mixer}'
        return f'CAS-ViT {self.model.upper()}' if self.kind == 'backbone' else Path(self.model).stem

    @property
    def name(self) -> str:
        """Variant and precision."""
        return self.variant if self.precision == 'fp32' else f'{self.variant} {self.precision}'


def variants(model: str, mode: str) -> tuple[str, ...]:
    """The variants of a model in a mode."""
    return (PEER_VARIANTS if model in PEERS else VARIANTS)[mode]

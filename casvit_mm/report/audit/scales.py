"""The object sizes that the detector of a config looks for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from casvit_mm.config.view import nested
from casvit_mm.report.audit.plots import DetectorScales


def model_scales(cfg: Config) -> DetectorScales | None:
    """Reads the strides, anchors and image scale of a detector.

    Args:
        cfg: Its config.

    Returns:
        The sizes; None for a model without them.
    """
    scale = next(
        (
            tuple(step['scale'])
            for step in cfg.get('train_pipeline') or ()
            if step.get('type') in ('Resize', 'RandomResize') and 'scale' in step
        ),
        None,
    )
    generator = next(filter(_is_generator, nested(cfg.get('model'))), None)
    if scale is None or generator is None:
        return None
    strides = tuple(int(s[0] if isinstance(s, (list, tuple)) else s) for s in generator['strides'])
    factors: list[float] = list(generator.get('scales') or ())
    if base := generator.get('octave_base_scale'):
        steps = generator.get('scales_per_octave', 1)
        factors = [base * 2 ** (step / steps) for step in range(steps)]
    anchors = tuple(sorted(stride * factor for stride in strides for factor in factors))
    return DetectorScales(Path(cfg.filename).stem, scale, strides, anchors)


def _is_generator(part: Mapping[str, Any]) -> bool:
    return 'strides' in part and 'Generator' in str(part.get('type', 'Generator'))

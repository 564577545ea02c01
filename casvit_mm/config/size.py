"""Changes the size of the backbone of a config, with everything that depends on it."""

import re
from collections.abc import MutableMapping
from pathlib import Path

from mmengine.config import Config

from casvit.errors import CliError
from casvit.tables import ARCHITECTURES
from casvit_mm.config.channels import SIZE_IN_NAME, options_that_fit
from casvit_mm.config.view import ConfigView, type_name


def set_size(cfg: Config, size: str) -> None:
    """Gives a config a backbone of another size.

    The channels of neck and heads, the drop path rate of the recipe, and the names of pretrained
    weights that name a size change with it. A config that starts from random weights still does,
    and a drop path rate that is not the recipe's stays.

    Args:
        cfg: The config, changed in place.
        size: A key of :data:`casvit.tables.ARCHITECTURES`.

    Raises:
        CliError: The backbone is not a CAS-ViT.
    """
    backbone = (cfg.get('model') or {}).get('backbone')
    if not isinstance(backbone, MutableMapping) or type_name(backbone) != 'CASViT':
        raise CliError(
            f'--size {size}: the backbone of {cfg.filename} is not a CAS-ViT, so it has no such '
            'size.'
        )
    old = ARCHITECTURES.get(str(backbone.get('arch', 'm')))
    # The rates of the table are those of detectors and segmentors.
    dense = ConfigView(cfg).task != 'classification'
    if dense and old is not None and backbone.get('drop_path_rate') == old.drop_path_rate:
        backbone['drop_path_rate'] = ARCHITECTURES[size].drop_path_rate
    backbone['arch'] = size
    cfg.merge_from_dict(options_that_fit(cfg))


def name_with_size(name: str, size: str) -> str:
    """The name of a config, with the size that it is used with: 'mask_rcnn_casvit-s'.

    Args:
        name: A name without folder and suffix.
        size: The size.
    """
    if SIZE_IN_NAME.search(name):
        return SIZE_IN_NAME.sub(rf'\g<1>{size}', name)
    changed = re.sub(r'(cas-?vit)(?![-_a-z0-9])', rf'\g<1>-{size}', name, flags=re.IGNORECASE)
    return changed if changed != name else f'{Path(name).name}_{size}'

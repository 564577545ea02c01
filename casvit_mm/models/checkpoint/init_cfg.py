"""The pretrained files that an ``init_cfg`` names; reading a config needs no torch for it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from casvit.errors import CheckpointError


def split_pretrained(
    init_cfg: dict | Sequence[dict] | None,
) -> tuple[list[dict], list[dict] | None]:
    """Splits an ``init_cfg`` into configs of type Pretrained, and the others for mmengine.

    Args:
        init_cfg: A dict, a list of dicts, or None.

    Returns:
        The configs that name a file; the others, or None if there are none.

    Raises:
        CheckpointError: ``init_cfg`` is none of these, or a config of type Pretrained names no
            file.
    """
    configs = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg or []
    if not isinstance(configs, (list, tuple)) or not all(isinstance(c, Mapping) for c in configs):
        raise CheckpointError(f'init_cfg={init_cfg!r}: expected a dict, or a list of dicts.')
    pretrained = [cfg for cfg in configs if _is_pretrained(cfg)]
    for cfg in pretrained:
        if not isinstance(cfg.get('checkpoint'), (str, Path)) or not str(cfg['checkpoint']):
            raise CheckpointError(
                f"init_cfg={dict(cfg)!r} names no file: expected dict(type='Pretrained', "
                'checkpoint=FILE).'
            )
        if cfg.get('weights', 'model') not in ('model', 'ema'):
            raise CheckpointError(f"init_cfg={dict(cfg)!r}: weights may be 'model' or 'ema'.")
    return pretrained, [cfg for cfg in configs if not _is_pretrained(cfg)] or None


def _is_pretrained(cfg: Mapping) -> bool:
    """Whether an initialisation config is of type Pretrained, given by name or as a class."""
    kind = cfg.get('type')
    name = getattr(kind, '__name__', str(kind))
    return name.rsplit('.', 1)[-1] in ('Pretrained', 'PretrainedInit')


def pretrained_files(
    init_cfg: dict | Sequence[dict] | None, option: str
) -> Iterator[tuple[str, str]]:
    """Lists the files that an ``init_cfg`` names.

    Args:
        init_cfg: A dict, a list of dicts, or None.
        option: Its path in the config, such as ``'model.backbone.init_cfg'``.

    Yields:
        Each file, and the config option to set to use another one.

    Raises:
        CheckpointError: As for :func:`split_pretrained`; the message names the option.
    """
    try:
        split_pretrained(init_cfg)
    except CheckpointError as error:
        raise CheckpointError(f'In {option.removesuffix(".init_cfg")}: {error}') from error
    if isinstance(init_cfg, Mapping):
        places = [(option, init_cfg)]
    else:
        places = [(f'{option}.{index}', cfg) for index, cfg in enumerate(init_cfg or ())]
    for place, cfg in places:
        if _is_pretrained(cfg):
            yield str(cfg['checkpoint']), f'{place}.checkpoint'

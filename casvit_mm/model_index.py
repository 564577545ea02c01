"""Makes the published classifiers known to mmpretrain's list of models."""

from pathlib import Path

from casvit.configs import shipped_configs
from casvit.tables import PUBLISHED_WEIGHTS
from casvit_mm.models.optional import require_mmpretrain, toolbox


def register_models() -> None:
    """Adds the published classifiers to ``mmpretrain.list_models()`` and ``get_model()``.

    Their names are those of their configs. ``pretrained=True`` loads ``casvit://NAME``, a file
    that ``casvit weights get NAME`` downloads before. Detectors and segmentors are in the same
    index, ``model-index.yml``, but mmpretrain builds only models of its own kind. A second call
    changes nothing.

    Raises:
        MissingPackageError: mmpretrain is not installed.

    Example:
        >>> import casvit_mm, mmpretrain
        >>> casvit_mm.register_models()
        >>> mmpretrain.list_models('*casvit*')
        >>> model = mmpretrain.get_model('casvit-m_8xb128_in1k', pretrained=True)
    """
    require_mmpretrain()
    with toolbox('mmpretrain'):
        from mmpretrain.apis import ModelHub
    names = {each.config for each in PUBLISHED_WEIGHTS.values() if each.task == 'classification'}
    if all(map(ModelHub.has, names)):
        return
    configs: Path = shipped_configs()
    ModelHub.register_model_index(
        configs / 'classification' / 'metafile.yml', config_prefix=configs.parent
    )

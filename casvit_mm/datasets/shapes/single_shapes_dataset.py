"""The generated dataset with one shape per image for mmpretrain."""

from typing import Any

from casvit_mm.datasets.shapes.single import CLASSES, default_root, prepare
from casvit_mm.models.optional import toolbox
from casvit_mm.registration import registered_in

with toolbox('mmpretrain'):
    from mmpretrain.datasets import CustomDataset
    from mmpretrain.registry import DATASETS


@registered_in(DATASETS)
class SingleShapesDataset(CustomDataset):
    """Images of one shape each for classification, generated on first use.

    Args:
        data_root: Root of the dataset. Defaults to None, the user's cache folder; only there a
            missing dataset is generated.
        **kwargs: As for mmpretrain's ``CustomDataset``.

    Raises:
        DatasetError: ``data_root`` does not exist, or the default root cannot be written.
    """

    METAINFO = dict(classes=CLASSES)  # noqa: RUF012

    def __init__(self, data_root: str | None = None, **kwargs: Any) -> None:
        root = data_root or str(default_root())
        prepare(root)
        super().__init__(data_root=root, **kwargs)

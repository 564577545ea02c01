"""The generated dataset of one shape an image as mmpretrain reads it."""

from typing import Any

from casvit_mm.datasets.shapes.single import CLASSES, default_root, prepare
from casvit_mm.models.optional import toolbox
from casvit_mm.registration import registered_in

with toolbox('mmpretrain'):
    from mmpretrain.datasets import CustomDataset
    from mmpretrain.registry import DATASETS


@registered_in(DATASETS)
class SingleShapesDataset(CustomDataset):
    """One generated shape an image, which come into being where they are first asked for.

    Args:
        data_root: Root of the set. None, the default, is the user's cache folder; there, and only
            there, a set that is missing is generated.
        **kwargs: As for mmpretrain's ``CustomDataset``.

    Raises:
        DatasetError: Another root does not exist, or the default one cannot be written.
    """

    METAINFO = dict(classes=CLASSES)  # noqa: RUF012

    def __init__(self, data_root: str | None = None, **kwargs: Any) -> None:
        root = data_root or str(default_root())
        prepare(root)
        super().__init__(data_root=root, **kwargs)

"""The generated dataset as mmdet reads it."""

from typing import Any

from casvit_mm.datasets.shapes.objects import CLASSES, PALETTE, default_root, prepare
from casvit_mm.models.optional import toolbox
from casvit_mm.registration import registered_in

with toolbox('mmdet'):
    from mmdet.datasets import CocoDataset
    from mmdet.registry import DATASETS


@registered_in(DATASETS)
class ShapesDataset(CocoDataset):
    """The generated shapes, which come into being where they are first asked for.

    Args:
        data_root: Root of the set. None, the default, is the user's cache folder; there, and only
            there, a set that is missing is generated.
        *args, **kwargs: As for mmdet's ``CocoDataset``.

    Raises:
        DatasetError: Another root does not exist, or the default one cannot be written.
    """

    METAINFO = dict(classes=CLASSES, palette=list(PALETTE))  # noqa: RUF012

    def __init__(self, *args: Any, data_root: str | None = None, **kwargs: Any) -> None:
        root = data_root or str(default_root())
        prepare(root)
        super().__init__(*args, data_root=root, **kwargs)

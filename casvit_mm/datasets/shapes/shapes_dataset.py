"""The generated shapes dataset for mmdet."""

from typing import Any

from casvit_mm.datasets.shapes.objects import CLASSES, PALETTE, default_root, prepare
from casvit_mm.models.optional import toolbox
from casvit_mm.registration import registered_in

with toolbox('mmdet'):
    from mmdet.datasets import CocoDataset
    from mmdet.registry import DATASETS


@registered_in(DATASETS)
class ShapesDataset(CocoDataset):
    """The generated shapes with boxes and masks, generated on first use.

    Args:
        data_root: Root of the dataset. Defaults to None, the user's cache folder; only there a
            missing dataset is generated.
        *args, **kwargs: As for mmdet's ``CocoDataset``.

    Raises:
        DatasetError: ``data_root`` does not exist, or the default root cannot be written.
    """

    METAINFO = dict(classes=CLASSES, palette=list(PALETTE))  # noqa: RUF012

    def __init__(self, *args: Any, data_root: str | None = None, **kwargs: Any) -> None:
        root = data_root or str(default_root())
        prepare(root)
        super().__init__(*args, data_root=root, **kwargs)

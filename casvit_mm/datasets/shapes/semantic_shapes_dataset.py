"""The generated shapes dataset with semantic masks for mmseg."""

from typing import Any

from casvit_mm.datasets.shapes.objects import CLASSES, PALETTE, default_root, prepare
from casvit_mm.models.optional import toolbox
from casvit_mm.registration import registered_in

with toolbox('mmseg'):
    from mmseg.datasets import BaseSegDataset
    from mmseg.registry import DATASETS


@registered_in(DATASETS)
class SemanticShapesDataset(BaseSegDataset):
    """The generated shapes with semantic masks, generated on first use.

    Class 0 is the background.

    Args:
        data_root: Root of the dataset. Defaults to None, the user's cache folder; only there a
            missing dataset is generated.
        *args, **kwargs: As for mmseg's ``BaseSegDataset``.

    Raises:
        DatasetError: ``data_root`` does not exist, or the default root cannot be written.
    """

    METAINFO = dict(  # noqa: RUF012
        classes=('background', *CLASSES), palette=[[0, 0, 0], *map(list, PALETTE)]
    )

    def __init__(self, *args: Any, data_root: str | None = None, **kwargs: Any) -> None:
        root = data_root or str(default_root())
        prepare(root)
        super().__init__(*args, data_root=root, **kwargs)

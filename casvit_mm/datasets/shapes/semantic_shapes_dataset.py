"""The semantic masks of the generated dataset as mmseg reads them."""

from typing import Any

from casvit_mm.datasets.shapes.objects import CLASSES, PALETTE, default_root, prepare
from casvit_mm.models.optional import toolbox
from casvit_mm.registration import registered_in

with toolbox('mmseg'):
    from mmseg.datasets import BaseSegDataset
    from mmseg.registry import DATASETS


@registered_in(DATASETS)
class SemanticShapesDataset(BaseSegDataset):
    """The generated shapes with semantic masks, made when they are first asked for.

    Class 0 is the background.

    Args:
        data_root: Root of the set. None, the default, is the user's cache folder; there, and only
            there, a set that is missing is generated.
        *args, **kwargs: As for mmseg's ``BaseSegDataset``.

    Raises:
        DatasetError: Another root does not exist, or the default one cannot be written.
    """

    METAINFO = dict(  # noqa: RUF012
        classes=('background', *CLASSES), palette=[[0, 0, 0], *map(list, PALETTE)]
    )

    def __init__(self, *args: Any, data_root: str | None = None, **kwargs: Any) -> None:
        root = data_root or str(default_root())
        prepare(root)
        super().__init__(*args, data_root=root, **kwargs)

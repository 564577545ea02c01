"""Semantic segmentation from a list of images and semantic masks in any location."""

import json
from typing import Any

from mmengine.fileio import get_text

from casvit.errors import DatasetError
from casvit.sentences import reason_of
from casvit_mm.datasets.roots import join
from casvit_mm.models.optional import toolbox
from casvit_mm.registration import registered_in

with toolbox('mmseg'):
    from mmseg.datasets import BaseSegDataset
    from mmseg.registry import DATASETS


@registered_in(DATASETS)
class PairsDataset(BaseSegDataset):
    """A list of image-mask pairs for semantic segmentation, in any folder layout.

    ``ann_file`` is JSON: ``[{"img_path": …, "seg_map_path": …}, …]``, with paths relative to
    ``data_root``. ``data_prefix`` is not used. Configs set ``metainfo=dict(classes=…, palette=…)``.
    """

    def load_data_list(self) -> list[dict[str, Any]]:
        """Reads the list.

        Raises:
            DatasetError: It cannot be read, or is not a list of pairs.
        """
        try:
            pairs = json.loads(get_text(self.ann_file, backend_args=self.backend_args))
            return [
                dict(
                    img_path=self._path(pair['img_path']),
                    seg_map_path=self._path(pair['seg_map_path']),
                    label_map=self.label_map,
                    reduce_zero_label=self.reduce_zero_label,
                    seg_fields=[],
                )
                for pair in pairs
            ]
        except OSError as error:
            reason = f'cannot be read: {reason_of(error)}.'
        except ValueError as error:
            reason = f'is not valid JSON: {error}.'
        except (KeyError, TypeError):
            reason = 'has another content than expected.'
        raise DatasetError(
            f'The list of pairs {self.ann_file} {reason} Expected is a JSON file of '
            '[{"img_path": …, "seg_map_path": …}, …].'
        )

    def _path(self, path: str) -> str:
        return join(self.data_root or '', path)

"""Generated datasets that several tests share."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from casvit_mm.datasets.shapes import objects as shapes


@pytest.fixture(scope='session')
def default_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset with default options."""
    root = tmp_path_factory.mktemp('default') / 'shapes'
    shapes.generate(root, progress=False)
    return root


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """A few images that tests may damage."""
    root = tmp_path / 'small'
    shapes.generate(root, num_train=6, num_val=3, progress=False)
    return root


@pytest.fixture
def run_without_mmdet() -> Callable[..., None]:
    """Runs code with arguments in a separate Python process without mmdet."""
    prelude = """
        import sys
        sys.modules['mmdet'] = None
    """

    def run(code: str, *arguments: Path | str) -> None:
        root = Path(shapes.__file__).parents[3]
        program = textwrap.dedent(prelude) + textwrap.dedent(code)
        subprocess.run(
            [sys.executable, '-c', program, *map(str, arguments)],
            check=True,
            env={**os.environ, 'PYTHONPATH': str(root), 'PYTHONHASHSEED': '5'},
        )

    return run


@pytest.fixture
def config_of() -> Callable[..., Config]:
    """Makes a detection config for a root with the layout of the generated dataset."""

    def make(root: Path | str, **dataset: Any) -> Config:
        def loader(split: str) -> dict[str, Any]:
            return dict(
                dataset={
                    **dict(
                        type='CocoDataset',
                        data_root=str(root),
                        ann_file=f'annotations/instances_{split}.json',
                        data_prefix=dict(img=f'{split}/'),
                        metainfo=dict(classes=shapes.CLASSES),
                        pipeline=[dict(type='LoadAnnotations', with_bbox=True, with_mask=True)],
                    ),
                    **dataset,
                }
            )

        number = len(shapes.CLASSES)
        return Config(
            dict(
                train_dataloader=loader('train'),
                val_dataloader=loader('val'),
                test_dataloader=loader('val'),
                model=dict(
                    type='MaskRCNN',
                    rpn_head=dict(num_classes=1),
                    roi_head=dict(
                        bbox_head=dict(num_classes=number), mask_head=dict(num_classes=number)
                    ),
                ),
            )
        )

    return make

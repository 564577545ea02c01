"""Users' configs in their own folders, which inherit from shipped configs by path."""

import subprocess
import sys

import pytest
from documented import python_blocks
from mmengine import Config
from mmengine.registry import init_default_scope

from casvit.cli.main import run_tool

OURS = ['casvit_mm', 'casvit_mm.safe_loading']


@pytest.fixture
def write(tmp_path, configs):
    def child(text, base='mask_rcnn_casvit.py'):
        path = tmp_path / 'mine.py'
        path.write_text(f'_base_ = {str(configs / "detection" / base)!r}\n{text}\n')
        return path

    return child


def test_a_child_without_custom_imports_keeps_casvit(write):
    assert Config.fromfile(write('')).custom_imports.imports == OURS


def test_a_child_extends_custom_imports_by_adding_to_those_of_its_base(write):
    cfg = Config.fromfile(
        write("custom_imports = dict(imports=_base_.custom_imports.imports + ['my_package'])"),
        import_custom_modules=False,
    )
    assert cfg.custom_imports.imports == [*OURS, 'my_package']


def test_a_child_changes_classes_in_few_lines(write):
    cfg = Config.fromfile(
        write(
            'classes = ("cat", "dog")\n'
            'model = dict(\n'
            '    roi_head=dict(bbox_head=dict(num_classes=2), mask_head=dict(num_classes=2)))\n'
            'train_dataloader = dict(dataset=dict(metainfo=dict(classes=classes)))\n'
        )
    )
    assert cfg.model.roi_head.bbox_head.num_classes == 2
    assert cfg.model.roi_head.bbox_head.fc_out_channels == 1024
    assert cfg.train_dataloader.dataset.metainfo.classes == ('cat', 'dog')
    assert cfg.model.backbone.arch == 'm'


def test_loading_a_config_is_enough_to_register_the_backbone(write):
    code = (
        'from mmengine import Config; from mmengine.registry import MODELS; '
        f'cfg = Config.fromfile({str(write(""))!r}); '
        'print(type(MODELS.build(cfg.model.backbone)).__name__)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == 'CASViT', done.stderr


def documented_example(configs, base, folder, monkeypatch):
    """The config that docs/configs.md shows for a base, after the command in its comment."""
    blocks = python_blocks('docs/configs.md')
    (example,) = [block for block in blocks if f'# casvit print_config {base} ' in block]
    command = example.splitlines()[0].split('# casvit ')[1].split()
    monkeypatch.chdir(folder)
    assert run_tool(command[0], command[1:]) == 0
    (folder / 'mine.py').write_text(example)
    return Config.fromfile(folder / 'mine.py')


def test_the_detection_example_of_the_docs_is_a_config_that_builds(configs, tmp_path, monkeypatch):
    registry = pytest.importorskip('mmdet.registry')
    cfg = documented_example(configs, 'mask_rcnn_casvit', tmp_path, monkeypatch)
    init_default_scope('mmdet')
    detector = registry.MODELS.build(cfg.model)
    assert detector.roi_head.mask_head.num_classes == 2
    assert detector.backbone.arch == 's'
    assert detector.neck.in_channels == list(detector.backbone.out_channels)
    assert cfg.test_evaluator.ann_file == '/data/animals/val.json'
    assert cfg.val_dataloader.dataset.metainfo.classes == ('cat', 'dog')


def test_the_segmentation_example_of_the_docs_is_a_config_that_builds(
    configs, tmp_path, monkeypatch
):
    registry = pytest.importorskip('mmseg.registry')
    cfg = documented_example(configs, 'semantic_fpn_casvit', tmp_path, monkeypatch)
    init_default_scope('mmseg')
    segmentor = registry.MODELS.build(cfg.model)
    assert segmentor.decode_head.num_classes == 3
    assert segmentor.data_preprocessor.size == (384, 384)
    assert segmentor.neck.in_channels == list(segmentor.backbone.out_channels)
    train, val = cfg.train_dataloader.dataset, cfg.val_dataloader.dataset
    assert [step.type for step in train.pipeline][3] == 'RandomCrop'
    assert train.pipeline[3].crop_size == (384, 384)
    assert not any('reduce_zero_label' in step for step in (*train.pipeline, *val.pipeline))
    assert train.data_prefix.img_path == 'images/train'
    assert val.data_prefix.seg_map_path == 'labels/val'
    assert cfg.param_scheduler[0].end == cfg.train_cfg.max_iters == 8000
    assert cfg.custom_imports.imports == OURS

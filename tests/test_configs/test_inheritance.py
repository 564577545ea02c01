"""Configs of users, in folders of their own, that inherit the shipped ones by path."""

import subprocess
import sys

import pytest
from mmengine import Config


@pytest.fixture
def write(tmp_path, configs):
    def child(text, base='mask_rcnn_casvit.py'):
        path = tmp_path / 'mine.py'
        path.write_text(f'_base_ = {str(configs / "detection" / base)!r}\n{text}\n')
        return path

    return child


def test_a_child_without_custom_imports_keeps_casvit(write):
    assert Config.fromfile(write('')).custom_imports.imports == ['casvit_mm']


def test_a_child_extends_custom_imports_by_adding_to_those_of_its_base(write):
    cfg = Config.fromfile(
        write("custom_imports = dict(imports=_base_.custom_imports.imports + ['my_package'])"),
        import_custom_modules=False,
    )
    assert cfg.custom_imports.imports == ['casvit_mm', 'my_package']


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


def test_loading_a_config_alone_registers_the_backbone(write):
    code = (
        'from mmengine import Config; from mmengine.registry import MODELS; '
        f'cfg = Config.fromfile({str(write(""))!r}); '
        'print(type(MODELS.build(cfg.model.backbone)).__name__)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == 'CASViT', done.stderr

"""Public names of the packages of casvit_mm, whose modules are imported on first use."""

import ast
import importlib
from pathlib import Path

import fresh
import pytest

PACKAGES = (
    'casvit_mm',
    *(f'casvit_mm.{name}' for name in ('datasets', 'deploy', 'engine', 'models')),
)


@pytest.mark.parametrize('name', PACKAGES)
def test_public_names_match_those_that_type_checkers_see(name):
    package = importlib.import_module(name)
    told = {}
    for node in ast.walk(ast.parse(Path(package.__file__).read_text(encoding='utf-8'))):
        if isinstance(node, ast.If):
            for line in node.body:
                told.update({alias.name: line.module for alias in line.names})
    assert set(package.__all__) - {'__version__'} == set(told)
    assert set(package.__all__) <= set(dir(package))
    for attribute, module in told.items():
        value = getattr(package, attribute)
        if module == name:
            assert value is importlib.import_module(f'{name}.{attribute}')
        else:
            assert value is getattr(importlib.import_module(module), attribute)


def test_an_unknown_name_is_an_attribute_error():
    import casvit_mm.models

    with pytest.raises(AttributeError, match=r"'casvit_mm\.models' has no attribute 'CASWit'"):
        _ = casvit_mm.models.CASWit
    with pytest.raises(ImportError, match='CASWit'):
        from casvit_mm.models import CASWit  # noqa: F401


def test_imports_in_configs_do_not_import_torch():
    fresh.run(
        """
        import sys
        import casvit_mm
        from casvit_mm.models import ARCHITECTURES, classifier_sizes, dense_sizes
        assert dense_sizes((0, 1, 2, 3))['m']['neck']['in_channels'] == [64, 96, 192, 384]
        assert classifier_sizes()['xs']['head']['in_channels'] == ARCHITECTURES['xs'].channels[-1]
        from casvit_mm.datasets import DatasetError
        from casvit_mm.datasets.shapes import objects as shapes
        from casvit_mm.datasets.shapes import single as single_shapes
        assert shapes.CLASSES and single_shapes.CLASSES and issubclass(DatasetError, ValueError)
        heavy = {'torch', 'torchvision', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain'}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        """
    )


def test_classes_of_the_package_can_be_accessed_and_subclassed():
    fresh.run(
        """
        import casvit_mm
        from mmengine.registry import MODELS

        @MODELS.register_module()
        class Mine(casvit_mm.models.CASViT):
            def forward(self, x):
                return super().forward(x)[-1:]

        import torch
        model = MODELS.build(dict(type='Mine', arch='xs'))
        assert isinstance(model, MODELS.get('CASViT'))
        assert [tuple(x.shape) for x in model(torch.zeros(1, 3, 64, 64))] == [(1, 220, 2, 2)]
        assert casvit_mm.deploy.is_fused(model) is False
        assert casvit_mm.engine.InvalidLossError and casvit_mm.datasets.DatasetError
        """
    )


@pytest.mark.parametrize('command', ['print_config', 'generate_shapes', 'check_dataset'])
def test_commands_that_run_no_model_need_no_torch(command):
    fresh.run(
        f"""
        import importlib, sys
        importlib.import_module('casvit_mm.commands.{command}')
        heavy = {{'torch', 'torchvision', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain'}}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        """
    )

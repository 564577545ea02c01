"""What importing the package registers, and what it leaves unchanged."""

import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys

import fresh
import pytest
from mmengine.registry import MODELS, Registry, root

import casvit_mm
from casvit_mm.datasets.shapes import objects as shapes
from casvit_mm.datasets.shapes import single as single_shapes
from casvit_mm.registration import CLASSES, registered_class, registered_in

TOOLBOXES = ('mmdet', 'mmseg', 'mmpretrain')
ENTRIES = [
    pytest.param(registry, name, module, id=name)
    for registry, classes in CLASSES.items()
    for name, module in classes.items()
]


# The table


@pytest.mark.parametrize('registry, name, module', ENTRIES)
def test_every_registered_name_belongs_to_the_class_of_that_name(registry, name, module):
    cls = registered_class(registry, name)
    assert inspect.isclass(cls) and (cls.__name__, cls.__module__) == (name, module)
    # Once imported, the class replaces its factory.
    assert registry.get(name) is cls


def test_every_class_that_the_package_registers_is_in_the_table():
    for module in pkgutil.walk_packages(casvit_mm.__path__, 'casvit_mm.'):
        if not module.name.endswith('__main__'):
            importlib.import_module(module.name)
    roots = [value for value in vars(root).values() if isinstance(value, Registry)]
    assert set(CLASSES) < set(roots)
    for registry in roots:
        for place in (registry, *registry.children.values()):
            own = {
                name
                for name, value in place.module_dict.items()
                if value.__module__.startswith('casvit_mm.')
            }
            assert own <= set(CLASSES.get(registry, ())), place


def test_an_unregistered_name_has_no_class():
    assert registered_class(MODELS, 'CASWit') is None


def test_classes_of_other_packages_are_those_of_the_registry():
    pytest.importorskip('mmdet')
    from mmdet.registry import MODELS as DETECTORS

    assert registered_class(DETECTORS, 'FPN') is DETECTORS.get('FPN')


# Importing the package in a new process


def test_importing_the_package_imports_no_toolbox_and_changes_nothing_else():
    fresh.run(
        """
        import os, signal, sys, warnings, logging
        import mmengine.registry
        def state():
            return (list(sys.path), list(sys.meta_path), dict(os.environ), list(warnings.filters),
                    list(logging.root.handlers), signal.getsignal(signal.SIGTERM))
        before, modules = state(), set(sys.modules)
        import casvit_mm
        assert state() == before
        new = set(sys.modules) - modules
        own = {name for name in new if not name.startswith('casvit.') and name != 'casvit'}
        # The file backend of shards has to be there before a config names one of its files.
        parts = ('casvit_mm.datasets.shards.', 'casvit_mm.registration')
        parents = {'casvit_mm', 'casvit_mm.datasets', 'casvit_mm.datasets.shards'}
        others = {name for name in own - parents if not name.startswith(parts)}
        others -= sys.stdlib_module_names
        assert not others, others
        heavy = {'torch', 'torchvision', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'fsspec'}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        """
    )


def test_a_factory_has_documentation_and_is_replaced_by_the_class_once_it_is_built():
    fresh.run(
        """
        import importlib, inspect, pydoc, re
        import casvit_mm
        from casvit_mm.registration import CLASSES
        from mmengine.registry import MODELS, RUNNERS
        for registry, classes in CLASSES.items():
            for name, module in classes.items():
                factory = registry.get(name)
                assert inspect.isfunction(factory)
                assert (factory.__name__, factory.__module__) == (name, module)
                said = pydoc.plain(pydoc.render_doc(factory))
                assert f'Builds a {name}' in said, said
                place = re.search(r'``(from (\\S+) import (\\S+))``', said)
                assert place[3] == name and hasattr(importlib.import_module(place[2]), '__all__')
                assert name in importlib.import_module(place[2]).__all__
        factory = MODELS.get('CASViT')
        backbone = MODELS.build(dict(type='CASViT', arch='xs'))
        assert MODELS.get('CASViT') is type(backbone) and inspect.isclass(type(backbone))
        # Code that kept the factory can still use it.
        assert type(factory(arch='xs')) is type(backbone)
        """
    )


def test_importing_the_package_fails_if_a_class_of_the_same_name_is_registered():
    fresh.run(
        """
        from mmengine.registry import MODELS
        @MODELS.register_module()
        class CASViT:
            pass
        try:
            import casvit_mm
        except KeyError as error:
            assert 'CASViT is already registered' in str(error)
        else:
            raise AssertionError('two classes with the same name')
        """
    )


def test_the_package_can_be_imported_again():
    importlib.reload(casvit_mm)
    from casvit_mm.models import CASViT

    assert MODELS.get('CASViT') is CASViT
    # Notebooks that reload edited modules do this.
    assert registered_in(MODELS)(CASViT) is CASViT


# Every scope


BUILD = """
import copy, inspect, pickle, sys
from mmengine.config import Config
from mmengine.registry import init_default_scope
scope, folder, dataset = sys.argv[1:]
cfg = Config.fromfile('config.py')
assert scope not in sys.modules
import importlib
registry = importlib.import_module(f'{scope}.registry')
init_default_scope(scope)

runner = registry.RUNNERS.build(Config(dict(
    runner_type='CASViTRunner', work_dir='work', model=dict(type='CASViT', arch='xs'),
    experiment_name='fresh', log_level='ERROR', default_scope=scope)))
assert type(runner).__name__ == 'CASViTRunner', runner
assert registry.RUNNERS.get('CASViTRunner') is type(runner)

backbone = registry.MODELS.build(dict(type='CASViT', arch='xs', out_indices=(3,)))
assert type(runner.model) is type(backbone)
copied = copy.deepcopy(backbone)
read = pickle.loads(pickle.dumps(backbone))
for other in (copied, read):
    assert type(other) is type(backbone)
    for key, value in backbone.state_dict().items():
        assert (other.state_dict()[key] == value).all(), key

hook = registry.HOOKS.build(dict(type='PreviewHook'))
assert type(hook).__name__ == 'PreviewHook'

constructor = registry.OPTIM_WRAPPER_CONSTRUCTORS.build(dict(
    type='CASViTLayerDecayConstructor',
    optim_wrapper_cfg=dict(
        type='BFloat16OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)),
    paramwise_cfg=dict(layer_decay_rate=0.9)))
assert type(constructor(runner.model)).__name__ == 'BFloat16OptimWrapper'

data = registry.DATASETS.build(dict(
    type=dataset, data_root=folder, data_prefix=PREFIX, pipeline=PIPELINE, **MORE))
assert type(data).__name__ == dataset and len(data), data
assert data.metainfo['classes']
"""
FROM_OTHERS = """
assert data[0]['inputs'].shape[0] == 3
from casvit_mm.registration import registered_class
classifier = registered_class(registry.MODELS, 'mmpretrain.CASViTClassifier')
assert classifier.__module__ == 'casvit_mm.models.classifier'
"""
SPAWNED = """
import torch
loader = runner.build_dataloader(dict(
    num_workers=1, dataset=data, multiprocessing_context='spawn',
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_size=2, batch_sampler=dict(
        type='MultiScaleBatchSampler', base_size=64, scale_range=(32, 96), num_scales=2),
    collate_fn=dict(type='default_collate')))
assert type(loader.batch_sampler).__name__ == 'MultiScaleBatchSampler'
sizes = {tuple(batch['inputs'].shape[-2:]) for batch in loader}
assert sizes and sizes <= {(32, 32), (64, 64), (96, 96)}, sizes
"""
PARTS = {
    'mmdet': (
        'ShapesDataset',
        dict(
            prefix=dict(img='train/'),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True),
                dict(type='PackDetInputs', meta_keys=()),
            ],
            more=dict(ann_file='annotations/instances_train.json'),
        ),
        FROM_OTHERS,
    ),
    'mmseg': (
        'SemanticShapesDataset',
        dict(
            prefix=dict(img_path='train', seg_map_path='labels/train'),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations'),
                dict(type='PackSegInputs', meta_keys=()),
            ],
            more={},
        ),
        FROM_OTHERS,
    ),
    'mmpretrain': (
        'SingleShapesDataset',
        dict(
            prefix='train',
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='MultiScaleRandomResizedCrop', scale=64),
                dict(type='PackInputs'),
            ],
            more={},
        ),
        SPAWNED,
    ),
}


@pytest.mark.parametrize(
    'scope',
    # Each starts loader processes that import everything anew.
    [
        scope if scope == 'mmdet' else pytest.param(scope, marks=pytest.mark.long)
        for scope in TOOLBOXES
    ],
)
def test_a_config_that_imports_only_the_package_builds_from_the_registries_of(scope, tmp_path):
    pytest.importorskip(scope)
    dataset, values, read = PARTS[scope]
    generated = single_shapes if scope == 'mmpretrain' else shapes
    generated.generate(tmp_path / 'set', num_train=6, num_val=2, size=96, progress=False)
    (tmp_path / 'config.py').write_text("custom_imports = dict(imports=['casvit_mm'])\n")
    code = re.sub('PREFIX|PIPELINE|MORE', lambda m: repr(values[m[0].lower()]), BUILD) + read
    fresh.run(code, scope, tmp_path / 'set', dataset, folder=tmp_path)


# Errors


@pytest.fixture(scope='module')
def answers():
    """Results and errors from a process in which no toolbox can be imported."""
    return json.loads(
        fresh.run(
            """
            import json, sys
            for toolbox in ('mmdet', 'mmseg', 'mmpretrain'):
                sys.modules[toolbox] = None
            import casvit_mm
            from casvit_mm.registration import CLASSES
            from mmengine.registry import DATASETS, HOOKS, MODELS

            def answer(action, *args):
                try:
                    return str(action(*args))
                except Exception as error:
                    return f'{type(error).__name__}: {error}'

            class CASViT:
                pass

            class SafeCheckpointHook:
                pass

            answers = {}
            answers['collision'] = answer(lambda: MODELS.register_module(module=CASViT))
            HOOKS.register_module(force=True, module=SafeCheckpointHook)
            from casvit_mm.engine import SafeCheckpointHook as Ours
            assert Ours is not SafeCheckpointHook
            answers['forced'] = str(HOOKS.get('SafeCheckpointHook'))
            for key, cfg in dict(
                arch=dict(type='CASViT', arch='huge'),
                argument=dict(type='CASViT', arhc='xs'),
                name=dict(type='CASVit', arch='xs'),
            ).items():
                answers[key] = answer(MODELS.build, cfg)
            for registry in (MODELS, DATASETS):
                for name in CLASSES[registry]:
                    answers[name] = answer(registry.build, dict(type=name))
            for room, name in (('models', 'CASViTClsHead'), ('engine', 'InstanceTTAModel'),
                               ('datasets', 'PairsDataset')):
                answers[f'import {name}'] = answer(getattr, getattr(casvit_mm, room), name)
            print(json.dumps(answers))
            """
        )
    )


def test_a_class_of_the_same_name_collides(answers):
    assert answers['collision'].startswith('KeyError')
    assert (
        'CASViT is already registered in model at casvit_mm.models.casvit' in (answers['collision'])
    )


def test_a_class_registered_by_force_keeps_its_name_when_ours_is_imported(answers):
    assert answers['forced'] == "<class '__main__.SafeCheckpointHook'>"


def test_a_message_names_the_value_that_cannot_be_built(answers):
    assert answers['arch'] == "ValueError: arch='huge' is unknown; known sizes: xs, s, m, t, l"
    assert re.match(r"TypeError: CASViT.*'arhc'", answers['argument'])
    assert answers['name'].startswith('KeyError')
    assert 'CASVit is not in the mmengine::model registry' in answers['name']


def test_a_command_names_the_type_and_the_value(tmp_path):
    option = 'model.backbone.arhc=xs'
    command = ['get_flops', 'mask_rcnn_casvit-xs_demo_shapes', '--cfg-options', option]
    done = subprocess.run(
        [sys.executable, '-m', 'casvit_mm', *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(fresh.ROOT)},
    )
    assert done.returncode == 2, done.stderr
    assert "type='CASViT'" in done.stderr and "'arhc'" in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize(
    'name, sentence, package',
    [
        ('CASViTClassifier', 'Classification needs mmpretrain', 'onedl-mmpretrain'),
        ('CASViTClsHead', 'Classification needs mmpretrain', 'onedl-mmpretrain'),
        ('import CASViTClsHead', 'Classification needs mmpretrain', 'onedl-mmpretrain'),
        ('SingleShapesDataset', 'Classification needs mmpretrain', 'onedl-mmpretrain'),
        ('InstanceTTAModel', 'Detection needs mmdet', 'onedl-mmdetection'),
        ('import InstanceTTAModel', 'Detection needs mmdet', 'onedl-mmdetection'),
        ('ShapesDataset', 'Detection needs mmdet', 'onedl-mmdetection'),
        ('PairsDataset', 'Semantic segmentation needs mmseg', 'onedl-mmsegmentation'),
        ('import PairsDataset', 'Semantic segmentation needs mmseg', 'onedl-mmsegmentation'),
        ('SemanticShapesDataset', 'Semantic segmentation needs mmseg', 'onedl-mmsegmentation'),
    ],
)
def test_if_the_toolbox_of_a_class_is_missing_the_error_says_what_to_install(
    answers, name, sentence, package
):
    assert answers[name].startswith(f'MissingPackageError: {sentence}, which cannot be imported')
    assert f'install {package} ' in answers[name]


def test_the_backbone_needs_no_toolbox(answers):
    assert answers['CASViT'].startswith('CASViT(')


# Fused files


def test_a_fused_checkpoint_loads_into_the_model_of_init_detector(tmp_path, configs):
    pytest.importorskip('mmdet')
    config = configs / 'detection/mask_rcnn_casvit-xs_demo_shapes.py'
    said = fresh.run(
        """
        import sys
        import torch
        from mmdet.apis import init_detector

        from casvit.errors import UserError

        def detector(checkpoint):
            return init_detector(sys.argv[1], checkpoint, palette='random', device='cpu')

        torch.manual_seed(0)
        trained = detector(None)
        from casvit_mm.models import load_into, read_checkpoint
        assert not [name for name in sys.modules if name.startswith('casvit_mm.deploy')]
        image = torch.rand(1, 3, 96, 96)
        with torch.no_grad():
            expected = trained.extract_feat(image)

        from casvit_mm.deploy import fuse, fusion
        weights = fuse(trained).state_dict()
        torch.save(dict(state_dict=weights, meta=dict(structure=fusion.FUSED)), 'fused.pth')
        # As in a process that has not fused anything.
        for name in [name for name in sys.modules if name.startswith('casvit_mm.deploy')]:
            del sys.modules[name]
        from casvit_mm.models.checkpoint.structures import STRUCTURES
        STRUCTURES.module_dict.clear()

        model = detector(None)
        load_into(model, read_checkpoint('fused.pth'), strict=True)
        with torch.no_grad():
            for have, want in zip(model.extract_feat(image), expected):
                assert (have - want).abs().max() <= 1e-5 * want.abs().max()
        try:
            detector('fused.pth')
        except UserError as error:
            print(error)
        """,
        config,
        folder=tmp_path,
    )
    assert 'weights of a fused model' in said and 'load_into' in said

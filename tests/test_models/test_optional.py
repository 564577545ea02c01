"""What works if mmpretrain or torchvision cannot be imported."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from mmengine.utils import digit_version

pytest.importorskip('mmdet')

# Runs first, to imitate an environment without the package or with a broken one.
BLOCK = """
import sys
from importlib.abc import MetaPathFinder

class Blocker(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == {package!r}:
            raise {error}
sys.meta_path.insert(0, Blocker())
"""
ERRORS = {
    'missing': "ModuleNotFoundError('No module named ' + repr(name), name=name)",
    'broken': "RuntimeError('operator torchvision::nms does not exist')",
}
CASES = [('mmpretrain', 'missing'), ('torchvision', 'broken')]


@pytest.fixture(scope='module', params=CASES, ids='-'.join)
def run(request, tmp_path_factory, configs):
    """Runs code in such an environment."""
    package, error = request.param
    folder = tmp_path_factory.mktemp('blocked')
    block = BLOCK.format(package=package, error=ERRORS[error])

    def call(code):
        program = textwrap.dedent(block) + textwrap.dedent(code)
        return subprocess.run(
            [sys.executable, '-c', program],
            cwd=folder,
            capture_output=True,
            text=True,
            env={**os.environ, 'PYTHONPATH': str(configs.parent), 'OMP_NUM_THREADS': '1'},
        )

    return call


def test_a_detector_trains_and_a_segmentor_builds(run):
    done = run(
        """
        from casvit.cli.main import run_tool
        from casvit_mm.datasets.shapes import objects as shapes
        shapes.generate('shapes', num_train=2, num_val=2, size=64, progress=False)
        options = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1',
                   'env_cfg.mp_cfg.mp_start_method=None']
        assert run_tool('train', [
            'mask_rcnn_casvit-xs_demo_shapes', '--data-root', 'shapes', '--work-dir', 'work',
            '--cfg-options', *options]) == 0

        from mmengine import Config
        from mmengine.registry import init_default_scope
        from mmseg.registry import MODELS
        import mmseg.models
        init_default_scope('mmseg')
        MODELS.build(dict(
            type='EncoderDecoder',
            backbone=dict(type='CASViT', arch='xs'),
            decode_head=dict(type='FCNHead', in_channels=220, in_index=3, channels=8,
                             num_classes=3, norm_cfg=dict(type='BN'))))
        print('segmentation builds')
        """
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'segmentation builds' in done.stdout


TRIED = """
_base_ = {base!r}
train_dataloader = dict(
    num_workers=0, persistent_workers=False, batch_size=1, dataset=dict(data_root='tried/')
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root='tried/'))
val_evaluator = dict(ann_file='tried/annotations/instances_val.json')
"""


def test_the_trial_runs_of_finetune_work(run, configs, tmp_path):
    demo = configs / 'detection' / 'mask_rcnn_casvit-xs_demo_shapes.py'
    config = tmp_path / 'tried.py'
    config.write_text(TRIED.format(base=str(demo)))
    done = run(
        f"""
        import io, sys
        from casvit_mm.datasets.shapes import objects as shapes
        from casvit_mm.finetune.trial import main
        shapes.generate('tried', num_train=4, num_val=4, size=64, progress=False)
        sys.stdin = io.StringIO('1')
        main({str(config)!r})
        """
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert '{"peak": ' in done.stdout


def test_importing_and_building_hides_no_module_from_the_process(run):
    done = run(
        """
        import casvit_mm
        from casvit.errors import MissingPackageError
        from mmengine.registry import MODELS
        MODELS.build(dict(type='CASViT', arch='xs'))
        try:
            MODELS.build(dict(type='CASViTClassifier'))
        except MissingPackageError as error:
            print(error)
        hidden = [name for name, module in sys.modules.items() if module is None]
        assert not {'torchvision', 'mmpretrain'} & set(hidden), hidden
        """
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'Classification needs mmpretrain' in done.stdout


def test_classification_is_rejected_with_what_to_install(run):
    done = run(
        """
        from casvit.cli.main import run_tool
        from casvit_mm.datasets import DatasetError
        from casvit_mm.datasets.preflight.classification import check_classification_data
        try:
            check_classification_data(dict(default_scope='mmpretrain'))
        except DatasetError as error:
            print(error)
        raise SystemExit(run_tool('train', ['casvit-xs_demo_shapes']))
        """
    )
    assert done.returncode == 2, done.stderr[-3000:]
    for said in (done.stdout, done.stderr):
        assert 'Classification needs mmpretrain' in said
        assert 'install onedl-mmpretrain' in said
    assert 'Traceback' not in done.stderr
    assert 'PYTHONPATH' not in done.stderr


@pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.2'),
    reason='this torch itself imports transformers, of which the test has an empty stand-in',
)
def test_a_new_transformers_stops_classification_with_a_sentence_and_detection_not(tmp_path):
    """Its version makes mmpretrain import its multimodal models, whose base class it lacks."""
    info = tmp_path / 'transformers-5.24.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: transformers\nVersion: 5.24.0\n')
    (tmp_path / 'transformers.py').write_text('')
    program = """
        from casvit_mm.models.optional import forget_broken_packages, toolbox_error
        print(toolbox_error('mmpretrain'))
        forget_broken_packages()
        from mmdet.models import MaskRCNN
    """
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            'PYTHONPATH': os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')]),
        },
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "pip install 'transformers<5'; found 5.24.0" in done.stdout

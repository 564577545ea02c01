"""mmengine's loaders after ``import casvit_mm.safe_loading``: weights are read as data."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner.checkpoint import CheckpointLoader, load_checkpoint
from torch import nn

import casvit_mm.safe_loading  # noqa: F401
from casvit.errors import CheckpointError
from casvit_mm.config.read import load_config
from casvit_mm.datasets.shapes.objects import CLASSES
from casvit_mm.inference import safe_loaders
from casvit_mm.inference.config_text import text_of, values_of
from casvit_mm.models.optional import import_toolbox


class Call:
    """What a pickle calls when it is loaded: touches a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    model = nn.Linear(2, 3)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(epoch=3)), tmp_path / 'good.pth')
    return model.state_dict(), tmp_path / 'good.pth'


def test_weights_are_loaded_as_mmengine_would(weights):
    model = nn.Linear(2, 3)
    content = load_checkpoint(model, str(weights[1]), strict=True)
    assert content['meta'] == dict(epoch=3)
    for key, value in weights[0].items():
        assert torch.equal(model.state_dict()[key], value)


@pytest.mark.parametrize('written', [torch.save, lambda x, f: f.write_bytes(pickle.dumps(x))])
def test_code_in_a_file_is_refused_and_does_not_run(written, tmp_path):
    target = tmp_path / 'touched'
    written(dict(state_dict={}, extra=Call(target)), tmp_path / 'bad.pth')
    with pytest.raises(CheckpointError, match=r'could run code|not a checkpoint'):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'bad.pth'), 'cpu')
    assert not target.exists()


def test_a_file_from_the_web_is_downloaded_once_and_read_as_data(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    address = weights[1].as_uri().replace('file://', 'http://localhost')
    asked = []

    def fetch(url, file, *args, **kwargs):
        asked.append(url)
        Path(file).write_bytes(weights[1].read_bytes())

    monkeypatch.setattr(torch.hub, 'download_url_to_file', fetch)
    for _ in range(2):
        assert CheckpointLoader.load_checkpoint(address)['meta'] == dict(epoch=3)
    assert asked == [address]
    assert (tmp_path / 'hub/checkpoints/good.pth').is_file()


@pytest.mark.parametrize(
    ('start', 'models'),
    [
        ('torchvision://', 'get_torchvision_models'),
        ('openmmlab://', 'get_external_models'),
        ('open-mmlab://', 'get_external_models'),
    ],
)
def test_names_of_lists_are_looked_up_there(start, models, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(safe_loaders, models, lambda: dict(mine=str(weights[1])))
    assert CheckpointLoader.load_checkpoint(f'{start}mine')['meta'] == dict(epoch=3)
    with pytest.raises(CheckpointError, match=r'no weights of this name\. Did you mean mine'):
        CheckpointLoader.load_checkpoint(f'{start}mines')


def test_a_backbone_of_a_classifier_loses_its_prefix(tmp_path, monkeypatch):
    state = {'backbone.stem.weight': torch.ones(1), 'head.fc.weight': torch.zeros(1)}
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    monkeypatch.setattr(safe_loaders, 'get_mmcls_models', lambda: dict(a=str(tmp_path / 'a.pth')))
    assert list(CheckpointLoader.load_checkpoint('mmcls://a')['state_dict']) == ['stem.weight']


def test_published_weights_keep_their_scheme():
    with pytest.raises(CheckpointError, match='casvit weights get'):
        CheckpointLoader.load_checkpoint('casvit://cas-vit-s')


CODE = "import pathlib\npathlib.Path('{}').touch()\nmodel = dict(type='FCOS')\n"


@pytest.mark.parametrize('place', ['meta', 'message_hub'])
def test_code_in_the_config_of_a_checkpoint_is_left_out(place, tmp_path, weights):
    text = CODE.format(tmp_path / 'touched')
    holder = dict(cfg=text, config=text)
    meta = holder if place == 'meta' else {}
    hub = dict(runtime_info=holder if place == 'message_hub' else {})
    torch.save(dict(state_dict=weights[0], meta=meta, message_hub=hub), tmp_path / 'a.pth')
    content = CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))
    assert 'cfg' not in content['meta'] and 'config' not in content['meta']
    assert 'cfg' not in content['message_hub']['runtime_info']
    assert not (tmp_path / 'touched').exists()


def test_a_config_of_values_stays_what_it_is_for_inferencers(tmp_path, weights):
    saved = dict(
        default_scope='mmdet',
        model=dict(type='FCOS', backbone=dict(type='CASViT', arch='s'), limits=(1.5, float('inf'))),
        test_dataloader=dict(
            dataset=dict(
                type='CocoDataset',
                metainfo=dict(classes=('a {{b}}', "it's")),
                pipeline=[dict(type='LoadImageFromFile'), dict(type='mmdet.PackDetInputs')],
            )
        ),
    )
    meta = dict(cfg=text_of({**saved, 'work_dir': '/somewhere'}).replace("float('inf')", 'inf'))
    torch.save(dict(state_dict=weights[0], meta=meta), tmp_path / 'a.pth')
    text = CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))['meta']['cfg']
    found = Config.fromstring(text, '.py').to_dict()
    assert found.pop('visualizer')['type'] == 'mmdet.DetLocalVisualizer'
    assert found == saved


@pytest.mark.parametrize('kind', ['os.system', 'mmdet.models.FCOS', 'a b', '', 3])
def test_types_that_a_registry_would_import_are_left_out(kind, tmp_path, weights):
    pipeline = dict(dataset=dict(type='CocoDataset', pipeline=[dict(type='PackDetInputs')]))
    text = text_of(dict(model=dict(type=kind), test_dataloader=pipeline))
    torch.save(dict(state_dict=weights[0], meta=dict(cfg=text)), tmp_path / 'a.pth')
    assert 'cfg' not in CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))['meta']


def test_values_survive_being_written_and_read():
    values = dict(a=[1, (2,), ()], b={'c': None, 3: -1.5}, d=True, e='\'{{x}}\\n"')
    assert values_of(text_of(values)) == values


def test_a_plain_import_of_the_package_changes_no_loader():
    code = (
        'from mmengine.runner.checkpoint import CheckpointLoader as c; old = dict(c._schemes);'
        'import casvit_mm, casvit_mm.models; from casvit_mm.models import CASViT;'
        'new = {key: value for key, value in c._schemes.items() if key in old};'
        'print(new == old)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.split()[-1] == 'True', done.stderr


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_an_inferencer_without_a_config_takes_that_of_the_checkpoint_as_data(scope, tmp_path):
    apis = pytest.importorskip(f'{scope}.apis')
    model_of = dict(mmdet='mask_rcnn', mmseg='semantic_fpn')
    cfg = load_config(f'{model_of[scope]}_casvit-xs_demo_shapes')
    import_toolbox(scope)
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(cfg.model)
    classes = ('ground', *CLASSES)[scope == 'mmdet' :]
    palette = [(index, 0, 9) for index in range(len(classes))]
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(classes=classes, palette=palette))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'a.pth')
    kind = apis.DetInferencer if scope == 'mmdet' else apis.MMSegInferencer
    inferencer = kind(None, str(tmp_path / 'a.pth'), device='cpu')
    for key, value in model.state_dict().items():
        assert torch.equal(inferencer.model.state_dict()[key], value), key


ORDERS = [
    'import casvit_mm.safe_loading, mmengine.runner',
    'import mmengine.runner, casvit_mm.safe_loading',
    'import casvit_mm.safe_loading, torch; from mmengine.runner.checkpoint import load_state_dict',
    'from mmengine.config import Config; Config.fromfile(casvit.config_path("fcos_casvit")); '
    'import mmdet.apis',
]


@pytest.mark.parametrize('order', ORDERS)
def test_loaders_are_replaced_whichever_is_imported_first(order):
    code = (
        f'import casvit; {order}; from mmengine.runner.checkpoint import CheckpointLoader as c;'
        'print({name.__name__ for key, name in c._schemes.items() if key in ("", "http://")})'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    last = done.stdout.splitlines()[-1]
    assert sorted(eval(last)) == ['load_from_address', 'load_from_data'], done.stderr


def test_reading_a_config_imports_no_torch():
    code = (
        'import sys, casvit; from mmengine.config import Config;'
        'Config.fromfile(casvit.config_path("mask_rcnn_casvit")); print("torch" in sys.modules)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.split()[-1] == 'False', done.stderr

"""The list of published models in OpenMMLab's format, and mmpretrain's access to it."""

import importlib
import sys
from pathlib import Path

import fresh
import published
import pytest
import torch
import yaml

import casvit_mm
from casvit.errors import CheckpointError, MissingPackageError
from casvit.tables import PUBLISHED_WEIGHTS
from casvit_mm.models.optional import import_error

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / 'tools'))
model_index = importlib.import_module('model_index')

FILES = (
    'model-index.yml',
    *(f'configs/{name}/metafile.yml' for name in ('classification', 'detection', 'segmentation')),
)
XS = 'casvit-xs_8xb128_in1k'


@pytest.fixture(scope='module')
def texts():
    return {name: (ROOT / name).read_text(encoding='utf-8') for name in FILES}


@pytest.fixture
def models(texts):
    entries = [each for text in texts.values() for each in yaml.safe_load(text).get('Models', ())]
    return {each['Name']: each for each in entries}


def test_the_files_are_what_the_table_of_published_weights_gives(texts):
    assert model_index.written_files(model_index.costs_in(texts)) == texts, 'run `make index`'


def test_a_figure_is_marked_as_published_and_has_the_address_of_its_file(models):
    # From the authors' model zoo.
    expected = {
        'casvit-m_8xb128_in1k': ('13sQpSEf0h_uuh0jRy9V0yIW6ZsbDpVGy', {'Top 1 Accuracy': 82.8}),
        'mask_rcnn_casvit-s_fpn_1x_coco': (
            '1Kttud7Pqc_Tvw--F19knbfF4haJdJOG8',
            {'box AP': 39.8, 'mask AP': 36.7},
        ),
        'semantic_fpn_casvit-t_40k_ade20k-512x512': (
            '14tn6hctKu16GKNBeUiwuUzJml-qsxdkh',
            {'mIoU': 45.0},
        ),
    }
    for name, (drive, metrics) in expected.items():
        found = {}
        for result in models[name]['Results']:
            found |= result['Metrics']
        assert found == metrics
        assert models[name]['Weights Address'] == f'https://drive.google.com/file/d/{drive}/view'
        assert 'not reproduced' in models[name]['Figures']


def test_every_published_file_is_listed_by_its_name(models):
    listed = {each['Weights'] for each in models.values()}
    assert listed == {f'casvit://{name}' for name in PUBLISHED_WEIGHTS}
    assert len(models) == len(PUBLISHED_WEIGHTS)
    assert all((ROOT / each['Config']).is_file() for each in models.values())


def test_openmmlabs_reader_finds_nothing_wrong():
    modelindex = pytest.importorskip('modelindex.load_model_index')
    index = modelindex.load(str(ROOT / 'model-index.yml'))
    index.build_models_with_collections()
    assert index.check(silent=True) == []
    assert len(index.models) == len(PUBLISHED_WEIGHTS)


def test_the_costs_of_the_smallest_classifier_are_those_that_are_counted(texts):
    assert model_index.costs_in(texts)[XS] == model_index.count_costs(
        PUBLISHED_WEIGHTS['cas-vit-xs']
    )


@pytest.mark.long
@pytest.mark.parametrize('name', PUBLISHED_WEIGHTS)
def test_the_costs_of_every_model_are_those_that_are_counted(name, texts):
    weights = PUBLISHED_WEIGHTS[name]
    assert model_index.costs_in(texts)[weights.config] == model_index.count_costs(weights)


@pytest.fixture(scope='module')
def mmpretrain():
    """mmpretrain, with the published models registered twice."""
    casvit_mm.register_models()
    casvit_mm.register_models()
    import mmpretrain

    return mmpretrain


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working directory, without downloaded weights."""
    monkeypatch.delenv('CASVIT_WEIGHTS', raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_mmpretrain_lists_the_published_classifiers_beside_its_own(mmpretrain):
    ours = mmpretrain.list_models('*casvit*')
    assert sorted(ours) == sorted(
        f'casvit-{size}_{config}'
        for size in ('xs', 's', 'm', 't')
        for config in ('8xb128_in1k', '8xb64_in1k-384px')
    )
    assert mmpretrain.list_models('*casvit*', task='Image Classification') == ours
    assert 'resnet50_8xb32_in1k' in mmpretrain.list_models()


def test_mmpretrain_builds_a_published_classifier_without_weights(mmpretrain):
    model = mmpretrain.get_model(XS, head=dict(num_classes=7))
    assert logits(model).shape == (1, 7)
    assert not model.training


@pytest.fixture
def weights_file(here):
    file = here / 'checkpoints' / 'cas-vit-xs.pth'
    file.parent.mkdir()
    torch.save({'model': published.weights('xs', 'classification')}, file)
    return file


def logits(model):
    with torch.no_grad():
        return model.head(model.extract_feat(published.image(64, 64)))


def test_mmpretrain_loads_published_weights_by_name_and_by_file(mmpretrain, weights_file):
    by_name = logits(mmpretrain.get_model(XS, pretrained=True))
    by_file = logits(mmpretrain.get_model(XS, pretrained=str(weights_file)))
    assert torch.equal(by_name, by_file)
    assert not torch.allclose(by_name, logits(mmpretrain.get_model(XS)))


def test_weights_that_are_not_here_are_named_with_the_command_that_gets_them(mmpretrain):
    with pytest.raises(CheckpointError, match=r'casvit weights get cas-vit-xs'):
        mmpretrain.get_model(XS, pretrained=True)


def test_without_mmpretrain_the_error_says_what_to_install(monkeypatch):
    import_error.cache_clear()
    monkeypatch.setitem(sys.modules, 'mmpretrain', None)
    monkeypatch.setitem(sys.modules, 'mmpretrain.models', None)
    with pytest.raises(MissingPackageError, match='needs mmpretrain'):
        casvit_mm.register_models()
    import_error.cache_clear()


def test_naming_the_function_imports_neither_torch_nor_mmpretrain():
    code = 'import sys, casvit_mm; casvit_mm.register_models; '
    heavy = "{'torch', 'mmpretrain'} & set(sys.modules)"
    assert fresh.run(f'{code}print({heavy})').strip() == 'set()'

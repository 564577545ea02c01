"""The heads of mmdet and mmseg behind a CAS-ViT, and the page that lists them."""

import json
import re
from pathlib import Path

import pytest
from mmengine.config import Config

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

from casvit_mm.benchmark.heads import run, trial
from casvit_mm.benchmark.heads.swap import shipped_file
from casvit_mm.benchmark.heads.table import EXCLUDED, HEADS, REASONS, Head
from casvit_mm.config.channels import require_matching_channels
from casvit_mm.config.normalisation import normalisation_note
from casvit_mm.config.read import load_config
from casvit_mm.report.heads.page import heads_page

ROOT = Path(__file__).parents[2]
# A detector, and segmentors: dilated, with a neck that takes a tuple, with a head of all levels.
QUICK = ('mmdet/fcos', 'mmseg/deeplabv3plus', 'mmseg/fastfcn', 'mmseg/segformer')


def record():
    return json.loads((ROOT / 'benchmarks/heads.json').read_text(encoding='utf-8'))


def row_of(head):
    """What the trial of a config says now, in a process of its own as for the page."""
    if not shipped_file(head).is_file():
        pytest.skip(f'{head.config} does not come with this line of OpenMMLab')
    run.import_toolboxes()
    return json.loads(json.dumps(run._tried(head)))


def same(row, written):
    return {key: row[key] for key in row} == {key: written[key] for key in row}


def test_every_folder_that_the_toolboxes_ship_has_one_place():
    tried = [head.folder for head in HEADS]
    assert len({*tried}) == len(tried)
    assert not {*tried} & {*EXCLUDED}
    assert run.shipped_folders() <= {*tried, *EXCLUDED}
    assert {*EXCLUDED.values()} == {*REASONS}


def test_the_page_is_that_of_the_record_and_the_record_that_of_the_table():
    written = record()
    page = (ROOT / 'docs/heads.md').read_text(encoding='utf-8')
    assert page == heads_page(written, REASONS)
    table = {name: row['table'] for name, row in written['rows'].items()}
    assert table == {head.config: json.loads(json.dumps(vars(head))) for head in HEADS}
    assert all(EXCLUDED[name] == why for name, why in written['excluded'].items())
    for head in HEADS:
        assert f'`{head.file[:-3]}`' in page


def test_every_row_of_the_page_works():
    assert [name for name, row in record()['rows'].items() if 'error' in row] == []


def test_the_snippet_of_the_page_fits_a_shipped_config_of_mmdet(tmp_path):
    page = (ROOT / 'docs/heads.md').read_text(encoding='utf-8')
    (snippet,) = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    (head,) = [head for head in HEADS if head.folder == 'mmdet/fcos']
    file = tmp_path / 'own.py'
    file.write_text(snippet.replace('path/to/a/config/of/mmdet.py', str(shipped_file(head))))
    cfg = load_config(str(file))
    require_matching_channels(cfg)
    assert cfg.model.type == 'FCOS' and cfg.model.neck.in_channels == [48, 64, 128, 256]
    assert not normalisation_note(cfg)
    # Without the preprocessor of the snippet, the config keeps the means of its ResNet.
    shipped = Config.fromfile(shipped_file(head)).model.data_preprocessor
    cfg.model.data_preprocessor = shipped
    assert 'model.data_preprocessor.mean is [102.9801' in normalisation_note(cfg)


@pytest.mark.parametrize('folder', QUICK)
def test_a_row_is_what_a_trial_finds(folder):
    (head,) = [head for head in HEADS if head.folder == folder]
    row = row_of(head)
    assert same(row, record()['rows'][head.config])


@pytest.mark.long
@pytest.mark.parametrize('head', HEADS, ids=lambda head: head.config)
def test_all_rows_are_what_their_trials_find(head):
    row = row_of(head)
    assert 'error' not in row
    assert same(row, record()['rows'][head.config])


def test_a_config_that_fails_is_a_row_and_not_the_end(tmp_path):
    broken = Head('mmdet/retinanet/retinanet_r50_fpn_1x_coco', sets={'model.type': 'Nothing'})
    absent = Head('mmdet/retinanet/retinanet_r0_fpn_1x_coco')
    file, told = tmp_path / 'heads.json', []
    found = run.try_all(file, told.append, [broken, absent])
    (first, second) = found['rows'].values()
    assert 'Nothing' in first['error'] and 'does not ship it' in second['error']
    page = heads_page(found, REASONS)
    assert f'| `{absent.config}` | This version of the toolbox does not ship it. |' in page
    assert len(told) == 2


def test_an_interrupted_run_does_not_repeat_what_it_has(tmp_path):
    head = Head('mmdet/retinanet/retinanet_r0_fpn_1x_coco')
    file = tmp_path / 'heads.json'
    run.try_all(file, lambda text: None, [head])
    known = json.loads(file.read_text())
    known['rows'][head.config]['error'] = 'From before.'
    file.write_text(json.dumps(known))
    again = run.try_all(file, lambda text: None, [head])
    assert again['rows'][head.config]['error'] == 'From before.'
    known['versions'] = {'torch': '0.1'}
    file.write_text(json.dumps(known))
    again = run.try_all(file, lambda text: None, [head])
    assert again['rows'][head.config]['error'] != 'From before.'


FOCAL = 'model.bbox_head.loss_cls.loss_weight'
FAILING = {
    'The loss is inf': {FOCAL: float('inf')},
    'Gradients of the backbone are not finite': {'model.type': 'Exploding'},
    'No gradient reaches the stem of the backbone': {'model.backbone.frozen_stages': 4},
    'It predicts nothing': {'model.type': 'Silent'},
}


@pytest.mark.parametrize('reason', FAILING)
def test_a_model_that_runs_without_learning_or_predicting_does_not_pass(reason, monkeypatch):
    monkeypatch.setattr(trial, 'SIDES', (64,))
    run.import_toolboxes()
    from mmdet.models import RetinaNet
    from mmdet.registry import MODELS

    class Silent(RetinaNet):
        def predict(self, batch_inputs, batch_data_samples, rescale=True):
            return batch_data_samples

    class Exploding(RetinaNet):
        def loss(self, batch_inputs, batch_data_samples):
            losses = super().loss(batch_inputs, batch_data_samples)
            features = self.extract_feat(batch_inputs)[0]
            # Zero, and steeper than any number there.
            steep = (features - features.detach()).abs().sqrt().sum()
            return {**losses, 'loss_steep': steep}

    for kind in (Silent, Exploding):
        MODELS.register_module(module=kind, force=True)
    head = Head('mmdet/retinanet/retinanet_r50_fpn_1x_coco', sets=FAILING[reason])
    with pytest.raises(trial.TrialError, match=reason):
        trial.try_head(head, 'xs')

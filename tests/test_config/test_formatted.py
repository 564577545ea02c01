"""A config whose text is formatted once per run."""

import copy
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from toy_runs import toy_run
from yapf.yapflib import yapf_api

from casvit_mm.config.formatted import FormattedOnce

TEXT = "model = dict(type='Line', names=['a', '{{b}}'])\nlr=1e-3\n"


@pytest.fixture
def formatted(monkeypatch):
    """Counts how often a text is formatted."""
    counted, plain = SimpleNamespace(times=0), yapf_api.FormatCode

    def count(*args, **options):
        counted.times += 1
        return plain(*args, **options)

    monkeypatch.setattr(yapf_api, 'FormatCode', count)
    # The original line has imported it already.
    monkeypatch.setattr('mmengine.config.config.FormatCode', count, raising=False)
    return counted


def test_the_text_is_that_of_mmengine_and_formatted_once(tmp_path, formatted):
    file = tmp_path / 'own.py'
    file.write_text(TEXT)
    cfg = Config.fromfile(file)
    expected = cfg.pretty_text
    formatted.times = 0
    once = FormattedOnce.of(cfg)
    once.dump(tmp_path / 'dumped.py')
    texts = [once.pretty_text, copy.deepcopy(once).pretty_text, copy.copy(once).dump()]
    assert [*texts, (tmp_path / 'dumped.py').read_text()] == [expected] * 4
    assert formatted.times == 1
    assert once.filename == cfg.filename and once.to_dict() == cfg.to_dict()


def test_a_changed_config_is_formatted_anew(formatted):
    cfg = FormattedOnce.of(Config.fromstring(TEXT, '.py'))
    assert 'lr = 0.001' in cfg.pretty_text
    cfg.lr = 1
    cfg.model.names.append('c')
    assert 'lr = 1\n' in cfg.pretty_text and "'c'" in cfg.pretty_text
    assert formatted.times == 2


def test_a_run_formats_its_config_once_for_its_log_its_files_and_all_checkpoints(
    tmp_path, formatted
):
    toy_run(tmp_path, cfg=Config.fromstring(TEXT, '.py')).train()
    assert list(tmp_path.glob('epoch_*.pth')) and list(tmp_path.glob('*/vis_data/config.py'))
    assert formatted.times == 1

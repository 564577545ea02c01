"""What a run takes from the checkpoint that it continues: nothing that executes or deletes."""

import pytest
from mmengine.logging import HistoryBuffer

from casvit_mm.engine.resumed_state import check_resumable, drop_foreign_state
from casvit_mm.models.checkpoint import CheckpointError


def state(**runtime_info):
    hub = dict(log_scalars={}, runtime_info=runtime_info, resumed_keys={})
    return dict(meta=dict(epoch=1, iter=2), message_hub=hub)


def test_the_state_of_a_run_is_complete():
    check_resumable(state(), 'run.pth')


@pytest.mark.parametrize(
    ('checkpoint', 'lacking'),
    [
        ({}, r'meta\.epoch, meta\.iter, message_hub\.log_scalars'),
        ({'meta': {}}, r'meta\.epoch'),
        ({**state(), 'meta': {'epoch': 1}}, r'meta\.iter missing'),
        ({**state(), 'message_hub': ['a']}, r'message_hub\.runtime_info'),
        ({**state(), 'message_hub': {**state()['message_hub'], 'resumed_keys': 3}}, 'resumed_keys'),
    ],
)
def test_weights_alone_are_no_run_to_continue(checkpoint, lacking):
    with pytest.raises(CheckpointError, match=lacking) as error:
        check_resumable(checkpoint, 'run.pth')
    assert 'load_from=run.pth' in str(error.value)


def test_a_config_inside_a_checkpoint_is_dropped_wherever_mmengine_would_execute_it(tmp_path):
    checkpoint = state(cfg='import os', experiment_name='mine')
    checkpoint['meta'] |= dict(config='import os', cfg='text')
    drop_foreign_state(checkpoint, [str(tmp_path)])
    assert checkpoint['meta'] == dict(epoch=1, iter=2, cfg='text')
    assert checkpoint['message_hub']['runtime_info'] == dict(experiment_name='mine')


def test_only_the_best_checkpoint_of_the_runs_own_folders_may_be_deleted(tmp_path):
    own, other = tmp_path / 'run', tmp_path / 'other'
    for folder in (own, other, own / 'best_folder.pth'):
        folder.mkdir()
    kept = {
        'best_ckpt': str(own / 'best_coco_bbox_mAP_epoch_1.pth'),
        'best_ckpt_a': str(own / '..' / 'run' / 'best_a.pth'),
        'best_ckpt_remote': 's3://bucket/run/best_a.pth',
    }
    dropped = {
        'best_ckpt_b': str(other / 'best_b.pth'),
        'best_ckpt_c': str(tmp_path),
        'best_ckpt_d': str(own / 'epoch_1.pth'),
        'best_ckpt_e': str(own / 'best_folder.pth'),
        'best_ckpt_f': str(own / '..' / 'best_f.pth'),
        'best_ckpt_g': ['best_g.pth'],
        'best_ckpt_h': '',
    }
    checkpoint = state(**kept, **dropped)
    drop_foreign_state(checkpoint, [str(own), 's3://bucket/run/'])
    assert checkpoint['message_hub']['runtime_info'] == kept


def test_numbers_that_mmengine_compares_and_formats_are_numbers():
    checkpoint = state(best_score='high', best_score_a=0.5, keep_ckpt_ids=['../../other'])
    drop_foreign_state(checkpoint, [])
    assert checkpoint['message_hub']['runtime_info'] == dict(best_score_a=0.5)
    checkpoint = state(keep_ckpt_ids=[1, 2], loss=HistoryBuffer([1.0], [1]))
    drop_foreign_state(checkpoint, [])
    assert checkpoint['message_hub']['runtime_info'].keys() == {'keep_ckpt_ids', 'loss'}


@pytest.mark.parametrize('odd', [{}, {'meta': 3}, {'message_hub': 3}, {'message_hub': {}}])
def test_what_has_no_state_stays_as_it_is(odd):
    checkpoint = dict(odd)
    drop_foreign_state(checkpoint, [])
    assert checkpoint == odd

"""Training state of a checkpoint: nothing in it can execute code or delete files."""

import pytest
from mmengine.logging import HistoryBuffer

from casvit_mm.engine.resume.foreign_state import (
    check_progress,
    check_resumable,
    drop_foreign_state,
)
from casvit_mm.models.checkpoint import CheckpointError
from casvit_mm.models.checkpoint.content import Name, Record


def state(**runtime_info):
    hub = dict(log_scalars={}, runtime_info=runtime_info, resumed_keys={})
    return dict(meta=dict(epoch=1, iter=2), message_hub=hub)


def test_a_complete_state_is_accepted():
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
def test_a_run_cannot_be_resumed_from_an_incomplete_state(checkpoint, lacking):
    with pytest.raises(CheckpointError, match=lacking) as error:
        check_resumable(checkpoint, 'run.pth')
    assert 'load_from=run.pth' in str(error.value)


def test_the_config_of_the_run_that_wrote_the_file_is_dropped(tmp_path):
    checkpoint = state(cfg='import os', experiment_name='mine')
    checkpoint['meta'] |= dict(cfg='text')
    drop_foreign_state(checkpoint, [str(tmp_path)])
    assert checkpoint['meta'] == dict(epoch=1, iter=2, cfg='text')
    assert checkpoint['message_hub']['runtime_info'] == dict(experiment_name='mine')


def test_only_best_checkpoints_in_the_folders_of_the_run_may_be_deleted(tmp_path):
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


def test_values_that_mmengine_expects_to_be_numbers_are_dropped_if_they_are_not():
    checkpoint = state(best_score='high', best_score_a=0.5, keep_ckpt_ids=['../../other'])
    drop_foreign_state(checkpoint, [])
    assert checkpoint['message_hub']['runtime_info'] == dict(best_score_a=0.5)
    checkpoint = state(keep_ckpt_ids=[1, 2], loss=HistoryBuffer([1.0], [1]))
    drop_foreign_state(checkpoint, [])
    assert checkpoint['message_hub']['runtime_info'].keys() == {'keep_ckpt_ids', 'loss'}


@pytest.mark.parametrize('odd', [{}, {'meta': 3}, {'message_hub': 3}, {'message_hub': {}}])
def test_a_checkpoint_without_state_stays_as_it_is(odd):
    checkpoint = dict(odd)
    drop_foreign_state(checkpoint, [])
    assert checkpoint == odd


def test_a_checkpoint_from_beyond_the_end_of_the_run_is_refused():
    check_progress(state(), 2, 'run.pth')
    with pytest.raises(CheckpointError, match=r'run\.pth is from iteration 2, .* after 1'):
        check_progress(state(), 1, 'run.pth')


@pytest.mark.parametrize('odd', [Record('argparse.Namespace'), Name('torch.Tensor')])
def test_objects_in_the_hub_do_not_get_into_the_next_checkpoint(odd):
    shared = [1]
    checkpoint = state(a=odd, b=[{'c': (odd,)}], d=[shared, shared])
    drop_foreign_state(checkpoint, [])
    assert checkpoint['message_hub']['runtime_info'] == dict(d=[[1], [1]])


def test_only_histories_under_printable_names_are_resumed():
    checkpoint = state()
    history = HistoryBuffer([1.0], [1])
    hub = checkpoint['message_hub']
    hub['log_scalars'] = {'loss': history, 'text': 'a', '\x1b[2J': history, 3: history}
    hub['resumed_keys'] = {'loss': True, 'text': 'yes', '\x1b[2J': True, 3: True}
    drop_foreign_state(checkpoint, [])
    assert hub['log_scalars'] == {'loss': history}
    assert hub['resumed_keys'] == {'loss': True}

"""Which checkpoint of a finished run is used from then on."""

import pytest
import torch

from casvit.errors import CheckpointError
from casvit_mm.finetune.result import choose_checkpoint


@pytest.fixture
def run(tmp_path):
    """Writes the checkpoints of a run of 10 epochs, of which the second is the best."""

    def write(score):
        for name in ('best_coco_bbox_mAP_epoch_2.pth', 'epoch_10.pth'):
            hub = dict(runtime_info=dict(best_score=score)) if score is not None else {}
            content = dict(state_dict={'a': torch.zeros(1)}, message_hub=hub, meta={})
            torch.save(content, tmp_path / name)
        (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_10.pth'))
        return tmp_path

    return write


@pytest.mark.parametrize('score', [0.01, 0.43, None])
def test_the_best_checkpoint_is_used(score, run):
    found, note = choose_checkpoint(run(score), 'instance')
    assert found.name == 'best_coco_bbox_mAP_epoch_2.pth' and not note


@pytest.mark.parametrize('score', [0.0, 0.0009])
def test_the_last_one_is_used_if_no_checkpoint_has_learned_anything(score, run):
    found, note = choose_checkpoint(run(score), 'detection')
    assert found.name == 'epoch_10.pth'
    assert f'{score:.3f}' in note and 'hardly learned' in note


def test_scores_of_images_and_pixels_are_percent_and_always_tell_checkpoints_apart(run):
    assert choose_checkpoint(run(0.005), 'semantic')[0].name.startswith('best_')


def test_a_run_with_one_kind_of_checkpoint_uses_it(run):
    folder = run(0.0)
    next(folder.glob('best_*')).unlink()
    assert choose_checkpoint(folder, 'instance')[0].name == 'epoch_10.pth'
    (folder / 'epoch_10.pth').unlink()
    with pytest.raises(CheckpointError, match='no checkpoint'):
        choose_checkpoint(folder, 'instance')

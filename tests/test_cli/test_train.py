"""Training, and the errors that stop it."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.device import get_device
from quick_runs import DEMO, QUICK

from casvit import config_path
from casvit_mm.commands.train import _scale_learning_rate

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason='runs processes on CPUs')
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def damaged(shapes, tmp_path):
    """A copy of the dataset that tests may damage."""
    return Path(shutil.copytree(shapes, tmp_path / 'damaged'))


def test_a_run_leaves_checkpoint_config_log_and_images(work_dir):
    assert (work_dir / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    assert (work_dir / f'{DEMO}.py').is_file()
    assert list(work_dir.glob('*/*.log'))
    assert list((work_dir / 'preview').glob('*.jpg'))


def test_a_run_ends_by_printing_where_its_results_are(finished_run):
    ending = finished_run.out.rsplit('Training finished.', 1)[1]
    for word in ('last checkpoint', 'epoch_1.pth', 'images', 'preview', 'log'):
        assert word in ending


@pytest.fixture
def resume(call, shapes, checkpoint, tmp_path):
    """Resumes the finished run from a changed checkpoint, for no further epochs."""

    def run(change, *options):
        content = torch.load(checkpoint, weights_only=False)
        change(content)
        torch.save(content, tmp_path / 'changed.pth')
        where = ['--data-root', shapes, '--work-dir', tmp_path / 'run']
        return call('train', DEMO, *where, '--resume', tmp_path / 'changed.pth', *QUICK, *options)

    return run


def test_resuming_executes_no_config_and_deletes_nothing_that_the_checkpoint_names(
    resume, tmp_path
):
    precious = tmp_path / 'precious'
    precious.mkdir()
    payload = f'from pathlib import Path\nPath({str(tmp_path / "executed")!r}).touch()\na = 1'

    def change(content):
        content['meta']['config'] = payload
        info = content['message_hub']['runtime_info']
        info |= dict(cfg=payload, best_ckpt=str(precious), best_score=-1.0)
        content['message_hub']['resumed_keys'] |= dict(best_ckpt=True, best_score=True)

    best = ['train_cfg.max_epochs=2', 'default_hooks.checkpoint.save_best=coco/bbox_mAP']
    answer = resume(change, *best, 'default_hooks.checkpoint.rule=greater')
    assert answer.code == 0, answer.err
    assert not (tmp_path / 'executed').exists()
    assert precious.is_dir()
    assert list((tmp_path / 'run').glob('best_*.pth'))
    content = torch.load(tmp_path / 'run' / 'epoch_2.pth', weights_only=False)
    assert payload not in str(content['message_hub']['runtime_info'].get('cfg'))


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda content: content.pop('message_hub'), 'does not hold the state of a training run'),
        (lambda content: content.pop('meta'), 'meta.epoch'),
        (lambda content: content.update(meta=['a']), 'meta.epoch'),
        (lambda content: content['meta'].update(epoch='one'), 'meta.epoch'),
        (lambda content: content.update(optimizer='none'), 'state of another kind of run'),
        (lambda content: content['optimizer']['param_groups'].pop(), 'state of another kind'),
        (lambda content: content.update(param_schedulers=[3, 4]), 'state of another kind of run'),
    ],
    ids=['hub', 'meta', 'list', 'epoch', 'optimizer', 'groups', 'schedule'],
)
def test_a_checkpoint_without_the_state_of_this_run_is_a_sentence(change, said, resume):
    answer = resume(change)
    assert answer.code == 2, answer.err
    assert said in answer.err and 'changed.pth' in answer.err
    assert 'Traceback (most recent' not in answer.err


def test_a_moving_average_of_another_form_is_a_sentence(call, shapes, checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=False)
    torch.save({**content, 'ema_state_dict': [3]}, tmp_path / 'changed.pth')
    (tmp_path / 'own.py').write_text(
        f"_base_ = [{config_path(DEMO)!r}]\ncustom_hooks = [dict(type='EMAHook')]\n"
    )
    resume = ['--resume', 'changed.pth', '--work-dir', 'run']
    answer = call('train', 'own.py', '--data-root', shapes, *resume, *QUICK)
    assert answer.code == 2, answer.err
    assert 'changed.pth holds the state of another kind of run, or it is damaged: ' in answer.err


def test_a_checkpoint_to_resume_from_that_does_not_exist_is_named(call, shapes):
    answer = call('train', DEMO, '--data-root', shapes, '--resume', 'gone.pth')
    assert answer.code == 2
    assert 'gone.pth does not exist' in answer.err


def test_a_data_root_that_does_not_exist_is_named_with_how_to_generate_one(call):
    answer = call('train', DEMO, '--data-root', 'nowhere')
    assert answer.code == 2
    assert 'nowhere' in answer.err and 'generate_shapes' in answer.err
    assert 'Traceback' not in answer.err


def test_missing_coco_data_are_reported_with_their_source(call):
    answer = call('train', 'mask_rcnn_casvit', '--from-scratch', '--data-root', 'nowhere')
    assert answer.code == 2
    assert 'nowhere' in answer.err and 'cocodataset.org' in answer.err


def test_a_missing_annotation_file_is_named(call, damaged):
    (damaged / 'annotations' / 'instances_train.json').unlink()
    answer = call('train', DEMO, '--data-root', damaged)
    assert answer.code == 2
    assert 'instances_train.json' in answer.err


@pytest.mark.parametrize('content', ['no json at all', '[1, 2]', '{"images": []}'])
def test_an_annotation_file_that_is_not_coco_json_is_named(content, call, damaged):
    (damaged / 'annotations' / 'instances_train.json').write_text(content)
    answer = call('train', DEMO, '--data-root', damaged)
    assert answer.code == 2
    assert 'instances_train.json' in answer.err
    assert 'Traceback' not in answer.err


def test_an_image_that_is_listed_but_missing_is_named(call, damaged):
    gone = next(iter(sorted((damaged / 'train').iterdir())))
    gone.unlink()
    answer = call('train', DEMO, '--data-root', damaged)
    assert answer.code == 2
    assert gone.name in answer.err


def test_a_damaged_image_is_named_and_the_log_has_the_traceback(call, damaged, tmp_path):
    for path in (damaged / 'train').iterdir():
        path.write_bytes(b'no image')
    answer = call('train', DEMO, '--data-root', damaged, '--work-dir', tmp_path / 'run', *QUICK)
    assert answer.code == 2
    assert 'cannot be read' in answer.err
    assert 'Traceback' not in answer.err
    log = Path(answer.err.split('The traceback is in ')[1].strip())
    assert 'Traceback' in log.read_text()


def test_num_classes_that_does_not_match_the_data_is_named(call, shapes):
    option = 'model.roi_head.bbox_head.num_classes=80'
    answer = call('train', DEMO, '--data-root', shapes, '--cfg-options', option)
    assert answer.code == 2
    assert 'roi_head.bbox_head' in answer.err and '80' in answer.err


def test_a_value_that_the_model_refuses_is_reported_in_a_sentence(call, shapes):
    options = [*QUICK, 'model.backbone.arch=huge']
    answer = call('train', DEMO, '--data-root', shapes, *options)
    assert answer.code == 2
    assert 'huge' in answer.err.splitlines()[-2] + answer.err.splitlines()[-1]
    assert 'Traceback (most recent' not in answer.err


def test_missing_pretrained_weights_are_reported_with_the_command_that_gets_them(call):
    answer = call('train', 'mask_rcnn_casvit')
    assert answer.code == 2
    for word in ('cas-vit-m.pth in checkpoints', 'casvit weights get cas-vit-m', '--from-scratch'):
        assert word in answer.err


@pytest.mark.skipif(get_device() != 'cpu', reason='is about machines without GPU')
def test_mixed_precision_without_a_gpu_is_bfloat16(call, shapes, tmp_path):
    # Some CPUs take ten times as long in bfloat16: a single step.
    where = ['--data-root', shapes, '--work-dir', tmp_path]
    single = ['train_dataloader.dataset.indices=4', 'train_cfg.val_begin=2']
    answer = call('train', DEMO, '--amp', *where, *QUICK, *single)
    assert answer.code == 0, answer.err
    assert "type='BFloat16OptimWrapper'" in (tmp_path / f'{DEMO}.py').read_text()


def recipe() -> Config:
    """The part of a config that decides about scaling the learning rate."""
    return Config(
        dict(
            train_dataloader=dict(batch_size=4),
            auto_scale_lr=dict(enable=False, base_batch_size=32),
        )
    )


def test_a_batch_size_other_than_the_recipes_is_noted(capsys):
    cfg = recipe()
    _scale_learning_rate(cfg, False, 'none')
    said = capsys.readouterr().out
    assert '32' in said and '4' in said and '--auto-scale-lr' in said
    assert not cfg.auto_scale_lr.enable


def test_the_recipes_batch_over_all_processes_is_not_noted(capsys, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '8')
    _scale_learning_rate(recipe(), False, 'pytorch')
    assert capsys.readouterr().out == ''


def test_auto_scale_lr_is_switched_on():
    cfg = recipe()
    _scale_learning_rate(cfg, True, 'none')
    assert cfg.auto_scale_lr.enable


@without_gpu
@pytest.mark.skipif(sys.platform != 'linux', reason='reads what Linux says of threads')
@pytest.mark.parametrize('mistake', [[], ['model.neck.type=Missing']], ids=['finished', 'mistaken'])
def test_no_thread_of_a_process_group_outlives_its_run(
    mistake, call, shapes, tmp_path, started_by_torchrun
):
    where = ['--data-root', shapes, '--work-dir', tmp_path, '--launcher', 'pytorch']
    answer = call('train', DEMO, *where, *QUICK, *mistake)
    assert answer.code == (2 if mistake else 0), answer.err
    names = set()
    for path in Path('/proc/self/task').glob('*/comm'):
        # Other threads may end meanwhile.
        with contextlib.suppress(OSError):
            names.add(path.read_text().strip())
    assert names
    assert not [name for name in names if 'gloo' in name]


@without_gpu
def test_two_processes_train_and_test_together_on_a_cpu(shapes, tmp_path):
    scripts = REPOSITORY / 'tools'
    options = [*QUICK, 'train_dataloader.batch_size=2']
    env = {**os.environ, 'PORT': '29617', 'PYTHON': sys.executable}
    shared = ['--data-root', shapes, '--work-dir', tmp_path, *options]
    trained = subprocess.run(
        [scripts / 'dist_train.sh', DEMO, '2', *shared],
        env=env,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert trained.returncode == 0, trained.stderr[-3000:]
    assert trained.stdout.count('Training finished. In ') == 1
    weights = tmp_path / 'epoch_1.pth'
    tested = subprocess.run(
        [scripts / 'dist_test.sh', DEMO, weights, '2', *shared],
        env=env,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert tested.returncode == 0, tested.stderr[-3000:]
    assert tested.stdout.count('\nbox ') == tested.stdout.count('\nmask ') == 1

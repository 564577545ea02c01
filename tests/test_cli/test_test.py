"""Evaluating and predicting, and the errors that stop it."""

import json
import pickle
import re
import shutil

import pytest
import torch
from quick_runs import DEMO, QUICK


def test_a_checkpoint_gives_the_coco_table_for_boxes_and_masks(call, shapes, checkpoint, tmp_path):
    answer = call(
        'test',
        DEMO,
        checkpoint,
        '--data-root',
        shapes,
        '--out',
        tmp_path / 'o' / 'raw.pkl',
        '--show-dir',
        'drawn',
        *QUICK,
    )
    assert answer.code == 0
    assert re.search(r'AP +AP50 +AP75.*\nbox +[\d.]+ .*\nmask +[\d.]+ ', answer.out)
    assert len(pickle.loads((tmp_path / 'o' / 'raw.pkl').read_bytes())) == 4
    assert len(list((tmp_path / 'drawn').glob('*'))) == 4


def test_test_time_augmentation_keeps_boxes_and_masks_and_debug_shows_the_complete_log(
    call, shapes, checkpoint
):
    answer = call('test', DEMO, checkpoint, '--tta', '--debug', '--data-root', shapes, *QUICK)
    assert answer.code == 0
    assert 'coco/bbox_mAP' in answer.out and 'coco/segm_mAP' in answer.out
    for part in ('System environment', 'custom_hooks = [', 'creating index', 'Average Precision'):
        assert part in answer.out


def test_format_only_writes_coco_files_without_annotations(call, shapes, checkpoint, tmp_path):
    root = shutil.copytree(shapes, tmp_path / 'unannotated')
    truth = json.loads((root / 'annotations' / 'instances_val.json').read_text())
    del truth['annotations']
    (root / 'annotations' / 'image_info.json').write_text(json.dumps(truth))
    (root / 'annotations' / 'instances_val.json').unlink()
    # After two iterations, all scores are low.
    options = [
        *QUICK,
        'test_dataloader.dataset.ann_file=annotations/image_info.json',
        'model.test_cfg.rcnn.score_thr=0.0',
    ]
    prefix = tmp_path / 'server' / 'val'
    answer = call('test', DEMO, checkpoint, '--data-root', root, '--format-only', prefix, *options)
    assert answer.code == 0, answer.err
    boxes = json.loads(prefix.with_name('val.bbox.json').read_text())
    masks = json.loads(prefix.with_name('val.segm.json').read_text())
    ids = {image['id'] for image in truth['images']}
    categories = {category['id'] for category in truth['categories']}
    assert boxes and {record['image_id'] for record in boxes} <= ids
    assert {record['category_id'] for record in boxes} <= categories
    assert {'image_id', 'category_id', 'score', 'segmentation'} <= masks[0].keys()
    assert 'val.bbox.json' in answer.out and 'val.segm.json' in answer.out


def test_format_only_without_a_list_of_images_says_what_it_needs(call, checkpoint, tmp_path):
    answer = call('test', DEMO, checkpoint, '--data-root', tmp_path, '--format-only', 'x', *QUICK)
    assert answer.code == 2
    assert 'image_info_test-dev2017.json' in answer.err


def test_a_checkpoint_that_does_not_exist_is_named(call, shapes):
    answer = call('test', DEMO, 'gone.pth', '--data-root', shapes)
    assert answer.code == 2
    assert 'gone.pth does not exist' in answer.err


def test_a_file_that_is_not_a_checkpoint_is_named(call, shapes, tmp_path):
    (tmp_path / 'text.pth').write_text('no weights')
    answer = call('test', DEMO, 'text.pth', '--data-root', shapes, *QUICK)
    assert answer.code == 2
    assert 'text.pth' in answer.err and 'not a checkpoint' in answer.err
    assert 'Traceback' not in answer.err


def test_weights_of_another_size_are_refused(call, shapes, checkpoint):
    options = [*QUICK, 'model.backbone.arch=s', 'model.neck.in_channels=[48,64,128,256]']
    answer = call('test', DEMO, checkpoint, '--data-root', shapes, *options)
    assert answer.code == 2
    assert 'looks like size XS' in answer.err


def test_weights_without_a_head_are_refused(call, shapes, checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=False)
    weights = {k: v for k, v in content['state_dict'].items() if 'roi_head' not in k}
    torch.save({'state_dict': weights}, tmp_path / 'part.pth')
    answer = call('test', DEMO, 'part.pth', '--data-root', shapes, *QUICK)
    assert answer.code == 2
    assert 'missing' in answer.err and 'roi_head' in answer.err


@pytest.mark.parametrize('name', ['raw.json', 'raw'])
def test_raw_predictions_are_a_pickle(name, call, checkpoint):
    answer = call('test', DEMO, checkpoint, '--out', name)
    assert answer.code == 2
    assert '.pkl' in answer.err

"""Commands that only inspect: browse_dataset and get_flops."""

import re

import cv2
import pytest
from quick_runs import DEMO

from casvit_mm.benchmark.flops import input_shape
from casvit_mm.config.read import load_config


# The training pipeline resizes image and annotations, the validation pipeline only the image. Both
# sides are drawn enlarged: 4 x 160 and 7 x 96.
@pytest.mark.parametrize('split, side', [('train', 640), ('val', 672)])
def test_browse_dataset_draws_the_output_of_the_pipeline(split, side, call, shapes, tmp_path):
    answer = call(
        'browse_dataset',
        DEMO,
        '--data-root',
        shapes,
        '--split',
        split,
        '--number',
        '3',
        '--out-dir',
        'look',
    )
    assert answer.code == 0, answer.err
    drawn = list((tmp_path / 'look').glob('*.jpg'))
    assert len(drawn) == 3
    # There may be a legend below the image.
    height, width = cv2.imread(str(drawn[0])).shape[:2]
    assert width == side and height >= side


def test_browse_dataset_draws_at_most_the_whole_split_into_the_work_dir(call, shapes, tmp_path):
    answer = call(
        'browse_dataset', DEMO, '--data-root', shapes, '--split', 'val', '--work-dir', 'run'
    )
    assert answer.code == 0, answer.err
    assert len(list((tmp_path / 'run' / 'browse').glob('*.jpg'))) == 4


def test_browse_dataset_names_a_data_root_that_does_not_exist(call):
    answer = call('browse_dataset', DEMO, '--data-root', 'nowhere')
    assert answer.code == 2
    assert 'nowhere' in answer.err


def test_get_flops_counts_the_published_parameters_and_macs(call):
    answer = call('get_flops', 'retinanet_casvit', '--shape', '224', '224')
    assert answer.code == 0, answer.err
    parameters, macs = re.search(r'backbone +([\d,]+) +([\d.]+)', answer.out).groups()
    # The published backbone, without the output norm of the stage that RetinaNet does not use.
    assert int(parameters.replace(',', '')) == 11_652_224 - 2 * 64
    # The published figure does not count normalisation.
    assert float(macs) == pytest.approx(1.859, rel=0.02)
    assert 'GMACs' in answer.out and 'FLOPs' not in answer.out


@pytest.mark.parametrize(
    ('name', 'height', 'width', 'gmacs'),
    [
        ('casvit-xs_8xb128_in1k', 224, 224, 0.547),
        ('casvit-m_8xb64_in1k-384px', 384, 384, 1.859 * (384 / 224) ** 2),
    ],
)
def test_get_flops_of_a_classifier_are_those_of_its_own_input_size(
    name, height, width, gmacs, call
):
    answer = call('get_flops', name)
    assert answer.code == 0, answer.err
    assert f'input 3 x {height} x {width}' in answer.out
    assert float(re.search(r'model +[\d,]+ +([\d.]+)', answer.out)[1]) == pytest.approx(
        gmacs, rel=0.02
    )


@pytest.mark.parametrize(
    ('name', 'shape'),
    [
        ('mask_rcnn_casvit', (800, 1280)),
        ('rtmdet_casvit', (640, 640)),
        ('mask_rcnn_casvit-xs_demo_shapes', (160, 160)),
        ('semantic_fpn_casvit', (512, 512)),
        ('casvit-xs_8xb64_in1k-384px', (384, 384)),
    ],
)
def test_every_model_has_its_usual_input_size(name, shape):
    assert input_shape(load_config(name)) == shape


def test_get_flops_prints_the_number_of_proposals_of_a_two_stage_detector(call):
    answer = call('get_flops', DEMO, '--shape', '160', '160')
    assert answer.code == 0, answer.err
    assert re.search(r'counted on \d+ proposals', answer.out)

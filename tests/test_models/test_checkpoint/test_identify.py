"""Published weights are what their name says, or are refused."""

from functools import cache

import published
import pytest
import torch

from casvit.errors import CheckpointError
from casvit.tables import PUBLISHED_WEIGHTS
from casvit_mm.models.checkpoint.identify import check_published
from casvit_mm.models.checkpoint.publish import publish

NAMES = {
    'retinanet': 'retinanet_casvit-{}_fpn_1x_coco',
    'mask_rcnn': 'mask_rcnn_casvit-{}_fpn_1x_coco',
    'semantic_fpn': 'semantic_fpn_casvit-{}_40k_ade20k-512x512',
}


@cache
def dense(head):
    weights = {f'backbone.{k}': v for k, v in published.weights('xs', 'backbone').items()}
    return {**weights, **published.weights('xs', f'{head}_neck_and_head')}


@pytest.fixture
def save(tmp_path):
    def write(weights, key='state_dict'):
        torch.save({key: weights}, tmp_path / 'file.pth')
        return tmp_path / 'file.pth'

    return write


def refused(file, name):
    with pytest.raises(CheckpointError) as error:
        check_published(file, PUBLISHED_WEIGHTS[name])
    assert str(file) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize('size', ['xs', 'm'])
def test_a_published_classifier_is_recognised_with_two_heads_and_with_one(size, save):
    weights = published.weights(size, 'classification')
    expected = f'a classifier with CAS-ViT-{size.upper()}, 1,000 classes'
    for name in (f'cas-vit-{size}', f'cas-vit-{size}-384px'):
        assert check_published(save(weights, 'model'), PUBLISHED_WEIGHTS[name]) == expected
    one = {key: value for key, value in weights.items() if not key.startswith('dist_head')}
    assert check_published(save(one, 'model'), PUBLISHED_WEIGHTS[f'cas-vit-{size}']) == expected


@pytest.mark.parametrize(
    'head, model',
    [
        ('retinanet', 'a RetinaNet with CAS-ViT-XS, 80 classes'),
        ('mask_rcnn', 'a Mask R-CNN with CAS-ViT-XS, 80 classes'),
        ('semantic_fpn', 'a Semantic FPN with CAS-ViT-XS, 150 classes'),
    ],
)
def test_a_published_detector_or_segmentor_is_recognised(head, model, save, tmp_path):
    weights = PUBLISHED_WEIGHTS[NAMES[head].format('xs')]
    file = save(dense(head))
    assert check_published(file, weights) == model
    # The same in the layout of this package.
    assert check_published(publish(file, tmp_path / 'native.pth'), weights) == model


def test_another_size_is_refused(save):
    sentence = refused(save(published.weights('s', 'classification'), 'model'), 'cas-vit-xs')
    assert 'a classifier with CAS-ViT-S, 1,000 classes' in sentence
    assert 'cas-vit-xs is a classifier with CAS-ViT-XS, 1,000 classes' in sentence


def test_another_model_is_refused(save):
    sentence = refused(save(dense('retinanet')), NAMES['mask_rcnn'].format('xs'))
    assert 'holds a RetinaNet' in sentence and 'is a Mask R-CNN' in sentence
    assert 'holds a Semantic FPN' in refused(save(dense('semantic_fpn')), 'cas-vit-xs')


def test_another_number_of_classes_is_refused(save):
    weights = published.weights('xs', 'classification')
    weights['head.weight'], weights['head.bias'] = torch.zeros(10, 220), torch.zeros(10)
    assert '10 classes; cas-vit-xs' in refused(save(weights, 'model'), 'cas-vit-xs')


def test_a_backbone_alone_is_refused(save):
    sentence = refused(save(published.weights('xs', 'backbone')), 'cas-vit-xs')
    assert 'a model without a known head with CAS-ViT-XS' in sentence


def test_a_missing_layer_or_one_of_another_shape_is_refused(save):
    weights = published.weights('xs', 'classification')
    del weights['network.2.0.attn.dwc.weight']
    assert 'stages.1.0.mixer.context.weight' in refused(save(weights, 'model'), 'cas-vit-xs')
    weights = published.weights('xs', 'classification')
    weights['patch_embed.3.weight'] = weights['patch_embed.3.weight'][:, :12]
    assert 'stem.3.weight' in refused(save(weights, 'model'), 'cas-vit-xs')


def test_weights_of_something_else_and_files_that_are_no_checkpoints_are_refused(save, tmp_path):
    assert 'holds no CAS-ViT' in refused(save({'a': torch.zeros(1)}), 'cas-vit-xs')
    file = tmp_path / 'page.pth'
    file.write_text('<html></html>')
    assert 'is not a checkpoint' in refused(file, 'cas-vit-xs')

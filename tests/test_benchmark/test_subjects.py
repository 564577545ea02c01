"""The measured models are correct: all variants give the same results, and gradients arrive."""

import pytest
import torch

from casvit.tables import ARCHITECTURES, PEERS, UNPUBLISHED
from casvit_mm.benchmark import subjects
from casvit_mm.benchmark.cases import Case
from casvit_mm.benchmark.peers import build_peer, published_casvit
from casvit_mm.benchmark.subjects import change, prepare

DETECTORS = ('retinanet_casvit-xs_fpn_1x_coco', 'mask_rcnn_casvit-xs_fpn_1x_coco')


def subject(model, variant, precision='fp32', mode='inference', side=64):
    case = Case(str(model), variant, precision, mode, image_size=side)
    torch.manual_seed(0)
    image = torch.randn(1, 3, side, side)
    build = subjects._full_model if case.kind == 'config' else subjects._backbone
    built = build(case, image)
    change(built.model, case)
    return built


def config(configs, name):
    return next(configs.glob(f'*/{name}.py'))


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
@pytest.mark.parametrize('variant', ['reference', 'eager', 'folded'])
def test_a_training_step_reaches_every_parameter(variant, precision):
    built = subject('xs', variant, precision, 'training', side=32)
    built.loss().backward()
    assert all(parameter.grad is not None for parameter in built.model.parameters())


def test_training_computes_the_same_loss_in_every_variant():
    losses = [
        float(subject('xs', variant, mode='training').loss())
        for variant in ('reference', 'eager', 'folded')
    ]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


@pytest.mark.parametrize('name', DETECTORS)
def test_a_full_detector_returns_the_maximum_number_of_objects_in_every_variant(configs, name):
    found = []
    for variant in ('reference', 'eager', 'fused'):
        built = subject(config(configs, name), variant)
        with torch.no_grad():
            (sample,) = built.predict()
        head = built.model.roi_head if name.startswith('mask') else built.model.bbox_head
        # Detections above the threshold are also found without it.
        assert 0.99 < head.test_cfg.score_thr / sample.pred_instances.scores.min() < 1
        found.append(sample.pred_instances.scores)
        assert ('masks' in sample.pred_instances) == name.startswith('mask')
    assert len(found[0]) == 100
    for scores in found[1:]:
        assert torch.allclose(scores, found[0], atol=1e-4)


@pytest.mark.parametrize('name', [*DETECTORS, 'semantic_fpn_casvit-xs_40k_ade20k-512x512'])
def test_a_full_model_trains_on_the_given_objects(configs, name):
    losses = []
    for variant in ('reference', 'folded'):
        built = subject(config(configs, name), variant, mode='training')
        torch.manual_seed(1)
        loss = built.loss()
        loss.backward()
        losses.append(float(loss))
        assert built.model.backbone.stem[0].weight.grad.abs().max() > 0
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_segmentor_predicts_a_semantic_mask_and_a_classifier_a_class(configs):
    with torch.no_grad():
        segmentor = config(configs, 'semantic_fpn_casvit-xs_40k_ade20k-512x512')
        (sample,) = subject(segmentor, 'fused').predict()
        assert sample.pred_sem_seg.data.shape == (1, 64, 64)
        (sample,) = subject(config(configs, 'casvit-xs_8xb128_in1k'), 'fused').predict()
        assert sample.pred_label.numel() == 1


def test_a_peer_outputs_feature_maps_of_strides_4_to_32():
    pytest.importorskip('timm')
    for name in ('resnet18', 'repvit_m1_1', 'swin_tiny_patch4_window7_224', 'hornet_tiny'):
        with torch.no_grad():
            levels = build_peer(name)(torch.rand(1, 3, 128, 160))
        assert [tuple(level.shape[2:]) for level in levels] == [(32, 40), (16, 20), (8, 10), (4, 5)]


def test_a_peer_can_be_run_with_its_branches_merged():
    pytest.importorskip('timm')
    image = torch.rand(1, 3, 64, 64)
    networks = [
        subjects._peer(Case('repvit_m1_1', each, image_size=64)) for each in ('reference', 'eager')
    ]
    networks[1].load_state_dict(networks[1].state_dict())
    assert sum(1 for _ in networks[1].modules()) < sum(1 for _ in networks[0].modules())
    for network in networks:
        assert len(network(image)) == 4


def test_every_peer_is_known_to_the_library_that_builds_it():
    timm = pytest.importorskip('timm')
    of_timm = {key for key, peer in PEERS.items() if peer.backbone == 'TimmPyramid'}
    assert not of_timm - set(timm.list_models())
    assert {peer.backbone for peer in PEERS.values()} == {'TimmPyramid', 'HorNetPyramid'}


def test_every_published_figure_has_a_source_and_no_source_stands_alone():
    of_peers = [peer.published for peer in PEERS.values()]
    for each in (*of_peers, *map(published_casvit, ARCHITECTURES)):
        assert (each.box_ap is None) == (not each.source)
        assert (each.miou is None) == (not each.miou_source)
        assert all(30 < figure < 50 for figure in (each.box_ap, each.miou) if figure)


def test_the_accuracy_of_cas_vit_is_that_of_its_paper():
    assert [(each.box_ap, each.miou) for each in map(published_casvit, ('xs', 's', 'm', 't'))] == [
        (37.4, 37.1),
        (39.8, 41.3),
        (42.3, 43.6),
        (43.5, 45.0),
    ]
    assert published_casvit('l') == UNPUBLISHED


@pytest.mark.parametrize('mode', ['inference', 'training'])
def test_one_call_does_the_work_of_a_case(mode):
    prepare(Case('xs', 'eager', mode=mode, image_size=32))()

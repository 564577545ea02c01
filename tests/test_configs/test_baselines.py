"""Other backbones under the necks, heads and recipes of CAS-ViT: each builds, learns, predicts."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from peer_models import HEADS, build_with, losses_and_predictions

from casvit.errors import CheckpointError, CliError
from casvit.tables import PEERS
from casvit_mm.finetune.base import choose_base
from casvit_mm.finetune.start import read_start
from casvit_mm.models import CASViT, HorNetPyramid

timm = pytest.importorskip('timm')
for toolbox in ('mmdet', 'mmseg'):
    pytest.importorskip(toolbox)

REPOSITORY = Path(__file__).parents[2]
NO_FIGURE = '\N{EN DASH}'
# Every peer with one of the heads; the others are tried where there is time.
IN_TURN = [(HEADS[index % len(HEADS)], peer) for index, peer in enumerate(PEERS)]
OTHERS = [(head, peer) for peer in PEERS for head in HEADS if (head, peer) not in IN_TURN]
OF_TIMM = [key for key, peer in PEERS.items() if peer.backbone == 'TimmPyramid']
# The layers of these are those of a smaller one.
LARGER = (
    *('pvt_v2_b1', 'pvt_v2_b2', 'swiftformer_l1', 'swiftformer_l3', 'repvit_m1_5'),
    *('fastvit_sa24', 'tiny_vit_21m_224'),
)


@pytest.mark.parametrize(
    'head, peer',
    [
        *(each for each in IN_TURN if each[1] not in LARGER),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in (*IN_TURN, *OTHERS)
            if each not in IN_TURN or each[1] in LARGER
        ),
    ],
)
def test_a_peer_learns_and_predicts_with_images_of_odd_sizes(configs, head, peer):
    model = build_with(configs, head, peer)
    loss, (answer,) = losses_and_predictions(model, head)
    assert loss.isfinite()
    # Without a neck's norm, a gradient reaches everything that is trained.
    assert all(p.grad is not None for p in model.backbone.parameters())
    assert model.backbone.out_channels == PEERS[peer].channels[-len(model.backbone.out_channels) :]
    if head == 'semantic_fpn':
        assert answer.pred_sem_seg.data.shape == (1, 70, 90)
        assert answer.seg_logits.data.isfinite().all()
    else:
        assert answer.pred_instances.scores.isfinite().all()
        assert ('masks' in answer.pred_instances) == (head == 'mask_rcnn')


@pytest.mark.parametrize('peer', OF_TIMM)
def test_a_peer_in_the_table_is_normalised_as_its_weights_in_timm_are(peer):
    wanted = timm.get_pretrained_cfg(peer)
    for ours, theirs in ((PEERS[peer].mean, wanted.mean), (PEERS[peer].std, wanted.std)):
        assert ours == pytest.approx([255 * value for value in theirs])


def test_hornet_is_normalised_as_its_weights_in_mmpretrain_are():
    mmpretrain = pytest.importorskip('mmpretrain')
    config = Path(mmpretrain.__file__).parent / '.mim/configs/hornet/hornet-tiny_8xb128_in1k.py'
    wanted = Config.fromfile(config).data_preprocessor
    peer = PEERS['hornet_tiny']
    assert wanted.to_rgb
    assert [*peer.mean] == wanted.mean and [*peer.std] == wanted.std


@pytest.mark.parametrize('head', HEADS)
def test_a_baseline_differs_from_the_recipe_of_cas_vit_only_in_its_backbone(configs, head):
    folder = 'segmentation' if head == 'semantic_fpn' else 'detection'
    ours = Config.fromfile(configs / folder / f'{head}_casvit.py')
    baseline = Config.fromfile(configs / 'baselines' / f'{head}_peer.py')
    assert baseline.model.neck.in_channels != ours.model.neck.in_channels
    for cfg in (ours, baseline):
        cfg.model.pop('backbone')
        cfg.model.neck.pop('in_channels')
    baseline.pop('peers')
    assert baseline.to_dict() == ours.to_dict()


@pytest.mark.parametrize('head', HEADS)
def test_one_word_of_a_users_config_chooses_the_peer(configs, tmp_path, head):
    base = configs / 'baselines' / f'{head}_peer.py'
    own = tmp_path / 'own.py'
    own.write_text(f'_base_ = {str(base)!r}\nmodel = _base_.peers.pvt_v2_b0\n')
    cfg = Config.fromfile(own)
    assert cfg.model.backbone.name == 'pvt_v2_b0'
    assert cfg.model.neck.in_channels == [32, 64, 160, 256][-len(cfg.model.neck.in_channels) :]
    assert cfg.model.neck.type == 'FPN'


def test_the_page_lists_every_peer_with_its_channels_and_its_published_figure():
    page = (REPOSITORY / 'docs/baselines.md').read_text(encoding='utf-8')
    _, listed = page.split('\n## Backbones\n')
    rows = [line for line in listed.splitlines() if line.startswith('| ') and '`' in line]
    assert rows == [
        f'| {peer.name} | `{peer.key}` | {", ".join(map(str, peer.channels))} | '
        f'{peer.published.box_ap or NO_FIGURE} | {peer.published.source} | '
        f'{peer.published.miou or NO_FIGURE} | {peer.published.miou_source} |'
        for peer in PEERS.values()
    ]


# Fine-tuning


def finetune_base(config, checkpoint=None, size=None):
    start = checkpoint and read_start(str(checkpoint), any_backbone=True)
    return choose_base(Namespace(config=str(config), heads=None, task=None, size=size), start)


def test_finetune_takes_a_baseline_and_the_weights_of_timm(configs, tmp_path):
    file = tmp_path / 'repvit.pth'
    torch.save(timm.create_model('repvit_m1_1').state_dict(), file)
    base = finetune_base(configs / 'baselines/retinanet_peer.py', file)
    start = read_start(str(file), any_backbone=True)
    assert base.task == 'detection'
    assert base.config.model.backbone.name == 'resnet50'
    # Its classifier is no head of a detector: the file is for the backbone.
    assert not start.is_whole('detection')
    weights = {f'backbone.network.{key}': value for key, value in start.weights.items()}
    torch.save({'state_dict': weights, 'meta': {}}, file)
    assert read_start(str(file), any_backbone=True).is_whole('detection')


def test_finetune_takes_only_the_backbone_of_a_classifier_of_mmpretrain(configs, tmp_path):
    backbone, file = HorNetPyramid('hornet_tiny'), tmp_path / 'hornet.pth'
    weights = {
        f'backbone.{key.removeprefix("network.")}': value
        for key, value in backbone.network.state_dict().items()
    }
    weights |= {'head.fc.weight': torch.zeros(10, 512), 'head.fc.bias': torch.zeros(10)}
    torch.save({'state_dict': weights, 'meta': {}}, file)
    start = read_start(str(file), any_backbone=True)
    assert start.task == 'classification'
    assert not start.is_whole('instance') and start.is_whole('classification')
    assert finetune_base(configs / 'baselines/mask_rcnn_peer.py', file).task == 'instance'


def test_finetune_refuses_what_does_not_fit_a_baseline(configs, tmp_path):
    peer = configs / 'baselines/mask_rcnn_peer.py'
    with pytest.raises(CliError, match=r'Size S \(--size\) .*mask_rcnn_peer, whose .* resnet50'):
        finetune_base(peer, size='s')
    file = tmp_path / 'backbone.pth'
    torch.save(CASViT('xs').state_dict(), file)
    with pytest.raises(CliError, match=r'Size XS \(the CAS-ViT in .*backbone\.pth\)'):
        finetune_base(peer, file)
    torch.save(timm.create_model('resnet18').state_dict(), file)
    with pytest.raises(CheckpointError, match='holds no CAS-ViT'):
        finetune_base(configs / 'detection/mask_rcnn_casvit.py', file)

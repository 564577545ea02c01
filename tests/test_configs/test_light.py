"""The light family: each config builds, learns and predicts, and costs less than its backbone."""

import re

import pytest
import torch
from mmengine import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData, PixelData

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

from casvit_mm.benchmark.flops import count
from casvit_mm.models import ARCHITECTURES

FAMILY = {
    'retinanet': 'detection/retinanet_casvit',
    'mask_rcnn': 'detection/mask_rcnn_casvit',
    'semantic_fpn': 'segmentation/semantic_fpn_casvit',
}
SIDE = 128


@pytest.fixture(params=FAMILY)
def head(request):
    return request.param


@pytest.fixture
def file(head, configs):
    return configs / f'{FAMILY[head]}_light.py'


def test_one_word_changes_the_size(file, tmp_path):
    assert file.read_text().count('casvit_sizes.xs') == 1
    for size, architecture in ARCHITECTURES.items():
        child = tmp_path / f'{size}.py'
        child.write_text(f'_base_ = {str(file)!r}\nmodel = _base_.casvit_sizes.{size}\n')
        model = Config.fromfile(child).model
        assert model.backbone.arch == size
        stages = model.backbone.out_indices
        assert model.neck.in_channels == [architecture.channels[stage] for stage in stages]


def sample(head, classes):
    meta = dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape'), (SIDE, SIDE))
    if head == 'semantic_fpn':
        from mmseg.structures import SegDataSample

        labels = torch.randint(classes, (1, SIDE, SIDE))
        return SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=labels))
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    objects = InstanceData(bboxes=torch.tensor([[30.0, 20, 100, 90]]), labels=torch.tensor([7]))
    if head == 'mask_rcnn':
        mask = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
        mask[0, 20:90, 30:100] = 1
        objects.masks = BitmapMasks(mask.numpy(), SIDE, SIDE)
    meta |= dict(batch_input_shape=(SIDE, SIDE), scale_factor=(1.0, 1.0))
    nothing = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0))
    return DetDataSample(metainfo=meta, gt_instances=objects, ignored_instances=nothing)


def test_a_light_model_builds_learns_and_predicts(head, file):
    cfg = Config.fromfile(file)
    cfg.model.backbone.init_cfg = None
    threshold = cfg.model.test_cfg.get('rcnn', cfg.model.test_cfg)
    threshold.score_thr = 0.0
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = revert_sync_batchnorm(MODELS.build(cfg.model))
    model.init_weights()
    images, samples = torch.rand(2, 3, SIDE, SIDE), [sample(head, 150) for _ in range(2)]
    loss, _ = model.train().parse_losses(model(images, samples, mode='loss'))
    loss.backward()
    assert loss.isfinite()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    with torch.no_grad():
        answer = model.eval()(images, samples, mode='predict')[0]
    if head == 'semantic_fpn':
        assert answer.pred_sem_seg.data.shape == (1, SIDE, SIDE)
    else:
        found = answer.pred_instances
        assert len(found) == (30 if head == 'mask_rcnn' else 100)
        assert found.bboxes.isfinite().all()
        assert ('masks' in found) == (head == 'mask_rcnn')


def test_neck_and_heads_cost_a_fraction_of_the_smallest_backbone(file):
    (whole, backbone), _ = count(Config.fromfile(file), 512, 512)
    parameters, operations = ([row[column] for row in (whole, backbone)] for column in (1, 2))
    assert operations[0] - operations[1] < 0.4 * operations[1]
    assert parameters[0] - parameters[1] < 0.4 * parameters[1]


def test_the_demo_trains_the_same_heads_as_the_shipped_config(head, file, configs):
    def layers(path):
        cfg = Config.fromfile(path)
        cfg.model.backbone.init_cfg = None
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            model = MODELS.build(cfg.model)
        # RetinaNet has layers of each level; the demo starts at a lower one.
        return {
            re.sub(r'\.\d+\.', '.', name): tuple(value.shape)
            for name, value in model.named_parameters()
            if not name.startswith('backbone') and 'lateral' not in name
        }

    shipped = layers(file)
    demo = layers(configs / f'{FAMILY[head]}-xs_light_demo_shapes.py')
    assert demo.keys() == shipped.keys()
    # Only the number of classes and of anchors differs, in the last layers.
    last = ('retina_cls', 'rpn_cls', 'rpn_reg', 'fc_cls', 'conv_seg')
    assert all(any(part in name for part in last) for name in demo if demo[name] != shipped[name])


def test_every_light_config_is_in_the_table(configs):
    names = {file.stem for file in configs.glob('*/*light*.py')}
    stems = [path.split('/')[1] for path in FAMILY.values()]
    assert names == {
        f'{stem}{kind}' for stem in stems for kind in ('_light', '-xs_light_demo_shapes')
    }

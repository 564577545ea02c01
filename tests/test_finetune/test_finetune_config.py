"""The config of a fine-tuning, filled with whatever class names and paths a dataset brings."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from casvit.configs import config_path
from casvit.errors import CliError
from casvit_mm.config.read import load_config
from casvit_mm.config.view import ConfigView
from casvit_mm.finetune import config, data
from casvit_mm.finetune.changes import Identifier
from casvit_mm.finetune.config import OF_RECIPES, config_text, literal
from casvit_mm.finetune.plan import Plan

pytest.importorskip('mmdet')
DEMOS = dict(
    detection='retinanet_casvit-xs_demo_shapes',
    instance='mask_rcnn_casvit-xs_demo_shapes',
    semantic='semantic_fpn_casvit-xs_demo_shapes',
)
RUNS = "open('ran','w')"
PIECES = [
    *("'", '"', '"""', '\\', '{', '{{', '}}', '<<', '>>', '<%', '%>', '<#', '#', '\n', '\r', ','),
    *('\u2028', '\x00', '\udcff', '\u200d', 'é', '猫', ' ', ')', ']', 'a', RUNS, f'),x:={RUNS},('),
    *('{{$NOT_SET:1}}', '{{ fileBasename }}', '{{_base_.model}}', '<< classes >>', '<% raw %>'),
]
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=6).map(''.join), st.text(st.characters())
)


@cache
def base(name):
    return load_config(name)


def make_plan(task, name=None, classes=('cat', 'dog'), root=Path('/data'), test=False, **options):
    """A plan for 100 images below a folder, from random weights unless options say otherwise."""
    names = ['train', 'val', *(['test'] if test else [])]
    splits = {name: data.OwnSplit(root / f'{name}.json', root / name, 100) for name in names}
    ignore_index = options.pop('ignore_index', 255)
    palette = [(index, 0, 255) for index in range(len(classes))]
    own = data.OwnData(list(classes), palette, splits, ignore_index, [])
    work_dir = options.pop('work_dir', Path('/run'))
    return Plan(*(root, base(name or DEMOS[task]), own, task, work_dir), image_size=320, **options)


def parsed(text):
    with TemporaryDirectory() as folder:
        file = Path(folder) / 'config.py'
        file.write_text(text, encoding='utf-8')
        return Config.fromfile(file)


@pytest.mark.parametrize('task', ['instance', 'semantic'])
@settings(max_examples=25)
@given(classes=st.lists(TEXTS, max_size=4), folder=TEXTS, balance=st.booleans())
@example(classes=PIECES, folder=f"'),x:={RUNS},('", balance=True)
@example(classes=['a'], folder=f'coding: utf-7\n{RUNS}', balance=True)
def test_the_config_holds_exactly_the_names_and_paths_of_the_data_and_runs_none(
    task, tmp_path_factory, classes, folder, balance
):
    root = Path('/') / f'data {folder}'
    options = dict(balance=balance and task == 'instance', work_dir=root / 'run')
    plan = make_plan(task, classes=classes, root=root, load_from=root / 'model.pth', **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp('run'))
        cfg = parsed(config_text(plan))
        backbone = replace(plan, load_from=None, backbone_file=root / 'b.pth')
        start = parsed(config_text(backbone)).model.backbone.init_cfg
        assert not list(Path.cwd().iterdir()), 'something ran'
    assert start.type == 'Pretrained' and start.checkpoint == str(root / 'b.pth')
    assert list(cfg.classes) == classes and len(cfg.palette) == len(classes)
    assert cfg.work_dir == str(root / 'run') and cfg.load_from == str(root / 'model.pth')
    for split in ('train', 'val'):
        (dataset,) = ConfigView(cfg).datasets(split)
        assert list(dataset['metainfo']['classes']) == classes
        assert dataset['ann_file'] == str(root / f'{split}.json')
        prefixes = {Path(prefix) for prefix in dataset['data_prefix'].values()}
        assert prefixes == {root / split}
    assert not set(cfg.keys()) & {'ran', 'x'}


@pytest.mark.parametrize(
    ('task', 'name'),
    [
        ('detection', 'retinanet_casvit-m_fpn_1x_coco'),
        ('detection', 'rtmdet_casvit-s_8xb32-300e_coco'),
        ('detection', 'fcos_casvit-s_fpn_1x_coco'),
        ('detection', 'dino_casvit-s_8xb2-12e_coco'),
        ('instance', 'mask_rcnn_casvit-xs_fpn_1x_coco'),
        ('instance', 'rtmdet_ins_casvit-s_8xb32-300e_coco'),
        ('instance', 'cascade_mask_rcnn_casvit-s_fpn_1x_coco'),
        ('semantic', 'semantic_fpn_casvit-xs_40k_ade20k-512x512'),
        ('semantic', 'segformer_casvit-s_80k_ade20k-512x512'),
        ('semantic', 'upernet_casvit-s_80k_ade20k-512x512'),
        ('semantic', 'mask2former_semantic_casvit-s_160k_ade20k-512x512'),
        ('semantic', 'deeplabv3plus_casvit-s_80k_ade20k-512x512'),
    ],
)
@pytest.mark.parametrize('test', [False, True])
def test_every_head_of_a_shipped_config_gets_the_classes_and_keeps_the_rest(task, name, test):
    cfg = parsed(config_text(make_plan(task, name, classes='abcde', test=test)))
    counts = list(ConfigView(cfg).class_counts())
    assert [key for key, _ in counts] == [key for key, _ in ConfigView(base(name)).class_counts()]
    assert {count for _, count in counts} == {5}
    kinds = [hook['type'] for hook in cfg.custom_hooks]
    kept = (hook['type'] for hook in base(name).custom_hooks if hook['type'] not in OF_RECIPES)
    switch = [] if task == 'semantic' else ['PipelineSwitchHook']
    assert kinds == [*kept, 'EMAHook', *switch]
    (dataset,) = ConfigView(cfg).datasets('test')
    assert dataset['ann_file'] == f'/data/{"test" if test else "val"}.json'


def test_a_config_that_was_named_by_a_relative_path_is_inherited_from_anywhere(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path('own.py').write_text(f'_base_ = {config_path("retinanet_casvit_light")!r}\n')
    assert parsed(config_text(make_plan('detection', 'own.py'))).model.type == 'RetinaNet'


def test_mask2former_counts_its_classes_as_things():
    name = 'mask2former_casvit-s_8xb2-lsj-50e_coco'
    model = parsed(config_text(make_plan('instance', name, classes='abcde'))).model
    for head in (model.panoptic_head, model.panoptic_fusion_head):
        assert (head.num_things_classes, head.num_stuff_classes) == (5, 0)
    assert model.panoptic_head.loss_cls.class_weight == [1.0] * 5 + [0.1]


@pytest.mark.parametrize('task', DEMOS)
@pytest.mark.parametrize('much', [False, True])
def test_the_config_is_as_tidy_as_one_written_by_hand(task, much):
    options = dict(freeze=2, layer_decay=0.8, patience=3, balance=task != 'semantic', test=True)
    plan = make_plan(task, **(dict(load_from=Path('/m.pth'), **options) if much else {}))
    text = config_text(plan)
    lines = text.splitlines()
    assert text.endswith(']\n') or text.endswith(')\n')
    assert len(lines) < 200 and max(map(len, lines)) <= 100
    assert not any(line != line.rstrip() for line in lines) and '\n\n\n' not in text
    opened = 0
    for line in lines:
        closes = line.strip()[:1] in (')', ']')
        if line:
            assert len(line) - len(line.lstrip()) == 4 * (opened - closes), line
        opened += sum(map(line.count, '([')) - sum(map(line.count, ')]'))


def test_pixels_to_ignore_count_in_no_head_of_a_segmentor():
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    name = 'upernet_casvit-s_80k_ade20k-512x512'
    cfg = parsed(config_text(make_plan('semantic', name, ignore_index=11)))
    init_default_scope('mmseg')
    cfg.model.decode_head.channels = cfg.model.auxiliary_head.channels = 8
    model = MODELS.build(cfg.model)
    labels = torch.zeros(1, 64, 64, dtype=torch.long)
    labels[:, :8] = 11
    sample = SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=dict(img_shape=(64, 64)))
    with torch.no_grad():
        losses = model.loss(torch.zeros(2, 3, 64, 64), [sample, sample])
    assert all(value.isfinite() for key, value in losses.items() if 'loss' in key)
    assert cfg.val_evaluator.ignore_index == cfg.model.data_preprocessor.seg_pad_val == 11


def test_class_weights_of_another_dataset_are_left_out_of_every_head(tmp_path):
    weights = dict(loss_decode=dict(class_weight=[1.0] * 150))
    (tmp_path / 'own.py').write_text(
        f'_base_ = {base("upernet_casvit-s_80k_ade20k-512x512").filename!r}\n'
        f'model = dict(decode_head={weights}, auxiliary_head={weights})\n'
    )
    cfg = parsed(config_text(make_plan('semantic', str(tmp_path / 'own.py'))))
    for head in (cfg.model.decode_head, cfg.model.auxiliary_head):
        assert head.loss_decode.type == 'CrossEntropyLoss'
        assert head.loss_decode.class_weight is None


@pytest.mark.parametrize('ignore_index', [255, 11])
def test_a_base_config_without_hooks_is_fine(ignore_index, tmp_path):
    (tmp_path / 'own.py').write_text(
        f'_base_ = {base(DEMOS["semantic"]).filename!r}\ncustom_hooks = None\n'
    )
    plan = make_plan('semantic', str(tmp_path / 'own.py'), ignore_index=ignore_index, patience=3)
    kinds = [hook['type'] for hook in parsed(config_text(plan)).custom_hooks]
    assert kinds == ['EMAHook', 'EarlyStoppingHook']


def test_hooks_of_the_base_config_keep_their_options(tmp_path):
    (tmp_path / 'own.py').write_text(
        f'_base_ = {base(DEMOS["semantic"]).filename!r}\n'
        "custom_hooks = [dict(type='LabelRangeHook'), dict(type='UnreadableFilesHook', a='{}')]\n"
    )
    plan = make_plan('semantic', str(tmp_path / 'own.py'), ignore_index=0, ema=False)
    assert parsed(config_text(plan)).custom_hooks == [
        dict(type='LabelRangeHook', ignore_index=0),
        dict(type='UnreadableFilesHook', a='{}'),
    ]


def test_configs_of_other_tasks_are_refused_in_a_sentence():
    with pytest.raises(CliError, match='is for instance, not for --task detection'):
        config_text(make_plan('detection', DEMOS['instance']))


@pytest.mark.parametrize('value', [Path('/data'), float('nan'), object(), len, [object()]])
def test_what_has_no_literal_is_not_written(value):
    with pytest.raises((ValueError, SyntaxError)):
        literal(value)


@pytest.mark.parametrize('name', ['', 'a b', 'a=1', '1', 'class', "x'", '__import__("os")'])
def test_what_is_no_identifier_is_not_written_without_quotes(name):
    with pytest.raises(ValueError, match='not a Python identifier'):
        Identifier(name)


def test_a_value_that_a_template_lacks_is_named(monkeypatch):
    monkeypatch.setattr(config, '_schedule', lambda plan: {})
    with pytest.raises(UndefinedError, match="'val_interval' is undefined"):
        config_text(make_plan('detection'))

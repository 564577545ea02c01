"""The config in a checkpoint is data: whatever runs save can be read, and nothing is executed."""

import copy
import math
import time

import pytest
from mmengine.config import Config

from casvit.errors import UserError
from casvit_mm.config.text import escape_braces
from casvit_mm.config.view import ConfigView
from casvit_mm.inference import config_text
from casvit_mm.inference.saved_config import SavedConfigError, read_saved_config
from casvit_mm.models import TOKEN_MIXERS

SMALL = dict(
    default_scope='mmdet',
    model=dict(type='RetinaNet', backbone=dict(type='CASViT', arch='xs')),
    test_dataloader=dict(
        dataset=dict(
            type='CocoDataset',
            pipeline=[dict(type='LoadImageFromFile'), dict(type='PackDetInputs')],
        )
    ),
)


def dumped(values):
    """The text of a config without formatting, which takes a second and changes line ends."""
    return Config(values, format_python_code=False).pretty_text


def shipped(configs):
    return sorted(p for p in configs.rglob('*.py') if '_base_' not in p.relative_to(configs).parts)


def without_weights(value):
    if isinstance(value, dict):
        return {
            key: None if key in ('init_cfg', 'pretrained') else without_weights(inner)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(map(without_weights, value))
    return value


def assert_read(read, cfg):
    """The parts that were read equal those of the config."""
    cfg, read = cfg.to_dict(), read.to_dict()
    assert set(read) == {'default_scope', 'model', 'test_dataloader'}
    assert read['default_scope'] == cfg['default_scope']
    assert read['model'] == without_weights(cfg['model'])
    dataset, own = read['test_dataloader']['dataset'], ConfigView(cfg).test_dataset()
    assert dataset['type'] == own['type']
    steps = [step for step in own['pipeline'] if not step['type'].startswith('Load')]
    assert [s for s in dataset['pipeline'] if not s['type'].startswith('Load')] == steps
    assert [s['type'] for s in dataset['pipeline']] == [s['type'] for s in own['pipeline']]


def test_every_shipped_config_is_read_as_a_run_saves_it(configs):
    files = shipped(configs)
    assert len(files) > 40
    for file in files:
        cfg = Config.fromfile(file)
        assert_read(read_saved_config(escape_braces(dumped(cfg.to_dict())), file.name), cfg)


@pytest.mark.parametrize(
    'name',
    [
        'detection/mask_rcnn_casvit-xs_demo_shapes',
        'segmentation/semantic_fpn_casvit-xs_demo_shapes',
        'classification/casvit-xs_demo_shapes',
    ],
)
def test_the_demos_are_read_in_the_layout_of_mmengine(name, configs):
    cfg = Config.fromfile(configs / f'{name}.py')
    assert_read(read_saved_config(escape_braces(cfg.pretty_text), name), cfg)


def text(**changes):
    """The text of a small config with some values changed."""
    return dumped({**copy.deepcopy(SMALL), **changes})


def test_names_and_colours_of_classes_are_kept_whatever_they_are():
    names = ['street/light', '{{fileBasename}}', 'os.system("x")', 'straße', 'https://a', "a'b\\"]
    dataset = copy.deepcopy(SMALL['test_dataloader']['dataset'])
    dataset['metainfo'] = dict(classes=names, palette=[(1, 2, 3)] * 6, other='/etc/passwd')
    wrapped = dict(type='RepeatDataset', times=1, dataset=dict(dataset, data_root='/data/'))
    cfg = read_saved_config(escape_braces(text(test_dataloader=dict(dataset=wrapped))), 'a.pth')
    assert cfg.test_dataloader.dataset.metainfo == dict(classes=names, palette=[(1, 2, 3)] * 6)


def test_class_names_given_as_a_file_are_not_used(tmp_path):
    dataset = copy.deepcopy(SMALL['test_dataloader']['dataset'])
    dataset['metainfo'] = dict(classes='/etc/passwd')
    cfg = read_saved_config(text(test_dataloader=dict(dataset=dataset)), 'a.pth')
    assert cfg.test_dataloader.dataset.metainfo == {}


def test_what_inference_does_not_need_is_dropped():
    cfg = read_saved_config(
        text(
            work_dir='/somewhere/else',
            load_from='https://example.org/a.pth',
            train_dataloader=dict(dataset=dict(type='my.Dataset', data_root='/data')),
            custom_imports=dict(imports=['casvit_mm'], allow_failed_imports=False),
        ),
        'a.pth',
    )
    assert set(cfg.to_dict()) == {'default_scope', 'model', 'test_dataloader'}


def test_pretrained_weights_are_dropped_at_every_depth():
    model = copy.deepcopy(SMALL['model'])
    model['init_cfg'] = dict(type='Pretrained', checkpoint='https://example.org/a.pth')
    model['backbone'] |= dict(init_cfg=[dict(type='Pretrained', checkpoint='/a/b.pth')])
    model['neck'] = [dict(type='FPN', inner=dict(pretrained='torchvision://resnet50'))]
    cfg = read_saved_config(text(model=model), 'a.pth')
    assert cfg.model.init_cfg is None and cfg.model.backbone.init_cfg is None
    assert cfg.model.neck[0].inner.pretrained is None


def test_numbers_without_a_literal_are_read():
    model = {**SMALL['model'], 'test_cfg': dict(a=[-1, float('inf'), -float('inf'), float('nan')])}
    values = read_saved_config(text(model=model), 'a.pth').model.test_cfg.a
    assert values[:3] == [-1, math.inf, -math.inf] and math.isnan(values[3])


def test_keys_that_are_not_names_are_read():
    model = {**SMALL['model'], 'test_cfg': {'0': 1, 'a-b': dict(c=2)}}
    assert read_saved_config(text(model=model), 'a.pth').model.test_cfg == {
        '0': 1,
        'a-b': dict(c=2),
    }


def test_a_data_preprocessor_next_to_the_model_becomes_part_of_it():
    part = dict(type='DetDataPreprocessor', mean=[1, 2, 3])
    assert read_saved_config(text(data_preprocessor=part), 'a.pth').model.data_preprocessor == part


@pytest.mark.parametrize('name', [*TOKEN_MIXERS.module_dict])
def test_every_token_mixer_of_this_package_is_known(name):
    for mixer in (dict(type=name), [dict(type=name)] * 2 + [dict(type='CASMixer')] * 2):
        model = dict(type='RetinaNet', backbone=dict(type='CASViT', arch='xs', mixer=mixer))
        assert read_saved_config(text(model=model), 'a.pth').model.backbone.mixer == mixer


def test_a_checkpoint_without_a_config_asks_for_one():
    with pytest.raises(SavedConfigError, match=r"^a\.pth contains no config.*config='\.\.\.'"):
        read_saved_config(None, 'a.pth')


BROKEN = 'the_marker_of_code_that_ran'


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module that marks its import, and a config file that marks its run."""
    for name in ('evil_module', 'evil_config'):
        (tmp_path / f'{name}.py').write_text(f'open({str(tmp_path / BROKEN)!r}, "w")\nname = dict')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / BROKEN).exists()


MARK = f'open("{BROKEN}", "w")'
HOSTILE = {
    'call': f'a = {MARK}',
    'call of dict with a call': f'a = dict(b={MARK})',
    'call of dict with stars': f'a = dict(**{MARK})',
    'call of dict with stars of data': "a = dict(**{'b': 1})",
    'dict with stars of data': "a = {**{'b': 1}}",
    'call of dict with a list': 'a = dict([("b", 1)])',
    'dict with stars': f'a = {{**{MARK}}}',
    'key of a call': f'a = {{{MARK}: 1}}',
    'import': f'a = __import__("os").system("touch {BROKEN}")',
    'import statement': 'import evil_module',
    'import from': 'from evil_module import name',
    'lambda': f'a = (lambda: {MARK})()',
    'f-string': f'a = f"{{{MARK}}}"',
    'comprehension': f'a = [{MARK} for _ in (1,)]',
    'generator': f'a = list({MARK} for _ in (1,))',
    'attribute': 'a = ().__class__.__bases__',
    'subscript': 'a = [1][0]',
    'name': 'a = dict',
    'operator': 'a = 1 + 1',
    'power': 'a = 9 ** 9 ** 9',
    'conditional': 'a = 1 if 1 else 2',
    'bytes': "a = b'x'",
    'set': "a = {'x'}",
    'ellipsis': 'a = ...',
    'complex': 'a = 1j',
    'walrus': 'a = (b := 1)',
    'two targets': 'a = b = 1',
    'unpacking': 'a, b = 1, 2',
    'target of an attribute': 'a.b = 1',
    'annotation': 'a: int = 1',
    'augmented': 'a += 1',
    'expression': MARK,
    'def': f'def f():\n    {MARK}',
    'class': f'class A:\n    a = {MARK}',
    'decorator': f'@{MARK}\ndef f(): pass',
    'with': f'with {MARK}: pass',
    'assert': f'assert {MARK}',
    'delete': 'del a',
    'starred': f'a = [*{MARK}]',
    'braces of mmengine': 'a = {{_base_.b}}',
    'no python': 'a = = 1',
    'null': 'a = 1\0',
    'indented': '  a = 1',
}


@pytest.mark.parametrize('line', HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize('first', [True, False])
def test_text_that_is_not_data_is_refused_and_not_run(line, first, trap):
    parts = [line, text()] if first else [text(), line]
    with pytest.raises(SavedConfigError, match=r"^The config in a\.pth is refused: .*config='"):
        read_saved_config('\n'.join(parts), 'a.pth')


def model_with(**more):
    return dict(model={**SMALL['model'], **more})


def dataset_with(**more):
    dataset = {**copy.deepcopy(SMALL['test_dataloader']['dataset']), **more}
    return dict(test_dataloader=dict(dataset=dataset))


LEADING_OUT = {
    'type is a function': (model_with(type='os.system'), 'os.system'),
    'type is a module of a toolbox': (model_with(type='mmdet.models.FPN'), 'mmdet.models.FPN'),
    'type is no name of a toolbox': (model_with(type='mmseg.system'), 'mmseg.system'),
    'type is of another package': (model_with(type='casvit_mm.CASViT'), 'casvit_mm.CASViT'),
    'type is a module of the path': (model_with(type='evil_module.name'), 'evil_module.name'),
    'type is unknown': (model_with(neck=dict(type='NoSuchNeck')), 'NoSuchNeck'),
    'type of a model for a transform': (dataset_with(pipeline=[dict(type='RetinaNet')]),
                                        'RetinaNet'),
    'type of a transform for a model': (model_with(type='Resize'), 'Resize'),
    'type is a builtin': (model_with(neck=dict(type='eval')), 'eval'),
    'type is a number': (model_with(neck=dict(type=3)), '3'),
    'type is a list': (model_with(neck=dict(type=['nms'])), 'nms'),
    'dataset is unknown': (dataset_with(type='evil_module.name'), 'evil_module.name'),
    'operator is code': (model_with(test_cfg=dict(nms=dict(type='open("x")'))), 'open'),
    'text is code': (model_with(warp='getattr(os, "system")'), 'getattr'),
    'text is a path': (model_with(a='/etc/passwd'), '/etc/passwd'),
    'text is a path up': (model_with(a=['..']), "'..'"),
    'text is a windows path': (model_with(a='C:\\x'), 'C:'),
    'text is a file': (model_with(a='evil_config.py'), 'evil_config.py'),
    'text is an address': (model_with(a='https://example.org'), 'https://example.org'),
    'config of a teacher': (model_with(teacher_config='evil_config'), 'teacher_config'),
    'checkpoint by a word': (model_with(checkpoint_path='evil'), 'checkpoint_path'),
    'model of a hub': (model_with(name_or_path='gpt2'), 'name_or_path'),
    'scope in a part': (model_with(neck=dict(type='FPN', _scope_='evil_module')), '_scope_'),
    'key is code': (model_with(**{'a.b': 1}), 'a.b'),
    'pipeline with a path': (dataset_with(pipeline=[dict(type='Resize', a='/x')]), '/x'),
    'pipeline is no list': (dataset_with(pipeline=dict(type='Resize')), 'pipeline'),
    'pipeline of words': (dataset_with(pipeline='Resize'), 'pipeline'),
    'no pipeline': (dataset_with(pipeline=[]), 'pipeline'),
    'no dataset': (dict(test_dataloader=None), 'pipeline'),
    'no model': (dict(model=None), 'model'),
    'model is a name': (dict(model='RetinaNet'), 'model'),
    'imports': (dict(custom_imports=dict(imports=['evil_module'])), 'evil_module'),
    'imports beside ours': (dict(custom_imports=dict(imports=['casvit_mm', 'evil_module'])),
                            'evil_module'),
    'imports as a text': (dict(custom_imports='evil_module'), 'evil_module'),
    'bases': (dict(_base_=['evil_config.py']), '_base_'),
    'scope': (dict(default_scope='evil_module'), 'evil_module'),
    'scope is no text': (dict(default_scope=['mmdet']), 'mmdet'),
}  # fmt: skip


@pytest.mark.parametrize(('changes', 'named'), LEADING_OUT.values(), ids=LEADING_OUT)
def test_references_to_anything_outside_the_config_are_refused_by_name(changes, named, trap):
    with pytest.raises(
        SavedConfigError, match=r"^The config in a\.pth is refused: .*config='"
    ) as e:
        read_saved_config(text(**changes), 'a.pth')
    assert named in str(e.value) and len(str(e.value)) < 300


DEEP = {
    'brackets': 'a = ' + '[' * 150 + ']' * 150,
    'more brackets than the parser bears': 'a = ' + '[' * 100_000,
    'dicts': 'a = ' + 'dict(b=' * 150 + '1' + ')' * 150,
    'signs': 'a = ' + '-' * 100_000 + '1',
    'sums': 'a = ' + '1+' * 100_000 + '1',
    'attributes': 'a = ' + 'a.' * 100_000 + 'b',
    'calls': 'a = f' + '(1)' * 100_000,
    'targets': 'a = ' * 100_000 + '1',
    'digits': 'a = ' + '9' * 100_000,
    'huge': 'a = 1\n' * 200_000,
    'a long word': 'a = ' + 'b' * 900_000,
    'no text': ['a = 1'],
    'bytes': b'a = 1',
    'a dict': {'model': 1},
}


@pytest.mark.parametrize('content', DEEP.values(), ids=DEEP)
def test_deep_or_huge_configs_are_refused_quickly(content):
    began = time.process_time()
    with pytest.raises(SavedConfigError, match=r'^The config in a\.pth is refused: ') as refused:
        read_saved_config(content, 'a.pth')
    assert len(str(refused.value)) < 300
    assert time.process_time() - began < 20


def test_a_config_with_many_classes_is_read():
    names = [f'class number {index}' for index in range(1203)]
    dataset = copy.deepcopy(SMALL['test_dataloader']['dataset'])
    dataset['metainfo'] = dict(classes=names, palette=[(200, 201, 202)] * 1203)
    loader = dict(dataset=dataset)
    content = text(test_dataloader=loader, val_dataloader=loader, train_dataloader=loader)
    assert len(content) < config_text.LONGEST
    cfg = read_saved_config(content, 'a.pth')
    assert cfg.test_dataloader.dataset.metainfo.classes == names


def test_the_error_is_printed_as_a_sentence_by_commands():
    assert issubclass(SavedConfigError, UserError)

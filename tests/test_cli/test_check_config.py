"""casvit check_config: what a config does is listed, and none of it is done."""

import json
from pathlib import Path

import pytest

from casvit.cli.main import main
from casvit.configs import shipped_configs
from casvit_mm.config.beyond_data import look_through

HARMFUL = {
    'an import': ('import os', 'imports os'),
    'an import below another name': ('import os as dict', 'imports os'),
    'an import of a name': ('from os import system as dict', 'imports system from os'),
    'a relative import': ('from .other import thing', 'imports thing from .other'),
    'a module of this package': (
        'from casvit_mm.commands.finetune import subprocess',
        'imports subprocess from casvit_mm.commands.finetune',
    ),
    'a module of mmengine': ('from mmengine.config import os', 'imports os from mmengine.config'),
    'a call': ("a = open('/etc/passwd').read()", 'calls open'),
    'a call in an argument': ("model = dict(type=eval('1'))", 'calls eval'),
    'a call in a condition': ("a = 1 if exec('1') else 2", 'calls exec'),
    'a call in a list': ("a = [__import__('os') for _ in (1,)]", 'calls __import__'),
    'a call in a default': ("def f(a=exec('1')): pass", 'calls exec'),
    'a call of an element': ("__builtins__['eval']('1')", "calls __builtins__['eval']"),
    'a call of a call': ('(lambda: 1)()', 'defines a function (lambda)'),
    'a call in a text': ("a = f'{print(1)}'", 'calls print'),
    'a decorator': ('@print\nclass A: pass', 'defines the class A'),
    'a method': ("a = 'x'.encode().decode('unicode_escape')", "calls 'x'.encode"),
    'a way out of values': ('a = ().__class__.__base__', 'reads the attribute __class__'),
    'a function': ('def f():\n    pass', 'defines the function f'),
    'a context': ("with open('a') as f:\n    pass", 'opens a context'),
    'the environment': ("a = '{{$HOME:/x}}'", 'reads the environment variable HOME'),
    'a module to register': (
        "custom_imports = dict(imports=['casvit_mm', 'evil'])",
        'imports evil (custom_imports)',
    ),
    'a module in braces': (
        "custom_imports = {'imports': 'evil', 'allow_failed_imports': False}",
        'imports evil (custom_imports)',
    ),
    'modules that are added up': (
        "custom_imports = dict(imports=_base_.custom_imports.imports + ['evil'])",
        'imports evil (custom_imports)',
    ),
    'a class of a module': ("model = dict(type='torch.nn.Linear')", 'imports the class torch.nn'),
    'a base of another package': ("_base_ = 'mmdet::fcos/a.py'", 'was not looked at'),
    'a base on the web': ("_base_ = ['https://x.y/a.py']", 'was not looked at'),
}


@pytest.mark.parametrize('name', HARMFUL)
def test_what_is_more_than_a_value_is_listed_and_not_done(name, tmp_path, capsys):
    text, finding = HARMFUL[name]
    file = tmp_path / 'a.py'
    touch = tmp_path / 'touched'
    file.write_text(f'{text}\nimport pathlib\npathlib.Path({str(touch)!r}).touch()\n')
    assert main(['check-config', str(file)]) == 1
    said = capsys.readouterr().out
    assert finding in said and 'imports pathlib' in said
    assert not touch.exists()


def test_values_are_only_values_and_weights_are_named(tmp_path, capsys):
    (tmp_path / 'base.py').write_text("model = dict(type='FCOS', size=[1, *range(3)])\n")
    (tmp_path / 'a.py').write_text(
        "_base_ = ['base.py']\n"
        "model = dict(backbone=dict(init_cfg=dict(checkpoint='https://x.y/w.pth')))\n"
        "load_from = 'mine.pth'\n"
        'lr = min(1e-3, round(0.5 * len(_base_.model.size), 2))\n'
        'best = {{_base_.model.type}}\n'
    )
    assert main(['check_config', str(tmp_path / 'a.py')]) == 0
    said = capsys.readouterr().out
    assert said.count('values only') == 1
    assert 'names the weights https://x.y/w.pth' in said and 'the weights mine.pth' in said


def test_findings_of_bases_are_listed_with_their_file_and_line(tmp_path, capsys):
    (tmp_path / 'bases').mkdir()
    (tmp_path / 'bases/one.py').write_text("_base_ = '../two.py'\n\nimport socket\n")
    (tmp_path / 'two.py').write_text("_base_ = 'bases/one.py'\n")
    (tmp_path / 'a.py').write_text("_base_ = ['bases/one.py']\n")
    assert main(['check_config', str(tmp_path / 'a.py')]) == 1
    rows = capsys.readouterr().out.splitlines()
    assert '  line 3: imports socket' in rows
    assert rows[rows.index('  line 3: imports socket') - 1].endswith('one.py')
    assert rows[-1].startswith('1 of 3 files does more')


def test_the_newer_style_of_bases_is_followed(tmp_path):
    (tmp_path / 'base.py').write_text('import socket\n')
    (tmp_path / 'a.py').write_text(
        'from mmengine.config import read_base\nwith read_base():\n    from .base import *\n'
    )
    a, base = look_through(tmp_path / 'a.py')
    assert not a.findings and [each.text for each in base.findings] == ['imports socket']


@pytest.mark.parametrize('suffix', ['.json', '.yaml'])
def test_values_of_other_formats_are_looked_at_too(suffix, tmp_path, capsys):
    values = dict(custom_imports=dict(imports=['evil']), model=dict(type='a.b.C'))
    (tmp_path / f'a{suffix}').write_text(json.dumps(values))
    assert main(['check_config', str(tmp_path / f'a{suffix}')]) == 1
    said = capsys.readouterr().out
    assert 'imports evil (custom_imports)' in said and 'imports the class a.b.C' in said


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('a.py', b'a = (1,'),
        ('a.py', b'a = "\xff"'),
        ('a.py', b'a = 1\0'),
        ('a.py', b'a = ' + b'(' * 100_000 + b')' * 100_000),
        ('a.py', b'a = ' + b'-' * 200_000 + b'1'),
        ('a.json', b'[' * 100_000),
        ('a.yaml', b'!!python/object/apply:os.system ["true"]'),
        ('a.py', b'#' * 6_000_000),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_parsed_is_a_sentence(name, content, tmp_path, capsys):
    (tmp_path / name).write_bytes(content)
    assert main(['check_config', str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert 'The config' in said and 'Traceback' not in said


def test_a_small_file_that_unfolds_to_a_huge_tree_takes_no_time(tmp_path):
    lines = ['a0: &a0 [1, 2]', *(f'a{i}: &a{i} [*a{i - 1}, *a{i - 1}]' for i in range(1, 60))]
    (tmp_path / 'a.yaml').write_text('\n'.join(lines))
    assert not look_through(tmp_path / 'a.yaml')[0].findings


def test_a_base_that_is_not_there_is_a_sentence(tmp_path, capsys):
    (tmp_path / 'a.py').write_text("_base_ = 'nowhere.py'\n")
    assert main(['check_config', str(tmp_path / 'a.py')]) == 2
    assert 'nowhere.py cannot be read' in capsys.readouterr().err


def test_configs_of_this_package_are_values():
    for path in sorted(shipped_configs().rglob('*.py')):
        for file in look_through(path):
            assert not file.findings, file.path


def test_configs_of_a_toolbox_are_read():
    mmdet = pytest.importorskip('mmdet')
    folder = Path(mmdet.__file__).parent / '.mim/configs'
    (file, *_) = look_through(folder / 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py')
    assert not file.findings
    assert 'open-mmlab://detectron/resnet50_caffe' in file.weights

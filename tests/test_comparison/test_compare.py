"""The command that compares token mixers and other backbones; its times are not tested."""

import copy
import json

import numpy as np
import pytest
from PIL import Image
from quick_runs import run_tool

from casvit.tables import PEERS, UNPUBLISHED, PublishedAccuracy
from casvit_mm.comparison import candidates
from casvit_mm.comparison.candidates import (
    mixer_candidates,
    peer_candidates,
    size_candidates,
    words_of,
)
from casvit_mm.comparison.plan import Settings, growth_cases, speed_group
from casvit_mm.comparison.record import command_of, keep_record
from casvit_mm.models import TOKEN_MIXERS
from casvit_mm.report.comparison.page import comparison_page
from casvit_mm.report.comparison.plots import comparison_plots
from casvit_mm.report.comparison.times import standings_of

SETTINGS = Settings('xs', 64, ('eager', 'exported'), (32, 48, 64), 8, 1, 0.01, 1, 'cpu')
QUICK = (
    '--no-peers --mixers CASMixer --variants eager --image-size 32 --growth-sizes 32 48 64 '
    '--batch-size 1 --turns 1 --seconds 0.01 --threads 1 --device cpu'
)


def spread(median):
    return dict(median=median, low=median, high=median)


def case(seconds, ratio, variant='eager', batch=1, mode='inference', mixer=None):
    return dict(
        variant=variant,
        name=variant,
        mode=mode,
        batch_size=batch,
        image_size=64,
        mixer=mixer,
        seconds=spread(seconds),
        ratio=spread(ratio),
        peak_memory=2**30,
    )


def series(exponent, seconds=1.0):
    points = [[side**2, seconds * (side / 64) ** (2 * exponent)] for side in (32, 48, 64)]
    steepest = dict(operator='an_operator', exponent=exponent)
    macs = dict(points=points, exponent=exponent, steepest=steepest)
    return dict(seconds=dict(points=points, exponent=exponent), macs=macs, failures=[])


def entry(label, kind, box_ap, *cases, growth, failures=()):
    cells = [[0.0, -1.0], [-2.0, -4.0]]
    field = dict(side=64, sides={'20%': 5, '50%': 21, '90%': 43}, centre=[32, 32], map=cells)
    return dict(
        label=label,
        kind=kind,
        published=PublishedAccuracy(box_ap, 'a paper' if box_ap else '')._asdict(),
        facts=dict(parameters=3_200_000, macs=1_870_000_000, activations=21_500_000),
        receptive_field=field,
        speed=dict(title=label, yardstick=0, cases=list(cases), failures=list(failures)),
        growth=growth,
    )


@pytest.fixture
def record():
    """Three models; when the last was measured, the machine was half as fast."""
    ours, other = dict(mixer='CASMixer'), dict(mixer='SelfAttentionMixer')
    failure = dict(case(0, 1, 'exported'), reason='ONNX has no such operator')
    return dict(
        date='2026-01-01',
        machine=dict(processor='A processor', threads=1, versions=dict(torch='2.13.0')),
        settings=json.loads(json.dumps(vars(SETTINGS))),
        models={
            'CASMixer': entry(
                'CAS-ViT XS',
                'mixer',
                37.4,
                case(0.02, 1.0, **ours),
                case(0.01, 2.0, 'exported', **ours),
                case(0.08, 0.25, batch=8, **ours),
                case(0.1, 0.2, mode='training', batch=2, **ours),
                growth=dict(model=series(1.0), mixer=series(1.0, 0.01)),
            ),
            'SelfAttentionMixer': entry(
                'Self attention',
                'mixer',
                None,
                case(0.02, 1.0, **ours),
                case(0.04, 0.5, **other),
                growth=dict(model=series(1.5), mixer=series(2.0, 0.02)),
                failures=[failure],
            ),
            'resnet18': entry(
                'ResNet-18',
                'peer',
                34.0,
                case(0.04, 1.0, **ours),
                case(0.02, 2.0),
                growth=dict(model=series(1.1)),
            ),
        },
    )


def test_times_are_compared_through_the_turns_of_the_yardstick(record):
    found = {each.label: each for each in standings_of(record)}
    assert {label: each.seconds for label, each in found.items()} == pytest.approx(
        {'CAS-ViT XS': 0.01, 'ResNet-18': 0.01, 'Self attention': 0.04}
    )
    assert found['CAS-ViT XS'].variant == 'exported'
    assert found['CAS-ViT XS'].ours and not found['ResNet-18'].ours


def test_the_page_shows_what_was_measured_and_leaves_empty_what_was_not(record):
    other = copy.deepcopy(record)
    other['machine'] |= dict(gpu='A GPU')
    plots = [dict(area='a.png', accuracy='b.png', receptive_fields='c.png'), {}]
    page = comparison_page([record, other], plots, ['casvit one', 'casvit two'], 'casvit page')
    head, first, second = page.split('\n## A ')
    assert 'casvit page' in head and 'casvit one' in first and 'casvit two' in second
    assert '| CAS-ViT XS | 3.20 | 1.87 | 21.5 | 21 | 43 |' in head
    assert '| Self attention | 3.20 | 1.87 | 21.5 | 21 | 43 |' in head
    assert '](c.png)' in head and '](a.png)' in first and '](b.png)' in first
    for text in (first, second):
        assert '| CAS-ViT XS | 20 | 10 | 100 | - | 100 | 1024 |' in text
        assert '| ResNet-18 | 10 | - | - | - | - | - |' in text
        growth = '2.00 | `an_operator` | 2.00 | 2.00 | 2.00 |'
        assert f'| Self attention | token mixer | {growth}' in text
        assert 'Of the 2 with a published box AP' in text
        assert '- Self attention, inference, exported, 1x64x64: ONNX has no such operator.' in text
    assert 'memory\nof its process' in first and 'memory\nof its GPU' in second


def test_published_accuracy_stands_apart_from_what_was_measured(record):
    models = record['models']
    models['resnet18']['published'] |= dict(miou=32.9, miou_source='another paper')
    models['odd'] = dict(models['resnet18'], label='Odd', published=UNPUBLISHED._asdict())
    # A record of an earlier version knows no mIoU.
    for key in ('miou', 'miou_source'):
        del models['CASMixer']['published'][key]
    page = comparison_page([record], [{}], ['one'], 'two')
    _, section = page.split('## Published accuracy')
    section = section.partition('\n## ')[0]
    assert '| CAS-ViT XS | 37.4 | a paper | - | - |' in section
    assert '| ResNet-18 | 34.0 | a paper | 32.9 | another paper |' in section
    assert 'There is none for Odd.' in section
    assert not any(f'| {name} |' in section for name in ('Odd', 'Self attention'))


def test_what_only_a_later_record_has_is_in_the_tables_of_no_machine(record):
    later = copy.deepcopy(record)
    later['models']['later'] = dict(copy.deepcopy(later['models']['resnet18']), label='Later')
    page = comparison_page([record, later], [{}, {}], ['one', 'two'], 'three')
    head = page.split('\n## A ')[0]
    assert '| Later | 3.20 |' in head and '| Later | 34.0 |' in head
    assert head.count('| ResNet-18 |') == 2
    later['settings']['image_size'] = 96
    assert (
        'Later'
        not in comparison_page([record, later], [{}, {}], ['1', '2'], '3').split('\n## A ')[0]
    )


def test_a_mixer_that_does_nothing_has_no_exponent_of_time(record):
    record['models']['CASMixer']['growth']['mixer'] = series(0.1, 1e-6) | dict(macs=None)
    page = comparison_page([record], [{}], ['one'], 'two')
    assert '| CAS-ViT XS | token mixer | - | - | - | - | - |' in page


def test_the_plots_are_drawn(record, tmp_path):
    plots = comparison_plots(record)
    assert set(plots) == {'accuracy', 'area', 'receptive_fields'}
    for name, content in plots.items():
        file = tmp_path / f'{name}.png'
        file.write_bytes(content)
        pixels = np.asarray(Image.open(file).convert('RGB')).reshape(-1, 3)
        assert len(np.unique(pixels, axis=0)) > 20


def test_every_registered_mixer_is_a_candidate_that_of_cas_vit_first():
    found = mixer_candidates('s')
    assert {each.key for each in found} == set(TOKEN_MIXERS.module_dict)
    assert found[0].label == 'CAS-ViT S' and found[0].published.box_ap == 39.8
    assert all(each.published.box_ap is None for each in found[1:])
    assert {each.key for each in peer_candidates()} == set(PEERS)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('SelfAttentionMixer', 'Self attention'),
        ('PoolingMixer', 'Pooling'),
        ('MLPMixer', 'MLP'),
        ('GRNMixer2', 'GRN mixer2'),
        ('Mixer', 'Mixer'),
    ],
)
def test_labels_are_the_words_of_the_class(name, words):
    assert words_of(name) == words


def test_all_cases_of_a_candidate_take_turns_with_cas_vit():
    default, *others = mixer_candidates('xs', [candidates.DEFAULT_MIXER, 'IdentityMixer'])
    own = speed_group(default, SETTINGS)
    assert own.yardstick == own.cases[0] and len(own.cases) == 5
    for each in (*others, *size_candidates(['s']), *peer_candidates(['resnet18'])):
        group = speed_group(each, SETTINGS)
        assert group.yardstick == own.yardstick == group.cases[0] and len(group.cases) == 6
        shapes = [(case.variant, case.batch_size, case.mode) for case in group.cases[1:]]
        assert shapes == [(case.variant, case.batch_size, case.mode) for case in own.cases]
    imported = speed_group(default, SETTINGS, ['my_parts'])
    assert len(imported.cases) == 5 and imported.yardstick in imported.cases
    parts = [case.part for case in growth_cases(default, SETTINGS)]
    assert parts == ['model'] * 3 + ['mixer'] * 3


def test_what_is_measured_is_kept_and_not_measured_again(tmp_path, capsys, monkeypatch):
    out = tmp_path / 'out'
    command = [*QUICK.split(), '--out', str(out)]
    assert run_tool('compare', command) == 0
    said = capsys.readouterr().out
    assert f'record: {out / "compare.json"}' in said and '| CAS-ViT XS |' in said
    record = json.loads((out / 'compare.json').read_text())
    (entry,) = record['models'].values()
    assert not entry['speed']['failures']
    assert [case['mode'] for case in entry['speed']['cases']] == ['inference', 'training']
    assert set(entry['growth']) == {'model', 'mixer'}
    assert entry['growth']['model']['seconds']['points'][0][0] == 32**2
    assert {each.name for each in out.iterdir()} == {
        'compare.json',
        'accuracy.png',
        'area.png',
        'receptive_fields.png',
    }

    def measured_again(*_):
        raise AssertionError

    monkeypatch.setattr('casvit_mm.commands.compare.measure_candidate', measured_again)
    before = (out / 'compare.json').read_bytes()
    assert run_tool('compare', command) == 0
    assert (out / 'compare.json').read_bytes() == before

    assert run_tool('compare', [*command, '--image-size', '64']) == 2
    assert 'was measured with image_size 32, and this would be 64' in capsys.readouterr().err
    record['machine']['processor'] = 'Another'
    (out / 'compare.json').write_text(json.dumps(record))
    assert run_tool('compare', command) == 2
    assert 'was measured with processor Another' in capsys.readouterr().err

    page = tmp_path / 'page.md'
    arguments = ['--page', str(page), '--records', str(out / 'compare.json')]
    assert run_tool('compare', arguments) == 0
    text = page.read_text()
    assert 'casvit compare --mixers CASMixer --no-peers --size xs --image-size 32' in text
    assert '](out/area.png)' in text


def test_models_have_the_order_of_the_tables_however_they_were_measured(tmp_path):
    first, *peers = PEERS
    order = ['CASMixer', 'PoolingMixer', 'IdentityMixer', 'casvit-s', 'casvit-m', first, peers[-1]]
    kinds = dict.fromkeys(order[:3], 'mixer') | dict.fromkeys(order[3:5], 'size')
    measured = [order[-1], 'PoolingMixer', 'casvit-s', 'CASMixer', first, 'casvit-m', order[2]]
    record = dict(models={key: dict(kind=kinds.get(key, 'peer')) for key in measured})
    keep_record(record, tmp_path)
    assert list(json.loads((tmp_path / 'compare.json').read_text())['models']) == order


@pytest.mark.parametrize(
    ('arguments', 'sizes'),
    [
        ('--peers resnet18', ['s', 'm', 't']),
        ('--peers resnet18 --size m', ['xs', 's', 't']),
        ('--other-sizes l s l --no-peers', ['l', 's']),
        ('--no-peers', []),
    ],
)
def test_other_sizes_with_published_accuracy_are_compared_too(
    arguments, sizes, record, tmp_path, monkeypatch, capsys
):
    pytest.importorskip('timm')

    def measured(candidate, *_):
        entry = copy.deepcopy(record['models']['CASMixer'])
        return {**entry, 'label': candidate.label, 'kind': candidate.kind}

    monkeypatch.setattr('casvit_mm.commands.compare.measure_candidate', measured)
    command = f'--mixers CASMixer {arguments} --custom-imports json --out {tmp_path}'
    assert run_tool('compare', command.split()) == 0
    said = capsys.readouterr().out
    assert all(f'| CAS-ViT {size.upper()} |' in said for size in sizes)
    found = json.loads((tmp_path / 'compare.json').read_text())
    peers = ['resnet18'] if 'resnet18' in arguments else []
    assert list(found['models']) == ['CASMixer', *(f'casvit-{size}' for size in sizes), *peers]
    chosen = ' --other-sizes ' + ' '.join(sizes) if sizes else ''
    peers = ' --peers resnet18' if peers else ' --no-peers'
    expected = f'casvit compare --mixers CASMixer{chosen}{peers} --custom-imports json --size '
    assert command_of(found).startswith(expected)


REFUSALS = [
    ('', 'with --out FOLDER'),
    ('--page page.md', '--page needs --records'),
    ('--page page.md --records nothing.json', 'The record nothing.json cannot be read'),
    ('--page page.md --records list.json', 'list.json is not a record written by casvit compare'),
    ('--page page.md --records empty/compare.json', 'has no model yet'),
    ('--page page.md --records empty/compare.json empty/a.json', 'are in one folder'),
    ('--out a --mixers NobodysMixer', 'no token mixer NobodysMixer; there are CASMixer'),
    ('--out a --other-sizes s xs', '--other-sizes names xs, which is the --size'),
    ('--out a --peers nobody', 'There is no peer nobody; there are resnet18'),
    ('--out a --no-peers --growth-sizes 32 64 32', 'at least 3 different sizes'),
    ('--out a --no-peers --custom-imports nobodys_module', 'nobodys_module cannot be imported'),
    ('--out list.json/a --no-peers', 'is a file, not a folder'),
    ('--out a --no-peers --device nowhere', "The device 'nowhere' cannot be used"),
]


@pytest.mark.parametrize(('arguments', 'said'), REFUSALS)
def test_what_cannot_be_compared_is_refused_in_a_sentence(
    arguments, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'list.json').write_text('[]')
    (tmp_path / 'empty').mkdir()
    nothing = json.dumps(dict(machine={}, settings={}, models={}))
    (tmp_path / 'empty' / 'compare.json').write_text(nothing)
    assert run_tool('compare', arguments.split()) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / 'page.md').exists() and not (tmp_path / 'a').exists()


OWN_MIXER = """
from torch import nn
from casvit_mm.models import TOKEN_MIXERS

@TOKEN_MIXERS.register_module()
class HalvingMixer(nn.Module):
    def __init__(self, channels, norm_cfg):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return self.conv(x) / 2
"""


@pytest.mark.long
def test_a_mixer_of_ones_own_and_a_peer_are_measured_in_all_variants(tmp_path, monkeypatch):
    pytest.importorskip('timm')
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'my_mixer.py').write_text(OWN_MIXER)
    arguments = (
        '--custom-imports my_mixer --mixers HalvingMixer --other-sizes s --peers resnet18 '
        '--image-size 64 --turns 1 --seconds 0.01 --threads 1 --device cpu --out out'
    )
    assert run_tool('compare', arguments.split()) == 0
    record = json.loads((tmp_path / 'out' / 'compare.json').read_text())
    assert list(record['models']) == ['HalvingMixer', 'casvit-s', 'resnet18']
    for entry in record['models'].values():
        assert not entry['speed']['failures']
        assert len(entry['speed']['cases']) == 8
    TOKEN_MIXERS.module_dict.pop('HalvingMixer')

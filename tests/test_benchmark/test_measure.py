"""The benchmark measures cases side by side; the measured speed itself is not tested."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from casvit.cli.main import run_tool
from casvit.errors import MissingPackageError
from casvit_mm.benchmark.cases import Case
from casvit_mm.benchmark.measure import BenchmarkError, Group, Worker, add_ratios, measure, spread
from casvit_mm.benchmark.peers import build_peer
from casvit_mm.benchmark.plan import add_facts
from casvit_mm.report.speed.table import speed_table

RECORD = Path(__file__).parents[2] / 'benchmarks/intel-xeon/inference.json'


def test_a_spread_is_a_median_with_quartiles():
    assert spread([4.0, 1.0, 2.0, 3.0, 5.0]) == {'low': 2.0, 'median': 3.0, 'high': 4.0}
    assert spread([2.0]) == {'low': 2.0, 'median': 2.0, 'high': 2.0}


def result(name, *turns, side=512):
    shape = dict(model='xs', mode='inference', image_size=side, batch_size=1)
    return {'name': name, 'turns': list(turns), **shape}


def test_ratios_are_computed_between_neighbouring_turns():
    results = [
        result('reference', 2.0, 8.0, 2.0),
        result('fused', 1.0, 4.0, 1.0),
        result('fused bf16', 1.0, 2.0, 2.0),
    ]
    add_ratios(results)
    assert [each['ratio']['median'] for each in results] == [1.0, 2.0, 2.0]
    assert results[2]['ratio']['low'] == 1.5


def test_there_is_a_ratio_only_if_the_reference_was_measured_at_the_same_image_size():
    results = [
        result('reference', 2.0),
        result('fused', 1.0),
        result('reference', 9.0, side=64),
        result('fused', 3.0, side=64),
        result('fused', 3.0, side=128),
    ]
    add_ratios(results)
    assert [each['ratio']['median'] for each in results[:4]] == [1.0, 2.0, 1.0, 3.0]
    assert 'ratio' not in results[4]
    assert [each['baseline'] for each in results] == [0, 0, 2, 2, None]


def test_all_cases_are_compared_with_the_yardstick():
    results = [result('fused', 2.0), result('reference', 4.0), result('compiled', 1.0)]
    add_ratios(results, yardstick=0)
    assert [each['ratio']['median'] for each in results] == [1.0, 0.5, 2.0]


def test_processes_take_turns_and_cases_are_compared_within_their_group():
    variants = {'xs': ('reference', 'fused'), 's': ('reference',)}
    groups = [
        Group(size, tuple(Case(size, variant, image_size=32) for variant in names))
        for size, names in variants.items()
    ]
    records = list(measure(groups, threads=1, turns=2, seconds=0.01))
    assert [record['title'] for record in records] == ['xs', 's']
    for record in records:
        assert tuple(case['name'] for case in record['cases']) == variants[record['title']]
        for case in record['cases']:
            assert case['model'] == record['title'] and case['kind'] == 'backbone'
            assert len(case['turns']) == 2
            assert case['calls'] >= 6
            assert all(seconds > 0 for seconds in case['turns'])
            assert case['baseline'] == 0 and case['ratio']['median'] > 0
            assert case['peak_memory'] > 100 * 1024**2


@pytest.mark.long
def test_a_full_model_is_split_into_its_backbone_and_the_rest(configs):
    config = str(configs / 'segmentation' / 'semantic_fpn_casvit_light.py')
    case = Case(config, 'eager', image_size=32)
    (record,) = measure([Group('light', (case,))], threads=1, turns=2, seconds=0.01)
    (whole,) = record['cases']
    assert 0 < whole['backbone_seconds']['median'] < whole['seconds']['median']
    ratio = whole['seconds']['median'] / whole['backbone_seconds']['median'] - 1
    assert whole['others_per_backbone']['median'] == pytest.approx(ratio, rel=0.5)
    backbone = {key: value for key, value in whole.items() if key != 'others_per_backbone'}
    record['cases'].append(backbone)
    record = dict(
        date='2026-01-01',
        machine=dict(processor='A processor', threads=1, versions=dict(torch='2.13.0')),
        limits=dict(copy_bytes_per_second=2e10, gemm_flops_per_second=dict(fp32=1.2e11)),
        groups=[record | dict(growth=[])],
    )
    head, _, first, second = speed_table(record).splitlines()[2:6]
    assert '| ms of the backbone | other time / backbone |' in head
    assert '| - | - |' in second and '| - | - |' not in first
    assert head.count('|') == first.count('|') == second.count('|')


def test_a_case_that_cannot_start_may_be_left_out_with_the_reason():
    yardstick = Case('xs', 'eager', image_size=32)
    broken = Case('xs', 'eager', image_size=32, mixer='NobodysMixer')
    (group,) = measure(
        [Group('XS', (broken, yardstick), yardstick, may_fail=True)], threads=1, turns=1, seconds=0
    )
    assert [case['mixer'] for case in group['cases']] == [None]
    assert group['yardstick'] == 0 and group['cases'][0]['ratio']['median'] == 1
    (failure,) = group['failures']
    assert (
        failure['mixer'] == 'NobodysMixer' and 'not a registered token mixer' in failure['reason']
    )


def test_if_a_process_fails_the_error_gives_the_reason():
    with pytest.raises(BenchmarkError, match=r'on nowhere\).*device.*: nowhere'):
        Worker(Case('xs', 'reference', device='nowhere'), threads=1)


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(variant='magic'), 'reference, eager, fused, compiled, static'),
        (dict(precision='fp8'), 'fp32, bf16, fp16'),
        (dict(mode='dreaming'), 'inference, training'),
        (dict(variant='fused', mode='training'), 'reference, eager, folded, compiled'),
        (dict(model='resnet18', variant='fused'), 'ResNet-18; known: reference, eager, static'),
        (dict(model='resnet18', mode='training', variant='compiled'), 'ResNet-18; known: eager'),
        (dict(mixer='CASMixer', variant='reference'), 'known: eager, fused, compiled, static'),
        (dict(model='resnet18', part='mixer'), "part='mixer' .*ResNet-18; known: model"),
        (dict(variant='exported', mode='training'), 'reference, eager, folded, compiled'),
        (dict(model='nothing'), 'nothing.* neither a config file nor one of xs, .*resnet18'),
    ],
    ids=str,
)
def test_an_impossible_case_is_rejected_with_the_possible_values(options, said):
    with pytest.raises(ValueError, match=said):
        Case(**{'model': 'xs', 'variant': 'eager', **options})


def test_the_command_prints_a_table_and_writes_the_record(tmp_path, capsys):
    out = tmp_path / 'results' / 'here.json'
    arguments = ['--sizes', 'xs', '--variants', 'reference', 'fused', '--image-size', '32']
    arguments += ['--turns', '1', '--seconds', '0.01', '--threads', '1', '--device', 'cpu']
    assert run_tool('bench', [*arguments, '--note', 'on battery', '--out', str(out)]) == 0
    said = capsys.readouterr().out
    assert '| CAS-ViT XS | 1x32x32 | inference | fused |' in said
    record = json.loads(out.read_text())
    assert record['machine']['versions']['torch'] == torch.__version__.partition('+')[0]
    assert record['limits']['gemm_flops_per_second']['fp32'] > 1e8
    assert record['groups'][0]['cases'][1]['variant'] == 'fused'

    page = tmp_path / 'speed.md'
    assert run_tool('bench', ['--page', str(page), '--records', str(out)]) == 0
    text = (tmp_path / 'speed_tables.md').read_text()
    assert f'casvit bench --page {page} --records {out}' in text
    assert 'on battery' in text
    assert '| CAS-ViT XS | 1x32x32 | inference | fused |' in text
    numbers = r'0.0 \| \d+ \| \d+ \| \w+ \| \d+% \| [\d.]+ times'
    row = rf'\| CAS-ViT XS \| 1x32x32 \| inference \| fp32 \| {numbers}'
    assert re.search(row, text)

    other = out.with_name('there.json')
    record['machine']['processor'] = 'Another'
    other.write_text(json.dumps(record))
    page.unlink()
    assert run_tool('bench', ['--page', str(page), '--records', str(out), str(other)]) == 2
    assert 'records of two machines' in capsys.readouterr().err
    assert not page.exists()


def test_a_record_names_a_config_without_its_folder():
    case = dict(kind='config', model='/home/somebody/retinanet.py', label='retinanet')
    add_facts(case, {})
    assert case['model'] == 'retinanet'


def test_results_measured_before_a_failure_are_kept(tmp_path, capsys):
    config = tmp_path / 'of_nobody.py'
    config.write_text("model = dict(type='ModelOfNobody')\n")
    out = tmp_path / 'here.json'
    arguments = ['--sizes', 'xs', '--configs', str(config), '--variants', 'fused']
    arguments += ['--image-size', '32', '--turns', '1', '--seconds', '0.01', '--threads', '1']
    assert run_tool('bench', [*arguments, '--device', 'cpu', '--out', str(out)]) == 2
    assert 'ModelOfNobody' in capsys.readouterr().err
    assert [group['title'] for group in json.loads(out.read_text())['groups']] == ['CAS-ViT XS']


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (None, 'cannot be read'),
        ('{', 'not a record'),
        ('[]', 'not a record'),
        ('{"groups": []}', 'no'),
    ],
)
def test_no_page_is_written_from_an_invalid_record(content, said, tmp_path, capsys):
    file, page = tmp_path / 'record.json', tmp_path / 'page.md'
    if content is not None:
        file.write_text(content)
    assert run_tool('bench', ['--page', str(page), '--records', str(file)]) == 2
    assert said in capsys.readouterr().err
    assert not page.exists()
    assert run_tool('bench', ['--page', str(page)]) == 2
    assert '--page needs --records' in capsys.readouterr().err


def test_a_fused_model_is_not_offered_for_training(capsys):
    assert run_tool('bench', ['--mode', 'training', '--variants', 'fused']) == 2
    assert 'no variant fused for training' in capsys.readouterr().err


def test_a_missing_device_is_reported_in_a_sentence(capsys):
    assert run_tool('bench', ['--device', 'nowhere']) == 2
    assert "The device 'nowhere' cannot be used" in capsys.readouterr().err


def test_a_process_that_was_killed_is_an_error_with_the_signal():
    worker = Worker(Case('xs', 'reference', image_size=32), threads=1)
    try:
        worker.process.kill()
        worker.process.wait()
        with pytest.raises(BenchmarkError) as caught:
            worker.measure(0.01)
        assert str(caught.value) == (
            'CAS-ViT XS (inference, reference, 1 x 32 px) could not be measured: its process was '
            'ended by SIGKILL; perhaps there was not enough memory'
        )
    finally:
        worker.close()


def test_a_place_that_cannot_be_written_is_named_before_anything_is_measured(tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert run_tool('bench', ['--out', str(tmp_path / 'file/here.json')]) == 2
    said = capsys.readouterr().err
    assert f'here.json cannot be written: {tmp_path / "file"} is a file, not a folder.' in said


def test_a_page_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    shutil.copy(RECORD, tmp_path / 'here.json')
    arguments = ['--page', str(tmp_path / 'file/page.md'), '--records', str(tmp_path / 'here.json')]
    assert run_tool('bench', arguments) == 2
    said = capsys.readouterr().err
    assert f'page.md cannot be written: {tmp_path / "file"} is a file, not a folder.' in said


def test_peers_without_timm_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(MissingPackageError, match=r"not installed: pip install 'casvit-mm\[bench"):
        build_peer('resnet18')

"""The benchmark measures what it says, side by side. How fast that is, no test asserts."""

import json
import re

import pytest
import torch

from casvit_mm.benchmark.cases import Case, prepare
from casvit_mm.benchmark.measure import BenchmarkError, Worker, add_ratios, measure, spread
from casvit_mm.cli.main import run_tool
from casvit_mm.models import CASViT


def test_a_spread_is_a_median_with_its_quartiles():
    assert spread([4.0, 1.0, 2.0, 3.0, 5.0]) == {'low': 2.0, 'median': 3.0, 'high': 4.0}
    assert spread([2.0]) == {'low': 2.0, 'median': 2.0, 'high': 2.0}


def test_ratios_are_of_neighbouring_turns():
    results = [
        {'name': 'reference', 'turns': [2.0, 8.0, 2.0]},
        {'name': 'fused', 'turns': [1.0, 4.0, 1.0]},
        {'name': 'fused bf16', 'turns': [1.0, 2.0, 2.0]},
    ]
    add_ratios(results)
    assert [each['ratio']['median'] for each in results] == [1.0, 2.0, 2.0]
    assert results[2]['ratio']['low'] == 1.5
    alone = [{'name': 'fused', 'turns': [1.0]}]
    add_ratios(alone)
    assert 'ratio' not in alone[0]


def test_processes_take_turns_and_every_group_is_compared_within_itself():
    cases = [
        Case(size, variant, image_size=32)
        for size in ('xs', 's')
        for variant in ('reference', 'fused')
    ]
    groups = measure(cases, threads=1, turns=2, seconds=0.01)
    assert [group['size'] for group in groups] == ['xs', 's']
    for group in groups:
        assert [case['name'] for case in group['cases']] == ['reference', 'fused']
        for case in group['cases']:
            assert len(case['turns']) == 2
            assert case['calls'] >= 6
            assert all(seconds > 0 for seconds in case['turns'])
            assert case['ratio']['median'] > 0
            assert case['peak_memory'] > 100 * 1024**2


def test_a_process_that_fails_is_told_with_its_reason():
    with pytest.raises(BenchmarkError, match=r"device='nowhere'.*(nowhere|device)"):
        Worker(Case('xs', 'reference', device='nowhere'), threads=1)


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(variant='magic'), 'reference, eager, fused, compiled'),
        (dict(precision='fp8'), 'fp32, bf16, fp16'),
        (dict(mode='dreaming'), 'inference, training'),
        (dict(variant='fused', mode='training'), 'reference, eager, folded, compiled'),
    ],
    ids=str,
)
def test_what_cannot_be_measured_is_named(options, said):
    with pytest.raises(ValueError, match=said):
        Case(**{'size': 'xs', 'variant': 'eager', **options})


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
@pytest.mark.parametrize('variant', ['reference', 'eager', 'folded'])
def test_a_training_step_reaches_every_parameter(variant, precision, monkeypatch):
    reached = set()
    step = prepare(Case('xs', variant, precision, 'training', image_size=32))
    backward = torch.Tensor.backward

    def watched(loss, *args):
        backward(loss, *args)
        parameters = step.__closure__[0].cell_contents.parameters()
        reached.update(index for index, p in enumerate(parameters) if p.grad is not None)

    monkeypatch.setattr(torch.Tensor, 'backward', watched)
    step()
    assert len(reached) == len(list(CASViT('xs').parameters()))


def test_the_command_prints_a_table_and_keeps_the_record(tmp_path, capsys):
    out = tmp_path / 'results' / 'here.json'
    arguments = ['--sizes', 'xs', '--variants', 'reference', 'fused', '--image-size', '32']
    arguments += ['--turns', '1', '--seconds', '0.01', '--threads', '1', '--device', 'cpu']
    assert run_tool('bench', [*arguments, '--out', str(out)]) == 0
    said = capsys.readouterr().out
    assert '| XS | 1x32x32 | inference | fused |' in said
    record = json.loads(out.read_text())
    assert record['machine']['versions']['torch'] == torch.__version__.partition('+')[0]
    assert record['limits']['gemm_flops_per_second'] > 1e8
    assert record['groups'][0]['cases'][1]['variant'] == 'fused'

    page = tmp_path / 'speed.md'
    assert run_tool('bench', ['--page', str(page), '--records', str(out)]) == 0
    text = page.read_text()
    assert f'casvit bench --page {page} --records {out}' in text
    assert '| XS | 1x32x32 | inference | fused |' in text
    assert re.search(r'\| inference, fused \| 1.6 \| [\d.]+ \((reached|missed)\) \|', text)
    assert '| inference, compiled bf16 | 4.5 | not measured |' in text
    assert re.search(
        r'\| XS \| 1x32x32 \| 0.0 \| \d+ \| \d+ \| \d+% \| not measured \| [\d.]+ times \|', text
    )


@pytest.mark.parametrize(
    ('content', 'said'),
    [(None, 'cannot be read'), ('{', 'no record'), ('[]', 'no record'), ('{"groups": []}', 'no')],
)
def test_what_is_no_record_makes_no_page(content, said, tmp_path, capsys):
    file, page = tmp_path / 'record.json', tmp_path / 'page.md'
    if content is not None:
        file.write_text(content)
    assert run_tool('bench', ['--page', str(page), '--records', str(file)]) == 2
    assert said in capsys.readouterr().err
    assert not page.exists()
    assert run_tool('bench', ['--page', str(page)]) == 2
    assert 'belong together' in capsys.readouterr().err


def test_a_fused_model_is_not_offered_for_training(capsys):
    assert run_tool('bench', ['--mode', 'training', '--variants', 'fused']) == 2
    assert 'no fused variant in training' in capsys.readouterr().err


def test_a_device_that_is_not_there_is_a_sentence(capsys):
    assert run_tool('bench', ['--device', 'nowhere']) == 2
    assert '--device nowhere cannot be used' in capsys.readouterr().err

"""The page on speed and its plots, from records in the form that the benchmark writes."""

import copy

import numpy as np
import pytest
from PIL import Image

from casvit_mm.report.speed.page import speed_page, tables_page
from casvit_mm.report.speed.peers import front, standings
from casvit_mm.report.speed.plots import speed_plots
from casvit_mm.report.speed.table import convergence_table, speed_table


def spread(median):
    return dict(median=median, low=0.9 * median, high=1.1 * median)


def case(model, name, seconds, ratio, **more):
    return dict(
        model=model,
        label=more.pop('label', model),
        kind=more.pop('kind', 'backbone'),
        name=name,
        variant=name,
        precision='fp32',
        mode=more.pop('mode', 'inference'),
        image_size=512,
        batch_size=1,
        seconds=spread(seconds),
        ratio=spread(ratio),
        peak_memory=2**30,
        warm_up=1.0,
        roofline=dict(flops=5.7e9, bytes=3.6e8, seconds=0.05),
        operators={'aten::mkldnn_convolution': 0.5, 'aten::gelu': 0.3, 'aten::add': 0.01},
        **more,
    )


def record(*groups):
    return dict(
        date='2026-01-01',
        machine=dict(processor='A processor', threads=2, versions=dict(torch='2.13.0')),
        limits=dict(copy_bytes_per_second=2e10, gemm_flops_per_second=dict(fp32=1.2e11)),
        groups=list(groups),
    )


def group(title, *cases, yardstick=None, growth=()):
    cases = [dict(case, baseline=yardstick or 0) for case in cases]
    return dict(title=title, yardstick=yardstick, cases=cases, growth=list(growth))


@pytest.fixture
def own():
    """XS and M compared with their reference."""
    return record(
        group('XS', case('xs', 'reference', 0.2, 1.0), case('xs', 'fused', 0.1, 2.0)),
        group('M', case('m', 'reference', 0.4, 1.0), case('m', 'fused', 0.3, 1.33)),
    )


@pytest.fixture
def peers():
    """Four backbones compared with a yardstick; for one, the machine was half as fast."""

    def beside(model, ap, kind, *ratios, slow=1.0):
        published = dict(box_ap=ap, source='a paper' if ap else '')
        yardstick = case('m', 'fused', 0.3 * slow, 1.0, label='CAS-ViT M', published=published)
        names = ('reference', 'compiled')
        return group(
            model,
            yardstick,
            *(
                case(model, name, 0.3 * slow / ratio, ratio, kind=kind, published=published)
                for name, ratio in zip(names, ratios, strict=True)
            ),
            yardstick=0,
        )

    return record(
        beside('CAS-ViT T', 43.5, 'backbone', 0.5, 0.75),
        beside('slow and poor', 38.0, 'peer', 0.4, 0.5),
        beside('quick', 41.0, 'peer', 2.0, 3.0, slow=2.0),
        beside('unknown', None, 'peer', 1.0, 6.0),
    )


def test_latency_is_that_of_the_fastest_variant_in_neighbouring_turns(peers):
    found = {each.label: each for each in standings([peers])}
    assert [*found] == ['unknown', 'quick', 'CAS-ViT T', 'slow and poor']
    assert found['quick'].seconds == pytest.approx(0.3 / 3)
    assert found['quick'].seconds_eager == pytest.approx(0.3 / 2)
    assert found['quick'].variant == 'compiled'
    assert found['CAS-ViT T'].ours and not found['quick'].ours


def test_the_pareto_front_holds_backbones_that_no_other_beats_in_speed_and_accuracy(peers):
    assert [each.label for each in front(standings([peers]))] == ['quick', 'CAS-ViT T']


def test_the_page_shows_targets_limits_and_the_ranking_of_backbones(own, peers):
    plots = {'A processor, 2 threads': dict(accuracy='a.png')}
    summary = speed_page([own, peers], 'tables.md', plots)
    page = tables_page([own, peers], 'the command', 'summary.md')
    assert 'the command' in page and '](summary.md)' in page and '](tables.md)' in summary
    for each in (summary, page):
        assert '| inference, fused | 1.6 | 2.00 (reached) | 1.33 (missed) |' in each
    assert len(summary.splitlines()) < 40 < len(page.splitlines())
    assert '| inference, fused | 1.6 | 2.00 (reached) | 1.33 (missed) |' in page
    assert '| inference, compiled | 2.8 | not measured | not measured |' in page
    limit = 'inference | fp32 | 5.7 | 360 | 50 | fused | 50% | 4.0 times |'
    assert f'| xs | 1x512x512 | {limit}' in page
    operators = 'mkldnn_convolution 50%, gelu 30%'
    assert f'| xs | 1x512x512 | inference | fused | 100 | {operators} |' in page
    # 5.7 GFLOP in half of 300 ms.
    missed = 'inference, fused, m: 1.33 times (target 1.6, limit 8.0). Of the 300 ms'
    assert f'{missed} (fused), convolutions take' in page
    assert 'multiplies matrices 0.' not in page
    assert '150 ms, at 38 GFLOP/s.' in page and 'fused, xs:' not in page
    assert 'Nothing has been measured on a GPU yet.' in page
    assert 'times as fast as CAS-ViT M fused' in page
    assert '| quick | 100 | compiled | 150 | 41.0 | yes | a paper |' in page
    assert '| unknown | 50 | compiled | 300 | none found | - | - |' in page
    assert 'On the Pareto front, fastest first: quick, CAS-ViT T.' in page
    assert '![Published box AP against measured latency](a.png)' in summary
    assert 'fastest first: quick, CAS-ViT T.' in summary


def test_without_peers_the_page_has_no_comparison_with_other_backbones(own):
    page = tables_page([own], 'the command', 'summary.md')
    summary = speed_page([own], 'tables.md')
    assert 'Comparison with other backbones' not in page and '![' not in page + summary
    assert 'fastest first' not in summary
    assert not speed_plots([own])


def test_each_machine_has_a_section_of_its_own(own, peers):
    other = copy.deepcopy(own)
    other['machine']['processor'] = 'Another'
    other['note'] = 'on battery'
    other['limits']['gemm_flops_per_second']['bf16'] = 0.6e11
    other['groups'][0]['cases'][1]['ratio'] = spread(1.5)
    page = tables_page([own, other, peers], 'the command', 'summary.md')
    first, second = page.split('## A processor, 2 threads\n')[1].split('## Another, 2 threads\n')
    assert '| inference, fused | 1.6 | 2.00 (reached) | 1.33 (missed) |' in first
    assert '| inference, fused | 1.6 | 1.50 (missed) | 1.33 (missed) |' in second
    assert 'and other backbones' in first and 'and other backbones' not in second
    assert 'multiplies matrices 0.50 times as fast as in float32' in second
    assert 'on battery' in second and 'on battery' not in first
    plots = {'Another, 2 threads': dict(area='b')}
    summary = speed_page([own, other, peers], 'tables.md', plots)
    first, second = summary.split('## A processor, 2 threads\n')[1].split('## Another, 2 threads\n')
    assert '](b)' in second and '](b)' not in first


def test_if_a_profile_hides_convolutions_those_of_the_fused_variant_are_shown(own):
    hidden = case('m', 'compiled', 0.2, 2.0)
    hidden['operators'] = {'kernels generated by torch.compile': 1.0}
    own['groups'][1]['cases'].append(dict(hidden, baseline=0))
    page = tables_page([own], 'the command', 'summary.md')
    told = 'It takes 200 ms. Of the 300 ms (fused), convolutions take 150 ms, at 38 GFLOP/s.'
    assert f'compiled, m: 2.00 times (target 2.8, limit 8.0). {told}' in page


def test_full_models_have_no_targets_but_show_where_the_time_goes():
    whole = [
        case('retinanet', name, seconds, 1.0, kind='config')
        for name, seconds in (('reference', 0.4), ('fused', 0.3))
    ]
    for each in whole:
        del each['roofline']
    page = tables_page([record(group('retinanet', *whole))], 'the command', 'summary.md')
    assert 'of full models' in page and 'Where the time goes' in page
    assert 'Compared with the targets' not in page and 'Distance to the limit' not in page


def run(seed, speed, box, mask):
    switches = dict(channels_last=False, fold_norms=False, compile=False, precision='fp32')
    metrics = {'coco/bbox_mAP': box, 'coco/segm_mAP': mask}
    return dict(run='x', seed=seed, speed=switches | speed, metrics=metrics)


def test_runs_are_compared_by_their_speed_options():
    runs = [
        run(1, {}, 0.64, 0.58),
        run(0, {}, 0.66, 0.60),
        run(0, dict(channels_last=True, precision='bf16'), 0.65, 0.59),
    ]
    table = convergence_table(dict(runs=runs))
    assert '| none | 0, 1 | 0.650 (0.660, 0.640) | 0.590 (0.600, 0.580) |' in table
    assert '| channels_last, precision="bf16" | 0 | 0.650 (0.650) | 0.590 (0.590) |' in table
    assert table in tables_page([dict(runs=runs)], 'the command', 'summary.md')


def test_plots_show_peers_and_growth(peers, tmp_path):
    series = dict(label='XS', name='fused', over='image_size', exponent=1.0, mode='inference')
    series |= dict(batch_size=1, deviation=0.0)
    series['points'] = [(256**2, 0.02), (512**2, 0.08), (1024**2, 0.33)]
    growing = record(group('XS', case('xs', 'fused', 0.1, 1.0), growth=[series]))
    # From 0.08 s to 0.33 s for four times as many pixels.
    assert '| 1.00 | at most 0% | 1.02 |' in speed_table(growing)
    plots = speed_plots([peers, growing])
    assert set(plots) == {'accuracy', 'area'}
    for name, content in plots.items():
        file = tmp_path / f'{name}.png'
        file.write_bytes(content)
        pixels = np.asarray(Image.open(file).convert('RGB')).reshape(-1, 3)
        assert len(np.unique(pixels, axis=0)) > 20

"""The page on formats shows what was measured, and why a format is missing."""

from casvit_mm.report.speed.formats import formats_page, formats_table


def row(label, p50, **more):
    timed = dict(device='cpu', precision='fp32', load=0.5, warm_up=1, calls=9, peak_memory=2**27)
    measured = [dict(timed, threads=count, p50=p50 / count, p95=p50) for count in (1, 2)]
    return dict(label=label, install=2e8, measured=measured, **more)


RECORD = dict(
    machine=dict(processor='A processor', threads=2),
    date='2030-01-01',
    model='retinanet',
    size=(320, 512),
    formats=[
        row('PyTorch', 0.4, metrics={'coco/bbox_mAP': 0.5}),
        row(
            'ONNX, fp32',
            0.1,
            bytes=12_000_000,
            difference=[dict(boxes=2e-5, scores=1e-6, masks=0.0, values=0.0)],
            metrics={'coco/bbox_mAP': 0.5, 'coco/bbox_mAP_s': 0.1},
        ),
        dict(label='ExecuTorch, fp32', install=1e8, error='is not installed', measured=[]),
    ],
)


def test_each_format_has_a_row_and_the_fastest_is_marked():
    table = formats_table(RECORD)
    lines = table.splitlines()
    assert lines[0] == 'retinanet, 512 x 320 px, A processor, 2 threads, 2030-01-01'
    header, _, torch, onnx = lines[2:6]
    assert header.count('|') == torch.count('|') == onnx.count('|')
    assert '1 thread: p50 / p95, ms' in header and '2 threads: p50 / p95, ms' in header
    assert '| PyTorch | cpu, fp32 | - | 200 |' in torch and '400 / 400 | 200 / 400' in torch
    assert '**ONNX, fp32** ★' in onnx and '| 12.0 |' in onnx and '20.0' in onnx
    assert 'boxes 2e-05 px, scores 1e-06' in onnx and onnx.endswith('0.500 |')
    assert lines[-1] == '- ExecuTorch, fp32: is not installed'


def test_the_page_has_a_section_for_each_model_and_the_command_that_wrote_it():
    page = formats_page([RECORD, dict(RECORD, model='semantic_fpn')], 'casvit bench --page P')
    assert page.startswith('# Formats, measured\n') and 'Written by `casvit bench --page P`' in page
    assert '## retinanet\n' in page and '## semantic_fpn\n' in page

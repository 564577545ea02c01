"""The record of a benchmark as a table."""

from typing import Any


def speed_table(record: dict[str, Any]) -> str:
    """Markdown: a line on the machine, and a table of all cases.

    Args:
        record: What ``casvit bench`` measured.

    Returns:
        The text; times in milliseconds, each median with its quartiles.
    """
    machine, limits = record['machine'], record['limits']
    where = machine.get('gpu') or f'{machine["processor"]}, {machine["threads"]} threads'
    lines = [
        f'{where}; torch {machine["versions"]["torch"]}; {record["date"]}; '
        f'copies {limits["copy_bytes_per_second"] / 1e9:.1f} GB/s, multiplies matrices at '
        f'{limits["gemm_flops_per_second"] / 1e9:.0f} GFLOP/s (fp32)',
        '',
        '| size | input | mode | variant | ms | times as fast as the reference | peak memory | '
        'warm-up |',
        '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ]
    for group in record['groups']:
        side = group['image_size']
        shape = f'{group["batch_size"]}x{side}x{side}'
        for case in group['cases']:
            lines.append(
                f'| {group["size"].upper()} | {shape} | {group["mode"]} | {case["name"]} | '
                f'{_spread(case["seconds"], 1000, 0)} | {_ratio(case)} | '
                f'{case["peak_memory"] / 1024**2:.0f} MiB | {case["warm_up"]:.0f} s |'
            )
    return '\n'.join(lines)


def _ratio(case: dict[str, Any]) -> str:
    return _spread(case['ratio'], 1, 2) if 'ratio' in case else '-'


def _spread(values: dict[str, float], factor: float, digits: int) -> str:
    low, median, high = (values[key] * factor for key in ('low', 'median', 'high'))
    return f'{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})'

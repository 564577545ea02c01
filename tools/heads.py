"""Tries the heads of mmdet and mmseg with CAS-ViT and writes docs/heads.md: `make heads`.

An interrupted run continues where it stopped, from work_dirs/heads.json.
"""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if find_spec('casvit') is None:
    sys.path.insert(0, str(ROOT))

RECORD, PAGE = ROOT / 'benchmarks' / 'heads.json', ROOT / 'docs' / 'heads.md'
UNFINISHED = ROOT / 'work_dirs' / 'heads.json'


def main() -> int:
    """Tries all configs; returns 1 if one of them does not work."""
    from casvit.files import write_whole
    from casvit_mm.benchmark.heads.run import try_all
    from casvit_mm.benchmark.heads.table import REASONS
    from casvit_mm.report.heads.page import heads_page

    UNFINISHED.parent.mkdir(exist_ok=True)
    record = try_all(UNFINISHED, lambda text: print(text, flush=True))
    write_whole(RECORD, json.dumps(record, indent=1) + '\n')
    write_whole(PAGE, heads_page(record, REASONS))
    UNFINISHED.unlink()
    print(f'page: {PAGE}')
    return int(any('error' in row for row in record['rows'].values()))


if __name__ == '__main__':
    sys.exit(main())

"""Checks a dataset, writes the report, and repairs the dataset."""

from argparse import Namespace
from pathlib import Path

from casvit.errors import CliError
from casvit.names import printable
from casvit_mm.commands.data import checked, report
from casvit_mm.config.read import load_config
from casvit_mm.datasets.audit.masks import MaskAudit
from casvit_mm.datasets.audit.repair_masks import repair_masks
from casvit_mm.datasets.audit.repair_objects import repair_objects
from casvit_mm.datasets.formats.masks import wheel
from casvit_mm.datasets.issues import Severity
from casvit_mm.report.audit.page import write_mask_page, write_object_page
from casvit_mm.report.audit.scales import model_scales


def run(args: Namespace) -> int:
    """Checks a dataset.

    Args:
        args: The parsed arguments.

    Returns:
        2 if the dataset has errors, else 0.

    Raises:
        DatasetError: There is no dataset, or it cannot be read at all.
        CliError: The arguments contradict each other.
    """
    if args.fix and args.no_pictures:
        raise CliError('--fix has to open the images: leave out --no-pictures.')
    check = checked(args, read_images=not args.no_pictures)
    for line in report(check, args.limit):
        print(line)
    name = Path(args.data).expanduser().resolve().stem
    page = Path(args.out_dir or Path('work_dirs') / f'check_{name}') / 'index.html'
    if isinstance(check, MaskAudit):
        write_mask_page(check, page, args.seed)
    else:
        scales = model_scales(load_config(args.config))
        palette = [wheel(index) for index in range(len(check.classes))]
        write_object_page(check, page, palette, scales, args.seed)
    print(printable(f'page: {page}'))
    if args.fix:
        out = Path(args.fix)
        if isinstance(check, MaskAudit):
            changes = repair_masks(check, out)
        else:
            changes = repair_objects(check, out)
        listed = f'{len(changes)} changes, listed in changes.txt there'
        print(printable(f'repaired copy: {args.fix} ({listed})'))
    return 2 if check.issues.of(Severity.ERROR) else 0

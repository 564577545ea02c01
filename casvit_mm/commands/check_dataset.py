"""Checks a dataset, writes the report, and repairs the dataset."""

from argparse import Namespace
from pathlib import Path

from casvit.cli import arguments
from casvit.drawing.style import Style
from casvit.errors import CliError
from casvit.names import printable
from casvit.sentences import count_of
from casvit_mm.commands.data import audited, checked, checked_classes, report
from casvit_mm.config.read import load_config
from casvit_mm.datasets.audit.classes.audit import ClassAudit, audit_classes
from casvit_mm.datasets.audit.classes.repair import repair_classes
from casvit_mm.datasets.audit.masks import MaskAudit
from casvit_mm.datasets.audit.objects import ObjectAudit
from casvit_mm.datasets.audit.repair_masks import repair_masks
from casvit_mm.datasets.audit.repair_objects import repair_objects
from casvit_mm.datasets.audit.repair_options import RepairOptions
from casvit_mm.datasets.formats.find import read_class_dataset, read_dataset
from casvit_mm.datasets.formats.masks import wheel
from casvit_mm.datasets.issues import Severity
from casvit_mm.report.audit.page import write_class_page, write_mask_page, write_object_page
from casvit_mm.report.audit.scales import model_scales

Audit = ObjectAudit | MaskAudit | ClassAudit
REPAIRS = ('crowd_as_objects', 'boxes_from_masks', 'bits')


def run(args: Namespace) -> int:
    """Checks a dataset.

    Args:
        args: The parsed arguments.

    Returns:
        2 if the dataset (with --fix: the copy) has errors, else 0.

    Raises:
        DatasetError: There is no dataset, or it cannot be read at all.
        CliError: The arguments contradict each other.
        MissingPackageError: Near-duplicates are asked for, and `imagehash` is not installed.
    """
    if args.fix and args.no_pictures:
        raise CliError('--fix has to open the images: leave out --no-pictures.')
    if args.near_duplicates and args.no_pictures:
        raise CliError('--near-duplicates has to open the images: leave out --no-pictures.')
    asked = [option for option in REPAIRS if getattr(args, option)]
    if asked and not args.fix:
        raise CliError(f'--{asked[0].replace("_", "-")} is a repair: add --fix OUT.')
    name = Path(args.data).expanduser().resolve().stem
    folder = Path(args.out_dir or Path('work_dirs') / f'check_{name}')
    check: Audit
    if args.task == 'classification':
        check = checked_classes(args, read_images=not args.no_pictures)
    else:
        check = checked(
            args, folder, read_images=not args.no_pictures, near_duplicates=args.near_duplicates
        )
    for line in report(check, args.limit):
        print(line)
    page, style = folder / 'index.html', Style(**arguments.drawing(args))
    if isinstance(check, MaskAudit):
        write_mask_page(check, page, args.seed, style)
    elif isinstance(check, ClassAudit):
        write_class_page(check, page, args.seed)
    else:
        scales = model_scales(load_config(args.config))
        palette = [wheel(index) for index in range(len(check.classes))]
        write_object_page(check, page, palette, scales, args.seed, style)
    print(printable(f'page: {page}'))
    if args.fix:
        check = _repaired(check, Path(args.fix).expanduser(), args)
    return 2 if check.issues.of(Severity.ERROR) else 0


def _repaired(check: Audit, out: Path, args: Namespace) -> Audit:
    """Writes the repaired copy, and prints its own check."""
    asked = [option for option in REPAIRS[:2] if getattr(args, option)]
    if asked and not isinstance(check, ObjectAudit):
        others = 'semantic masks' if isinstance(check, MaskAudit) else 'classification'
        raise CliError(f'--{asked[0].replace("_", "-")} is for objects, not {others}.')
    options = RepairOptions(
        args.crowd_as_objects, args.boxes_from_masks, args.bits, args.allow_loss
    )
    if isinstance(check, MaskAudit):
        changes = repair_masks(check, out, allow_loss=args.allow_loss, bits=args.bits)
    elif isinstance(check, ClassAudit):
        changes = repair_classes(check, out, options)
    else:
        changes = repair_objects(check, out, options)
    listed = f'{count_of(len(changes), "change")}, listed in changes.txt there'
    print(printable(f'repaired copy: {args.fix} ({listed})'))
    copy: Audit
    if isinstance(check, ClassAudit):
        copy = audit_classes(read_class_dataset(out))
    else:
        kind = 'semantic' if isinstance(check, MaskAudit) else args.task
        copy = audited(read_dataset(out, kind), kind, near_duplicates=args.near_duplicates)
    for line in report(copy, args.limit):
        print(line)
    return copy

"""Plans a benchmark: the groups of cases to measure, and known facts to add to the results."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from casvit.errors import CliError
from casvit.tables import PEERS
from casvit_mm.benchmark.cases import Case, variants
from casvit_mm.benchmark.machine import Limits
from casvit_mm.benchmark.measure import Group
from casvit_mm.benchmark.peers import published_casvit
from casvit_mm.benchmark.roofline import roofline

YARDSTICK = ('m', 'fused')


def groups(args: Namespace, configs: Sequence[str], device: str) -> list[Group]:
    """Builds the groups of cases that the arguments ask for, one per model.

    Args:
        args: The parsed arguments of the command.
        configs: The config files among them.
        device: The device to measure on.

    Raises:
        CliError: There is no such variant in this mode, or no such peer.
    """
    peers = _peers(args)
    sizes = args.sizes or ([] if args.configs else ['xs', 's', 'm', 't'])
    models = [*sizes, *configs, *peers]
    yardstick = None
    if peers:
        shape = args.image_size[0], args.batch_size[0]
        yardstick = Case(*YARDSTICK, 'fp32', args.mode, *shape, device)
    return [
        Group(
            cases[0].label,
            tuple(cases) if yardstick in cases or not yardstick else (yardstick, *cases),
            yardstick,
        )
        for cases in (_cases(model, args, device) for model in models)
    ]


def add_facts(case: dict[str, Any], limits: Limits) -> None:
    """Adds facts that are not measured to a case: its roofline, a published accuracy."""
    if case['kind'] == 'backbone':
        shape = case['model'], case['image_size'], case['batch_size']
        precision, training = case['precision'], case['mode'] == 'training'
        if precision in limits['gemm_flops_per_second']:
            least = roofline(*shape, limits, precision=precision, training=training)
            case['roofline'] = asdict(least)
        case['published'] = published_casvit(case['model'])._asdict()
    elif case['kind'] == 'config':
        # Records may be published, so they must not contain local paths.
        case['model'] = case['label']
    elif case['kind'] == 'peer':
        case['published'] = PEERS[case['model']].published._asdict()


def _peers(args: Namespace) -> list[str]:
    if args.peers is None:
        return []
    unknown = [each for each in args.peers if each not in PEERS]
    if unknown:
        raise CliError(f'There is no peer {", ".join(unknown)}; there are {", ".join(PEERS)}.')
    if args.mode != 'inference' or len(args.image_size) + len(args.batch_size) > 2:
        raise CliError('--peers needs --mode inference, and a single image size and batch size.')
    return args.peers or list(PEERS)


def _cases(model: str, args: Namespace, device: str) -> list[Case]:
    known = variants(model, args.mode)
    chosen = args.variants or known
    if model not in PEERS:
        unknown = [each for each in chosen if each not in known]
        if unknown:
            raise CliError(
                f'There is no variant {" or ".join(unknown)} for {args.mode}; there are '
                f'{", ".join(known)}.'
            )
    return [
        Case(model, variant, precision, args.mode, image_size, batch_size, device)
        for image_size in args.image_size
        for batch_size in args.batch_size
        for variant in (known if model in PEERS else chosen)
        for precision in (['fp32'] if variant == 'reference' else args.precision)
    ]

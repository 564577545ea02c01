"""What the arguments of the benchmark ask to be measured, and what is known of it beforehand."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from casvit.errors import CliError
from casvit.tables import PEERS
from casvit_mm.benchmark.cases import Case, variants
from casvit_mm.benchmark.measure import Group
from casvit_mm.benchmark.peers import published_casvit
from casvit_mm.benchmark.roofline import roofline

YARDSTICK = ('m', 'fused')


def groups(args: Namespace, configs: Sequence[str], device: str) -> list[Group]:
    """What the arguments ask for: a group of each model.

    Args:
        args: The parsed arguments of the command.
        configs: Files of the configs among them.
        device: Where to measure.

    Raises:
        CliError: The mode has no such variant, or there is no such peer.
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


def add_facts(case: dict[str, Any], limits: dict[str, Any]) -> None:
    """Adds what is known of a case and not measured (its roofline, a published accuracy)."""
    if case['kind'] == 'backbone':
        shape = case['model'], case['image_size'], case['batch_size']
        precision, training = case['precision'], case['mode'] == 'training'
        if precision in limits['gemm_flops_per_second']:
            least = roofline(*shape, limits, precision=precision, training=training)
            case['roofline'] = asdict(least)
        case['published'] = published_casvit(case['model'])
    elif case['kind'] == 'config':
        # Where its file lies is nobody else's matter.
        case['model'] = case['label']
    elif case['kind'] == 'peer':
        peer = PEERS[case['model']]
        case['published'] = {'box_ap': peer.box_ap, 'source': peer.source}


def _peers(args: Namespace) -> list[str]:
    if args.peers is None:
        return []
    unknown = [each for each in args.peers if each not in PEERS]
    if unknown:
        raise CliError(f'There is no peer {", ".join(unknown)}; there are {", ".join(PEERS)}.')
    if args.mode != 'inference' or len(args.image_size) + len(args.batch_size) > 2:
        raise CliError('--peers are measured in inference, on one size of images and batch.')
    return args.peers or list(PEERS)


def _cases(model: str, args: Namespace, device: str) -> list[Case]:
    known = variants(model, args.mode)
    chosen = args.variants or known
    if model not in PEERS:
        unknown = [each for each in chosen if each not in known]
        if unknown:
            raise CliError(
                f'There is no {" or ".join(unknown)} variant in {args.mode}: it has '
                f'{", ".join(known)}.'
            )
    return [
        Case(model, variant, precision, args.mode, image_size, batch_size, device)
        for image_size in args.image_size
        for batch_size in args.batch_size
        for variant in (known if model in PEERS else chosen)
        for precision in (['fp32'] if variant == 'reference' else args.precision)
    ]

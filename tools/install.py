#!/usr/bin/env python3
"""Installs everything that casvit_mm needs, and shows its progress.

Examples:
    python tools/install.py                            creates an environment in .venv
    python tools/install.py --into-current             uses the active environment and its torch
    python tools/install.py --wheels FOLDER_OR_PAGE    uses a prebuilt mmcv instead of compiling it
    python tools/install.py --line original --venv .venv-original
    python tools/install.py --check                    only checks that everything can be imported

It needs only Python's standard library. Only mmcv's operators are compiled, and only once: the
build is kept in the cache folder, so that a second set-up takes seconds.
"""

# Interpreters that are too old must get as far as the message that refuses them.
from __future__ import annotations

import argparse
import hashlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from installer.environment import (
    check,
    create_environment,
    find_uv,
    install_opencv,
    install_torch,
    refuse_other_line,
)
from installer.machine import (
    NO_COMPILER,
    WINDOWS,
    find_compiler,
    gpu_present,
    nvcc_refusal,
    other_python,
    python_refusal,
)
from installer.operators import has_kept_build, install_mmcv, wants_cuda
from installer.target import SetupError, Target, say
from installer.versions import EXTRAS, LINES

ROOT = Path(__file__).resolve().parent.parent
DEMO = 'mask_rcnn_casvit-xs_demo_shapes'


def open_target(args: argparse.Namespace) -> Target:
    """Finds the environment that the arguments name."""
    if args.into_current:
        return Target(Path(sys.executable), owned=False)
    if args.python:
        found = shutil.which(args.python)
        if not found:
            raise SetupError(f'--python {args.python}: the interpreter does not exist.')
        return Target(Path(found).absolute(), owned=False)
    python = 'Scripts/python.exe' if WINDOWS else 'bin/python'
    return Target(args.venv.absolute() / python, owned=True)


def fingerprint(args: argparse.Namespace) -> str:
    """Hashes what determines an environment: the files that define it, and the options."""
    digest = hashlib.sha256(f'{args.line} {args.extras} {args.cpu_ops} {args.wheels}'.encode())
    scripts = sorted((ROOT / 'tools' / 'installer').glob('*.py'))
    for path in (Path(__file__), *scripts, ROOT / 'pyproject.toml', ROOT / 'setup.py'):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def project(extras: str) -> str:
    """This package and its training requirements, for an editable install.

    `maintained` and `original` are not included: mmcv is built in a separate step.

    Args:
        extras: Further extras, separated by commas.
    """
    further = (name.strip() for name in extras.split(','))
    return f'{ROOT}[{",".join(dict.fromkeys(["train", *filter(None, further)]))}]'


def set_up(args: argparse.Namespace, target: Target) -> None:
    """Runs all steps, in an order that reports missing requirements early."""
    line = LINES[args.line]
    create_environment(target, args.line)
    installed = target.installed()
    refuse_other_line(installed, args.line)
    target.uv = find_uv(target)
    if line.mmcv.split('==')[0] not in installed and not args.wheels:
        refusal = nvcc_refusal('') if gpu_present() and not args.cpu_ops else None
        if refusal or not (find_compiler() or has_kept_build(line, target.python_tag())):
            raise SetupError(refusal or NO_COMPILER)
    pins, torch = install_torch(target, line)
    warming = target.warm()
    install_opencv(target, pins)
    say(f'Installing {", ".join(line.packages)} and this package')
    packages = (*line.packages, '--editable', project(args.extras))
    target.install('The packages', *packages, pins=pins)
    cuda = wants_cuda(torch, args.cpu_ops)
    if warming:
        warming.wait()
    install_mmcv(target, line, torch, cuda=cuda, wheels=args.wheels)
    if not check(target):
        raise SetupError('Set-up is not complete; see above.')
    target.remember(fingerprint(args), cpu_ops=args.cpu_ops)
    say(f'Ready: {target.python}')


def next_command(target: Target) -> str:
    """The command to type after set-up, which works without activation.

    Args:
        target: The environment.
    """
    python = target.python
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    words = [str(python), '-m', 'casvit', 'train', DEMO]
    return subprocess.list2cmdline(words) if WINDOWS else shlex.join(words)


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        '--venv',
        type=Path,
        default=ROOT / '.venv',
        metavar='FOLDER',
        help='environment to create or use (default: .venv)',
    )
    where.add_argument(
        '--into-current', action='store_true', help='use the environment of this interpreter'
    )
    where.add_argument('--python', metavar='PATH', help='use the environment of that interpreter')
    parser.add_argument(
        '--line',
        choices=sorted(LINES),
        default='maintained',
        help='OpenMMLab line to install (default: maintained)',
    )
    parser.add_argument(
        '--wheels', metavar='FOLDER_OR_PAGE', help='folder or page with prebuilt mmcv wheels'
    )
    parser.add_argument(
        '--cpu-ops', action='store_true', help='build only CPU operators, even if there is a GPU'
    )
    parser.add_argument(
        '--extras',
        metavar='A,B',
        help=f'extras of the package to install (default: {",".join(EXTRAS)}, and with the '
        f'maintained line {",".join(LINES["maintained"].extras)})',
    )
    parser.add_argument(
        '--force', action='store_true', help='run all steps even if nothing has changed'
    )
    parser.add_argument(
        '--no-hint', action='store_true', help='do not print the command to type next'
    )
    parser.add_argument(
        '--check', action='store_true', help='only check that everything can be imported'
    )
    args = parser.parse_args(argv)
    if args.extras is None:
        args.extras = ','.join((*EXTRAS, *LINES[args.line].extras))
    return args


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    args = parse_arguments(argv)
    refusal = python_refusal(tuple(sys.version_info[:2]), args.line)
    if refusal and not (args.python or args.check):
        better = None if args.into_current else other_python(args.line)
        if not better:
            say(refusal)
            return 2
        say(f'Continuing with {better}')
        return subprocess.run([better, __file__, *argv]).returncode
    try:
        target = open_target(args)
        if args.check:
            return 0 if check(target) else 2
        args.cpu_ops = args.cpu_ops or (target.has_cpu_ops and not args.force)
        if not args.force and target.is_set_up_from(fingerprint(args)):
            say(f'{args.venv} is up to date (--check tests it, --force sets it up again)')
        else:
            set_up(args, target)
        if not args.no_hint:
            say(f'Next, train the demo: {next_command(target)}')
        return 0
    except SetupError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say('Stopped; the next run continues from here.')
        return 130


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

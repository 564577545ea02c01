"""All steps except mmcv: environment, uv, torch, opencv, and the final check."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys

from installer.machine import python_refusal
from installer.target import SetupError, Target, last_lines, say
from installer.versions import BUILD_TOOLS, LINES, OPENCV, OPENCVS, Line


def create_environment(target: Target, line: str) -> None:
    """Creates the virtual environment if it is missing, and checks its Python version."""
    if target.owned and not target.python.exists():
        folder = target.python.parent.parent
        if folder.exists() and any(folder.iterdir()):
            raise SetupError(
                f'{folder} is not a virtual environment: remove it, or choose another with --venv.'
            )
        say(f'Creating the environment {folder} with Python {platform.python_version()}')
        made = subprocess.run(
            [sys.executable, '-m', 'venv', str(folder)], capture_output=True, text=True
        )
        if made.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            raise SetupError(
                f'{sys.executable} cannot create virtual environments (Debian/Ubuntu: sudo apt '
                f'install python3-venv):\n{last_lines(made.stdout + made.stderr)}'
            )
    version = target.ask('import sys; print(*sys.version_info[:2])').split()
    if not version:
        raise SetupError(
            f'{target.python} does not start: remove its environment and run this again.'
        )
    refusal = python_refusal(tuple(map(int, version)), line)
    if refusal:
        raise SetupError(f'{target.python}: {refusal}')


def find_uv(target: Target) -> list[str]:
    """Finds uv in the environment, installs it there, or uses the one on PATH.

    uv rather than pip: it caches compiled wheels, can leave out opencv-python, and takes torch only
    from the index, so that torch and torchvision come from one source.
    """
    own = [str(target.python), '-m', 'uv']
    if 'uv' in target.installed():
        return own
    say('Installing uv, which installs all other packages')
    got = subprocess.run(
        [str(target.python), '-m', 'pip', 'install', '-q', 'uv>=0.8'],
        capture_output=True,
        text=True,
    )
    if got.returncode == 0:
        return own
    on_path = shutil.which('uv')
    if on_path:
        return [on_path]
    raise SetupError(f'uv could not be installed, but set-up needs it:\n{last_lines(got.stderr)}')


def refuse_other_line(installed: dict[str, str], line: str) -> None:
    """Refuses an environment with the other line, which uses the same folders mmcv, mmdet, ..."""
    for other, versions in LINES.items():
        names = [pin.split('==')[0] for pin in (versions.mmcv, *versions.packages) if 'mm' in pin]
        there = [name for name in names if name in installed]
        if other != line and there:
            raise SetupError(
                f'This environment contains {", ".join(there)} of the {other} line, which share '
                f'folders with the {line} line: uninstall them, or use another environment '
                '(--venv FOLDER).'
            )


def plan_opencv(
    installed: dict[str, str], imports: bool, owned: bool
) -> tuple[tuple[str, ...], bool]:
    """Decides how to get exactly one opencv distribution that can be imported.

    Args:
        installed: Distributions of the environment.
        imports: Whether `import cv2` works there.
        owned: Whether the environment is this project's own; in others, a working one is kept.

    Returns:
        Distributions to remove, and whether to install the headless one.
    """
    there = tuple(name for name in OPENCVS if name in installed)
    wanted = OPENCV.split('==')[0]
    if len(there) == 1 and imports and (there[0] == wanted or not owned):
        return (), False
    return there, True


def install_opencv(target: Target, pins: tuple[str, ...]) -> None:
    """Makes sure that there is exactly one opencv distribution, because they share a folder."""
    installed = target.installed()
    remove, install = plan_opencv(installed, bool(target.ask('import cv2; print(1)')), target.owned)
    if remove:
        say(
            f'Replacing {", ".join(remove)}: exactly one opencv distribution is needed, one that '
            'works without a display'
        )
        target.uninstall(*remove)
    if install:
        target.install('opencv', OPENCV, pins=pins)
    else:
        kept = next(name for name in OPENCVS if name in installed)
        say(f'Keeping {kept} {installed[kept]}')


def install_torch(target: Target, line: Line) -> tuple[tuple[str, ...], dict]:
    """Installs torch and torchvision, or keeps the installed torch.

    Returns:
        Version constraints for everything installed afterwards, and the facts about torch.
    """
    installed = target.installed()
    if 'torch' in installed:
        pins = tuple(
            f'{name}=={installed[name]}' for name in ('torch', 'torchvision') if name in installed
        )
        say(f'Keeping torch {installed["torch"]}, which is already installed')
    else:
        pins = line.torch
        say(f'Installing {" and ".join(pins)}')
    pins += line.limits
    target.install('torch', 'torch', 'torchvision', *BUILD_TOOLS, pins=pins)
    found = target.examine('torch', 'torchvision')
    for name in found:
        if 'error' in found[name]:
            raise SetupError(remedy(name, found[name]['error'], target))
    return pins, found['torch']


def remedy(name: str, error: str, target: Target) -> str:
    """One sentence about a failed import: which one, why, and what to do."""
    version = target.installed().get('torch', '')
    again = 'run tools/install.py --force'
    advice = {
        'torch': again,
        'torchvision': 'it does not match this torch: uninstall both and run this again',
        'cv2': f'exactly one opencv distribution may be installed, the headless one: {again}',
        'mmcv._ext': f'mmcv was installed without operators, or for another torch: {again}',
        'casvit_mm': f'the package is not installed in this environment, or is broken: {again}',
    }
    if name == 'torchvision' and version.endswith('+cpu'):
        advice[name] = (
            f'torch {version} is a CPU-only build, which does not match the ordinary torchvision: '
            'uninstall torch and torchvision and run this again, or install the +cpu builds of both'
        )
    return f'{name} cannot be imported ({error}); {advice.get(name, again)}.'


def check(target: Target) -> bool:
    """Imports everything in one process, and prints versions and what to do about errors."""
    if not target.ask('print(1)'):
        raise SetupError(
            f'There is no environment at {target.python}: run tools/install.py without --check.'
        )
    opencv = [name for name in OPENCVS if name in target.installed()]
    found = target.examine()
    bad = [
        remedy(name, facts['error'], target) for name, facts in found.items() if 'error' in facts
    ]
    if len(opencv) > 1:
        bad += [
            f'{" and ".join(opencv)} share a folder: run tools/install.py --force to keep only '
            'one of them.'
        ]
    good = [
        f'{name.split(".")[0]} {facts["version"]}'
        for name, facts in found.items()
        if 'error' not in facts
    ]
    say(f'Imports: {", ".join(good) or "nothing"}')
    if 'operators' in found['mmcv._ext']:
        say(f"mmcv's operators: {found['mmcv._ext']['operators']}")
    for sentence in bad:
        say(sentence)
    return not bad

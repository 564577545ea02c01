"""Installs mmcv and its operators: from an earlier build, a prebuilt wheel, or by compiling."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from installer.machine import (
    NO_COMPILER,
    WINDOWS,
    compile_jobs,
    find_compiler,
    find_nvcc,
    gpu_present,
    nvcc_refusal,
)
from installer.target import SetupError, Target, run, say
from installer.versions import Line

PRECOMPILE = Path(__file__).with_name('precompile.py')
BUILD = Path(__file__).resolve().parents[2] / 'build'
# Measured time of compiling mmcv for the CPU times the number of cores; a rough guide for users.
CORE_MINUTES, CORE_MINUTES_WITH_HEADER = 12, 6.5


def wants_cuda(torch: dict, cpu_ops: bool) -> bool:
    """Whether mmcv needs CUDA operators here.

    Raises:
        SetupError: There is a GPU that the torch of this environment cannot use.
    """
    if cpu_ops or not (torch['sees_gpu'] or gpu_present()):
        return False
    if torch['cuda'] and not torch['sees_gpu'] and os.environ.get('FORCE_CUDA') != '1':
        raise SetupError(
            f'This machine has an NVIDIA GPU that torch {torch["version"]} (CUDA {torch["cuda"]}) '
            'cannot use, most often because the driver is older than that CUDA: update the '
            'driver, install a torch for your driver and use --into-current, set FORCE_CUDA=1 to '
            'build for another machine, or use --cpu-ops to stay on the CPU.'
        )
    return True


def mmcv_issue(target: Target, cuda: bool) -> str:
    """Describes what is wrong with the installed mmcv; '' if nothing is."""
    found = target.examine('mmcv._ext')['mmcv._ext']
    if 'error' in found:
        return f'does not fit ({found["error"]})'
    if cuda and found['operators'] == 'CPU':
        return 'has operators for the CPU only'
    return ''


def kept_builds(line: Line, python_tag: str) -> Path:
    """The folder that keeps builds of this mmcv for this Python, one subfolder per kind of torch.

    uv and pip cache builds too, but by version only: they would keep returning a build without
    operators or for another torch.
    """
    home = os.environ.get('XDG_CACHE_HOME') or os.environ.get('LOCALAPPDATA')
    cache = Path(home) if home else Path.home() / '.cache'
    return cache / 'casvit_mm' / 'mmcv' / f'{line.mmcv}-{python_tag}-{sysconfig.get_platform()}'


def has_kept_build(line: Line, python_tag: str) -> bool:
    """Whether there is an earlier build, so that no compiler may be needed."""
    return any(kept_builds(line, python_tag).glob('*/*.whl'))


def build_environment(cuda: bool) -> dict[str, str]:
    """Environment variables of mmcv's build; those that the user has set take precedence."""
    env = {**os.environ, 'MMCV_WITH_OPS': '1'}
    env.setdefault('MAX_JOBS', str(compile_jobs()))
    if not WINDOWS:
        # Any value replaces the interpreter's own flags, so the optimisation has to be given: -O1
        # compiles as fast as none, and the usual -O3 -g takes twice the time.
        for name in ('CFLAGS', 'CXXFLAGS'):
            env.setdefault(name, '-O1 -g0')
    nvcc = find_nvcc()
    if cuda and nvcc:
        env.update(FORCE_CUDA='1', CUDA_HOME=str(nvcc.parent.parent))
    if not cuda:
        # mmcv compiles for CUDA as soon as torch sees a GPU.
        env.update(FORCE_CUDA='0', CUDA_VISIBLE_DEVICES='')
    return env


def precompile_header(target: Target, folder: str, env: dict[str, str]) -> bool:
    """Precompiles torch's header for GCC, and adds it to the flags in `env`.

    Returns:
        Whether it worked. It saves more than half of the build time, but is optional.
    """
    compiler = find_compiler()
    if WINDOWS or not compiler or ' ' in folder:
        return False
    version = subprocess.run([compiler, '--version'], capture_output=True, text=True).stdout
    if 'Free Software Foundation' not in version:
        return False
    header = Path(folder, 'mmcv_prefix.h')
    say("Precompiling torch's header")
    try:
        run([str(target.python), str(PRECOMPILE), str(header)], "torch's header", target.log, env)
    except SetupError:
        return False
    for name in ('CFLAGS', 'CXXFLAGS'):
        env[name] += f' -include {header}'
    return True


def compile_wheel(target: Target, line: Line, folder: str, cuda: bool) -> Path:
    """Compiles mmcv into a wheel.

    Args:
        target: The environment, with torch and the build tools.
        line: The versions.
        folder: Folder for the wheel and temporary files.
        cuda: Whether to also build CUDA operators.

    Raises:
        SetupError: A compiler is missing, or the build failed.
    """
    if not find_compiler():
        raise SetupError(NO_COMPILER)
    env = build_environment(cuda)
    fast = precompile_header(target, folder, env)
    jobs = int(env['MAX_JOBS'])
    minutes = (CORE_MINUTES_WITH_HEADER if fast else CORE_MINUTES) / jobs * (6 if cuda else 1)
    kind = 'CUDA and CPU' if cuda else 'CPU'
    say(
        f'Compiling {line.mmcv} ({kind} operators), {jobs} files at a time: takes about '
        f'{max(1, minutes):.0f} min, only once'
    )
    name = line.mmcv.split('==')[0]
    options = ['--no-deps', '--no-build-isolation', '--no-cache-dir', '--no-binary', name]
    wheels = Path(folder, 'wheels')
    command = [str(target.python), '-m', 'pip', 'wheel', '-v', *options, '-w', str(wheels)]
    run([*command, line.mmcv], 'mmcv', target.log, env)
    return next(wheels.glob('*.whl'))


def build_mmcv(target: Target, line: Line, torch: dict, cuda: bool) -> None:
    """Installs mmcv from an earlier build, or compiles it and keeps the build.

    Raises:
        SetupError: mmcv cannot be compiled, or its operators cannot be imported afterwards.
    """
    name = line.mmcv.split('==')[0]
    options = ['--no-deps', '--reinstall-package', name]
    kind = f'torch{torch["version"]}-cuda' if cuda else f'torch{torch["version"].split("+")[0]}-cpu'
    kept = kept_builds(line, target.python_tag()) / kind
    for wheel in kept.glob('*.whl'):
        say(f'Installing {line.mmcv} from the build of an earlier set-up')
        target.install('mmcv', *options, str(wheel))
        issue = mmcv_issue(target, cuda)
        if not issue:
            return
        say(f'This mmcv {issue}: compiling it again')
    refusal = nvcc_refusal(torch['cuda']) if cuda else None
    if refusal:
        raise SetupError(refusal)
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        wheel = compile_wheel(target, line, folder, cuda)
        shutil.copy(target.log, target.log.with_name('casvit-setup-mmcv.log'))
        target.install('mmcv', *options, str(wheel))
        issue = mmcv_issue(target, cuda)
        if issue:
            raise SetupError(
                f'mmcv was built, but {issue}; the output of the build is in '
                f'{target.log.with_name("casvit-setup-mmcv.log")}'
            )
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        shutil.copy(wheel, kept)


def install_mmcv(
    target: Target,
    line: Line,
    torch: dict,
    *,
    cuda: bool,
    wheels: str | None,
) -> None:
    """Provides an mmcv whose operators can be imported: installed, prebuilt, or compiled.

    Args:
        target: The environment.
        line: The versions.
        torch: Facts about its torch.
        cuda: Whether CUDA operators are needed.
        wheels: Folder or page with prebuilt wheels.

    Raises:
        SetupError: There is no mmcv whose operators can be imported.
    """
    name = line.mmcv.split('==')[0]
    if name in target.installed():
        issue = mmcv_issue(target, cuda)
        if not issue:
            say(f'Keeping {name}, whose operators can be imported')
            return
        say(f'The installed {name} {issue}: replacing it')
    if wheels:
        say(f'Looking for a wheel of {line.mmcv} in {wheels}')
        try:
            options = ['--no-deps', '--reinstall-package', name, '--only-binary', name]
            target.install('mmcv', *options, '--find-links', wheels, line.mmcv)
            issue = mmcv_issue(target, cuda)
        except SetupError as error:
            issue = f'does not exist for this Python:\n{error}'
        if not issue:
            return
        say(f'The wheel {issue}; building mmcv instead')
    build_mmcv(target, line, torch, cuda)

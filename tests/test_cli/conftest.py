"""A small dataset, a run on it, and a way to call commands."""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from mmengine.logging import MMLogger
from quick_runs import DEMO, QUICK

from casvit.cli.main import run_tool
from casvit_mm.datasets.shapes.objects import generate


class Answer(NamedTuple):
    """The exit code and output of a command."""

    code: int
    out: str
    err: str


class FinishedRun(NamedTuple):
    """The output of a run."""

    work_dir: Path
    out: str


@pytest.fixture(autouse=True)
def no_log_of_an_earlier_run() -> Iterator[None]:
    """Closes log files: here one process runs several commands, which must not share logs."""
    _close_logs()
    yield
    _close_logs()


def _close_logs() -> None:
    for handler in list(MMLogger.get_current_instance().handlers):
        if hasattr(handler, 'baseFilename'):
            MMLogger.get_current_instance().removeHandler(handler)
            # The disk of a test may be full.
            with contextlib.suppress(OSError):
                handler.close()


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    """Calls a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *argv: object) -> Answer:
        capsys.readouterr()
        code = run_tool(name, [str(value) for value in argv])
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture(scope='session')
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated dataset, which no test may change."""
    root = tmp_path_factory.mktemp('shapes')
    generate(root, num_train=8, num_val=4, size=96, seed=0, progress=False)
    return root


@pytest.fixture(scope='session')
def finished_run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run of two iterations."""
    work_dir = tmp_path_factory.mktemp('run')
    where = ['--data-root', str(shapes), '--work-dir', str(work_dir)]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert run_tool('train', [DEMO, *where, *QUICK]) == 0
    return FinishedRun(work_dir, out.getvalue())


@pytest.fixture(scope='session')
def work_dir(finished_run: FinishedRun) -> Path:
    """The work dir of the run."""
    return finished_run.work_dir


@pytest.fixture(scope='session')
def checkpoint(work_dir: Path) -> Path:
    """Its checkpoint."""
    return work_dir / 'epoch_1.pth'

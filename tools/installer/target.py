"""The environment that is set up, and running commands in it: with progress, a log, and uv."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from installer.versions import OPENCVS

CHECK = Path(__file__).with_name('check.py')
BEAT_SECONDS = 15
# On a terminal, progress is one line that changes.
REDRAW_SECONDS = 1
STARTED = time.monotonic()


class SetupError(RuntimeError):
    """Set-up cannot continue; the message is the whole explanation for the user."""


def say(text: str) -> None:
    """Prints a sentence with the seconds since the start, in whole words on a terminal."""
    line = _timed(text)
    if on_terminal():
        width = shutil.get_terminal_size().columns - 1
        indent = ' ' * (len(line) - len(text))
        line = textwrap.fill(line, width, subsequent_indent=indent, break_on_hyphens=False)
    print(line, flush=True)


def show(text: str) -> None:
    """Writes progress over the last line of a terminal; an empty text removes it."""
    line = _timed(text)[: shutil.get_terminal_size().columns - 1] if text else ''
    # Clears from the cursor to the end of the row.
    print(f'\r{line}\x1b[K', end='', flush=True)


def on_terminal() -> bool:
    """Whether progress can be written over itself."""
    return sys.stdout.isatty() and os.environ.get('TERM', 'dumb') != 'dumb'


def _timed(text: str) -> str:
    return f'[{time.monotonic() - STARTED:4.0f} s] {text}'


def read_log(log: Path) -> str:
    """Reads the output of a command so far."""
    return log.read_text(encoding='utf-8', errors='replace')


def last_lines(log: str, count: int = 6) -> str:
    """Picks the lines of a build's output that show what went wrong."""
    lines = [line.strip()[:300] for line in log.splitlines() if line.strip()]
    telling = [
        line
        for line in lines
        if re.search(r'\b(fatal|error|killed|not found)\b', line, re.IGNORECASE)
    ]
    return '\n'.join(f'    {line}' for line in (telling or lines)[-count:])


def compiled_files(log: str) -> str:
    """The progress of a build from its output: '31 of 78 files compiled', '' before it starts."""
    counts = re.findall(r'^\s*\[(\d+)/(\d+)\] ', log, re.MULTILINE)
    return '{} of {} files compiled'.format(*counts[-1]) if counts else ''


def run(command: list[str], label: str, log: Path, env: dict[str, str] | None = None) -> None:
    """Runs a command with its output in a log file, and shows progress meanwhile.

    Raises:
        SetupError: The command failed; the message has its last errors and the log file.
    """
    with log.open('w+', encoding='utf-8', errors='replace') as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env
        )
        began, live = time.monotonic(), on_terminal()
        try:
            while True:
                try:
                    code = process.wait(timeout=REDRAW_SECONDS if live else BEAT_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    done = compiled_files(read_log(log)) or 'still running'
                    tell = show if live else say
                    tell(f'  {label}: {done} after {time.monotonic() - began:.0f} s')
        except KeyboardInterrupt:
            process.terminate()
            raise
        finally:
            if live:
                show('')
    if code:
        raise SetupError(
            f'{label} failed (exit code {code}):\n{last_lines(read_log(log))}\n'
            f'The full output is in {log}'
        )


@dataclasses.dataclass
class Target:
    """The environment that is set up.

    Attributes:
        python: Its interpreter.
        owned: Whether it is this project's own, so that unsuitable packages may be replaced.
    """

    python: Path
    owned: bool
    uv: list[str] = dataclasses.field(default_factory=list)

    @property
    def log(self) -> Path:
        """The file with the output of its last command."""
        folder = self.python.parent.parent if self.owned else Path(tempfile.gettempdir())
        return folder / 'casvit-setup.log'

    @property
    def stamp(self) -> Path:
        """The file with the fingerprint that this environment was set up from."""
        return self.python.parent.parent / 'casvit-setup.stamp'

    @property
    def has_cpu_ops(self) -> bool:
        """Whether this environment was set up with --cpu-ops."""
        return self.owned and self.stamp.with_suffix('.cpu-ops').exists()

    def is_set_up_from(self, fingerprint: str) -> bool:
        """Whether the environment is up to date; never true for one that users manage."""
        return self.owned and self.stamp.exists() and self.stamp.read_text() == fingerprint

    def remember(self, fingerprint: str, *, cpu_ops: bool) -> None:
        """Saves the fingerprint that the environment was set up from, and the choice of --cpu-ops.

        The choice stays until --force: `make demo` builds no other operators than `make setup`.
        """
        if self.owned:
            self.stamp.write_text(fingerprint)
            chosen = self.stamp.with_suffix('.cpu-ops')
            if cpu_ops:
                chosen.touch()
            else:
                chosen.unlink(missing_ok=True)

    def ask(self, code: str) -> str:
        """Runs Python code there and returns its output; '' if it fails."""
        command = [str(self.python), '-W', 'ignore', '-c', code]
        try:
            answer = subprocess.run(
                command, capture_output=True, text=True, cwd=tempfile.gettempdir()
            )
        except OSError:
            return ''
        return answer.stdout if answer.returncode == 0 else ''

    def warm(self) -> subprocess.Popen[bytes] | None:
        """Imports torch there in the background, so that Python compiles its thousands of files.

        This takes as long as installing the other packages, which leaves a core idle. Errors are
        left to the final check. Returns None if there is no interpreter.
        """
        command = [str(self.python), '-W', 'ignore', '-c', 'import torchvision']
        quiet = subprocess.DEVNULL
        try:
            return subprocess.Popen(
                command, stdin=quiet, stdout=quiet, stderr=quiet, cwd=tempfile.gettempdir()
            )
        except OSError:
            return None

    def python_tag(self) -> str:
        """The tag of its Python in wheel names, such as 'cp311'."""
        return self.ask('import sys; print("cp%d%d" % sys.version_info[:2])').strip()

    def installed(self) -> dict[str, str]:
        """Names and versions of the installed distributions."""
        listing = self.ask(
            'import json, importlib.metadata as m\n'
            "print(json.dumps({(d.metadata['Name'] or '').lower().replace('_', '-'): d.version "
            'for d in m.distributions()}))'
        )
        return json.loads(listing or '{}')

    def install(
        self, label: str, *arguments: str, pins: tuple[str, ...] = (), env: dict | None = None
    ) -> None:
        """Installs with uv; `pins` constrain everything that is resolved."""
        with tempfile.TemporaryDirectory() as folder:
            constraints, overrides = Path(folder, 'constraints.txt'), Path(folder, 'overrides.txt')
            constraints.write_text('\n'.join(pins))
            # mmcv and others require opencv-python, which conflicts with the headless one.
            overrides.write_text(
                '\n'.join(f"{name}; sys_platform == 'never'" for name in OPENCVS[:2])
            )
            options = ['--constraints', str(constraints), '--overrides', str(overrides)]
            command = [*self.uv, 'pip', 'install', '--python', str(self.python), *options]
            run([*command, *arguments], label, self.log, env)

    def uninstall(self, *names: str) -> None:
        """Removes distributions."""
        command = [*self.uv, 'pip', 'uninstall', '--python', str(self.python), *names]
        run(command, 'Removing', self.log)

    def examine(self, *names: str) -> dict[str, dict]:
        """Imports modules there, in one process; see check.py.

        Python keeps the bytecode, even if PYTHONDONTWRITEBYTECODE is set, as in many containers:
        otherwise every start of a tool would compile thousands of files again.
        """
        env = dict(os.environ)
        if self.owned:
            env.pop('PYTHONDONTWRITEBYTECODE', None)
        answer = subprocess.run(
            [str(self.python), '-W', 'ignore', str(CHECK), *names],
            capture_output=True,
            text=True,
            env=env,
        )
        try:
            return json.loads(answer.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            raise SetupError(
                f'The imports crashed the interpreter {self.python}:\n{last_lines(answer.stderr)}'
            ) from None

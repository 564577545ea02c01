"""The environment that is set up, and how things are run in it: aloud, with a log, with uv."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from installer.versions import OPENCVS

CHECK = Path(__file__).with_name('check.py')
BEAT_SECONDS = 15
STARTED = time.monotonic()


class SetupError(RuntimeError):
    """Set-up cannot go on; the message is the whole sentence for the person."""


def say(text: str) -> None:
    """Prints one line with the seconds since the start."""
    print(f'[{time.monotonic() - STARTED:4.0f} s] {text}', flush=True)


def read_log(log: Path) -> str:
    """Reads what a command has said so far."""
    return log.read_text(encoding='utf-8', errors='replace')


def last_lines(log: str, count: int = 6) -> str:
    """Picks the lines of a build's output that say what went wrong."""
    lines = [line.strip()[:300] for line in log.splitlines() if line.strip()]
    telling = [
        line
        for line in lines
        if re.search(r'\b(fatal|error|killed|not found)\b', line, re.IGNORECASE)
    ]
    return '\n'.join(f'    {line}' for line in (telling or lines)[-count:])


def compiled_files(log: str) -> str:
    """Reads how far a build is from its output: '31 of 78 files', '' before it starts."""
    counts = re.findall(r'^\s*\[(\d+)/(\d+)\] ', log, re.MULTILINE)
    return '{} of {} files compiled'.format(*counts[-1]) if counts else ''


def run(command: list[str], label: str, log: Path, env: dict[str, str] | None = None) -> None:
    """Runs a command with its output in a log file, and a line every few seconds while it lasts.

    Raises:
        SetupError: It failed; with the last telling lines and the path of the log file.
    """
    with log.open('w+', encoding='utf-8', errors='replace') as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env
        )
        began = time.monotonic()
        try:
            while True:
                try:
                    code = process.wait(timeout=BEAT_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    done = compiled_files(read_log(log)) or 'still at it'
                    say(f'  {label}: {done} after {time.monotonic() - began:.0f} s')
        except KeyboardInterrupt:
            process.terminate()
            raise
    if code:
        raise SetupError(
            f'{label} failed (exit code {code}):\n{last_lines(read_log(log))}\n'
            f'Everything it said is in {log}'
        )


@dataclasses.dataclass
class Target:
    """The environment that is set up.

    Attributes:
        python: Its interpreter.
        owned: Whether it is this project's own, so that what is wrong in it may be replaced.
    """

    python: Path
    owned: bool
    uv: list[str] = dataclasses.field(default_factory=list)

    @property
    def log(self) -> Path:
        """Where the output of its last command stands."""
        folder = self.python.parent.parent if self.owned else Path(tempfile.gettempdir())
        return folder / 'casvit-setup.log'

    @property
    def stamp(self) -> Path:
        """The file that says what this environment was set up from."""
        return self.python.parent.parent / 'casvit-setup.stamp'

    def is_set_up_from(self, fingerprint: str) -> bool:
        """Whether nothing has to be done; of an environment that others change nobody knows."""
        return self.owned and self.stamp.exists() and self.stamp.read_text() == fingerprint

    def remember(self, fingerprint: str) -> None:
        """Notes what the environment was set up from."""
        if self.owned:
            self.stamp.write_text(fingerprint)

    def ask(self, code: str) -> str:
        """Runs a piece of Python there and returns what it prints; '' where it fails."""
        command = [str(self.python), '-W', 'ignore', '-c', code]
        try:
            answer = subprocess.run(
                command, capture_output=True, text=True, cwd=tempfile.gettempdir()
            )
        except OSError:
            return ''
        return answer.stdout if answer.returncode == 0 else ''

    def warm(self) -> subprocess.Popen[bytes] | None:
        """Imports torch there in the background, which compiles its thousands of files.

        It takes as long as installing the rest, on a core that this leaves idle. Whether it works
        is for the check to say. None where there is no interpreter.
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
        """The tag of its Python in the names of wheels: 'cp311'."""
        return self.ask('import sys; print("cp%d%d" % sys.version_info[:2])').strip()

    def installed(self) -> dict[str, str]:
        """Names and versions of the distributions there."""
        listing = self.ask(
            'import json, importlib.metadata as m\n'
            "print(json.dumps({(d.metadata['Name'] or '').lower().replace('_', '-'): d.version "
            'for d in m.distributions()}))'
        )
        return json.loads(listing or '{}')

    def install(
        self, label: str, *arguments: str, pins: tuple[str, ...] = (), env: dict | None = None
    ) -> None:
        """Installs with uv; `pins` hold for everything that is resolved."""
        with tempfile.TemporaryDirectory() as folder:
            constraints, overrides = Path(folder, 'constraints.txt'), Path(folder, 'overrides.txt')
            constraints.write_text('\n'.join(pins))
            # mmcv and others ask for opencv-python, which fights with the headless one.
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

        Python keeps what it compiled for that, also where the shell says PYTHONDONTWRITEBYTECODE,
        as many containers do: without, every start of a tool compiles thousands of files again.
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
                f'The imports ended the interpreter {self.python}:\n{last_lines(answer.stderr)}'
            ) from None

"""The record of a comparison: one JSON file in its folder, which grows by a model at a time."""

import datetime
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from casvit.files import write_whole
from casvit.sentences import reason_of
from casvit.tables import PEERS
from casvit_mm import __version__
from casvit_mm.benchmark.machine import describe
from casvit_mm.comparison.candidates import ComparisonError
from casvit_mm.comparison.plan import Settings

NAME = 'compare.json'


def open_record(folder: Path, settings: Settings) -> dict[str, Any]:
    """The record in a folder, to go on with, or a new one.

    Args:
        folder: The folder, which need not exist.
        settings: The settings of the measurements to come.

    Returns:
        ``date``, ``casvit_mm``, ``machine``, ``settings``, and ``models``: what has been measured,
        by key of the candidate.

    Raises:
        ComparisonError: The record cannot be read, or is of other settings or another machine.
    """
    new: dict[str, Any] = {
        'date': datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d'),
        'casvit_mm': __version__,
        'machine': describe(settings.device, settings.threads),
        # As JSON has it, to compare with a record that was read.
        'settings': json.loads(json.dumps(asdict(settings))),
        'models': {},
    }
    file = folder / NAME
    if not file.exists():
        return new
    record = read_record(file)
    for part, same in (('settings', 'with the same settings'), ('machine', 'on that machine')):
        if differing := _difference(record[part], new[part]):
            name, before, now = differing
            raise ComparisonError(
                f'{file} was measured with {name} {before}, and this would be {now}: choose '
                f'another folder with --out, or measure {same}.'
            )
    return record


def read_record(file: Path) -> dict[str, Any]:
    """Reads a record.

    Raises:
        ComparisonError: The file cannot be read, or is no such record.
    """
    try:
        record = json.loads(file.read_text(encoding='utf-8'))
        if all(isinstance(record[key], dict) for key in ('machine', 'settings', 'models')):
            return record
        raise ValueError('other types')
    except OSError as error:
        raise ComparisonError(f'The record {file} cannot be read: {reason_of(error)}.') from error
    except (ValueError, KeyError, TypeError) as error:
        raise ComparisonError(f'{file} is not a record written by casvit compare --out.') from error


def keep_record(record: dict[str, Any], folder: Path) -> None:
    """Writes a record into its folder.

    Raises:
        ComparisonError: It cannot be written.
    """
    file = folder / NAME
    try:
        write_whole(file, json.dumps(record) + '\n')
    except OSError as error:
        raise ComparisonError(f'{file} cannot be written: {reason_of(error)}.') from error


def command_of(record: dict[str, Any]) -> str:
    """The command that repeats the measurements of a record.

    Args:
        record: The record.
    """
    settings = record['settings']
    names = {
        kind: [key for key, entry in record['models'].items() if entry['kind'] == kind]
        for kind in ('mixer', 'peer')
    }
    chosen = f' --mixers {" ".join(names["mixer"])}' if names['mixer'] else ''
    if set(names['peer']) != set(PEERS):
        chosen += f' --peers {" ".join(names["peer"])}' if names['peer'] else ' --no-peers'
    return (
        f'casvit compare{chosen} --size {settings["size"]} --image-size {settings["image_size"]} '
        f'--variants {" ".join(settings["variants"])} '
        f'--growth-sizes {" ".join(map(str, settings["growth_sizes"]))} '
        f'--batch-size {settings["batch_size"]} --turns {settings["turns"]} '
        f'--seconds {settings["seconds"]:g} --threads {settings["threads"]} '
        f'--device {settings["device"]} --out FOLDER'
    )


def _difference(before: dict[str, Any], now: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """The first value that differs between two nested dicts: its name, and both values."""
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            if found := _difference(old, new):
                return found
        elif old != new:
            return name, old, new
    return None

"""The record of a comparison: one JSON file in its folder, which grows by a model at a time."""

import datetime
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from casvit.files import write_whole
from casvit.sentences import reason_of
from casvit.tables import PEERS, TRAINED_PEERS
from casvit_mm import __version__
from casvit_mm.benchmark.machine import describe
from casvit_mm.comparison.candidates import DEFAULT_MIXER, SIZE_PREFIX, ComparisonError
from casvit_mm.comparison.plan import Settings
from casvit_mm.comparison.trained.plan import TrainedSettings

NAME = 'compare.json'
KINDS = ('mixer', 'size', 'peer')


def open_record(folder: Path, settings: Settings) -> dict[str, Any]:
    """The record in a folder, to go on with, or a new one.

    Args:
        folder: The folder, which need not exist.
        settings: The settings of the measurements to come.

    Returns:
        ``date``, ``casvit_mm``, ``machine``, ``settings``; ``imports``, the modules that register
        mixers; and ``models``: what has been measured, by key of the candidate.

    Raises:
        ComparisonError: The record cannot be read, or is of other settings or another machine.
    """
    new = _new(settings.device, settings.threads, settings)
    file = folder / NAME
    if not file.exists():
        return new
    record = read_record(file)
    if not record['models']:
        # It has trained candidates only, which have settings of their own.
        return {**record, **new}
    _require_same(file, record, new, 'measured')
    return record


def open_trained(folder: Path, speed: Settings, trained: TrainedSettings) -> dict[str, Any]:
    """The record in a folder, to go on with trained candidates, or a new one.

    Args:
        folder: The folder, which need not exist.
        speed: Settings of measurements, for a new record, and the device and threads to train with.
        trained: The settings of the training runs.

    Returns:
        As of :func:`open_record`, and ``trained``: a dict with ``date``, ``casvit_mm``,
        ``machine``, ``settings``; ``models``, the ``label`` and ``kind`` of each candidate by its
        key; and ``runs``, the results by the names of the runs, as of
        :func:`casvit_mm.comparison.trained.execute.carry_out`. The command adds ``summary``, as of
        :func:`casvit_mm.comparison.trained.summary.summary`.

    Raises:
        ComparisonError: The record cannot be read, or its runs are of other settings or another
            machine.
    """
    file = folder / NAME
    machine = (speed.device, speed.threads)
    record = read_record(file) if file.exists() else _new(*machine, speed)
    new = {**_new(*machine, trained), 'runs': {}}
    if 'trained' in record:
        _require_same(file, record['trained'], new, 'trained')
    else:
        record['trained'] = new
    return record


def _new(device: str, threads: int, settings: Settings | TrainedSettings) -> dict[str, Any]:
    return {
        'date': datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d'),
        'casvit_mm': __version__,
        'machine': describe(device, threads),
        # As JSON has it, to compare with a record that was read.
        'settings': json.loads(json.dumps(asdict(settings))),
        'imports': [],
        'models': {},
    }


def _require_same(file: Path, before: dict[str, Any], new: dict[str, Any], done: str) -> None:
    for part, same in (('settings', 'use the same settings'), ('machine', 'go on on that machine')):
        if differing := _difference(before[part], new[part]):
            name, old, now = differing
            raise ComparisonError(
                f'{file} was {done} with {name} {old}, and this would be {now}: choose '
                f'another folder with --out, or {same}.'
            )


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


def add_imports(record: dict[str, Any], modules: Iterable[str]) -> None:
    """Adds modules that register mixers to a record, for the command that repeats it.

    Args:
        record: The record.
        modules: Their names.
    """
    record['imports'] = list(dict.fromkeys([*record.get('imports', []), *modules]))


def keep_record(record: dict[str, Any], folder: Path) -> None:
    """Writes a record into its folder, with its models in the order of the tables.

    These are the mixers, that of CAS-ViT first, the sizes, and the peers as
    :data:`casvit.tables.PEERS` has them, in whichever order they were measured.

    Raises:
        ComparisonError: It cannot be written.
    """
    file = folder / NAME
    record['models'] = dict(sorted(record['models'].items(), key=_place))
    try:
        write_whole(file, json.dumps(record) + '\n')
    except OSError as error:
        raise ComparisonError(f'{file} cannot be written: {reason_of(error)}.') from error


def _place(item: tuple[str, dict[str, Any]]) -> tuple[int, int]:
    key, entry = item
    peers = list(PEERS)
    within = peers.index(key) if key in peers else int(key != DEFAULT_MIXER)
    return KINDS.index(entry['kind']), within


def command_of(record: dict[str, Any]) -> str:
    """The command that repeats the measurements of a record.

    Args:
        record: The record.
    """
    settings = record['settings']
    return (
        f'casvit compare{_chosen(record["models"], record, PEERS)} --size {settings["size"]} '
        f'--image-size {settings["image_size"]} '
        f'--variants {" ".join(settings["variants"])} '
        f'--growth-sizes {" ".join(map(str, settings["growth_sizes"]))} '
        f'--batch-size {settings["batch_size"]} --turns {settings["turns"]} '
        f'--seconds {settings["seconds"]:g} --threads {settings["threads"]} '
        f'--device {settings["device"]} --out FOLDER'
    )


def trained_command_of(record: dict[str, Any]) -> str:
    """The command that repeats the training runs of a record.

    Args:
        record: The record.
    """
    trained = record['trained']
    settings = trained['settings']
    used = {each['task'] for each in trained['runs'].values()}
    tasks = [task for task in settings['steps'] if task in used]
    rates, seeds = (' '.join(f'{each:g}' for each in settings[key]) for key in ('rates', 'seeds'))
    steps = ' '.join(str(settings['steps'][task]) for task in tasks)
    chosen = _chosen(trained['models'], record, TRAINED_PEERS)
    device = 'cuda' if 'gpu' in trained['machine'] else 'cpu'
    return (
        f'casvit compare --train{chosen} --size {settings["size"]} '
        f'--tasks {" ".join(tasks)} --steps {steps} --rates {rates} --seeds {seeds} '
        f'--threads {trained["machine"]["threads"]} --device {device} '
        f'--jobs {trained["summary"]["jobs"]} --out FOLDER'
    )


def _chosen(
    models: Mapping[str, dict[str, Any]], record: dict[str, Any], usual_peers: Iterable[str]
) -> str:
    """The options that name the candidates; the usual peers need none."""
    names: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for key, entry in models.items():
        names[entry['kind']].append(
            key.removeprefix(SIZE_PREFIX) if entry['kind'] == 'size' else key
        )
    options = dict(zip(names, ('--mixers', '--other-sizes', '--peers'), strict=True))
    words = [
        f'{options[kind]} {" ".join(found)}'
        for kind, found in names.items()
        if found and not (kind == 'peer' and set(found) == set(usual_peers))
    ]
    if not names['peer']:
        words.append('--no-peers')
    if imports := record.get('imports'):
        words.append(f'--custom-imports {" ".join(imports)}')
    return ''.join(f' {each}' for each in words)


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

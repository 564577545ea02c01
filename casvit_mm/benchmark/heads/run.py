"""Tries all configs of the table, each in a process of its own, and keeps what was tried."""

import importlib
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from mmengine.utils import get_installed_path

from casvit.files import write_whole
from casvit_mm.benchmark.heads.swap import shipped_file
from casvit_mm.benchmark.heads.table import EXCLUDED, HEADS, Head
from casvit_mm.benchmark.heads.trial import try_head

TOOLBOXES = ('mmdet', 'mmseg')
PACKAGES = (
    'torch',
    'onedl-mmengine',
    'mmengine',
    'onedl-mmcv',
    'mmcv',
    'onedl-mmdetection',
    'mmdet',
    'onedl-mmsegmentation',
    'mmsegmentation',
)
SIZE = 'xs'
# Seconds after which a config counts as one that does not work.
PATIENCE = 900


def versions() -> dict[str, str]:
    """The versions that a record belongs to."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def shipped_folders() -> set[str]:
    """The folders of configs that the installed toolboxes ship: toolbox and name."""
    folders = set()
    for name in TOOLBOXES:
        configs = Path(get_installed_path(name)) / '.mim' / 'configs'
        folders |= {f'{name}/{each.name}' for each in configs.iterdir() if each.is_dir()}
    return {each for each in folders if not each.endswith('/_base_')}


def import_toolboxes() -> None:
    """Imports the toolboxes completely, as the configs expect."""
    for name in TOOLBOXES:
        importlib.import_module(f'{name}.utils').register_all_modules(init_default_scope=False)


def try_all(
    unfinished: Path, tell: Callable[[str], None], heads: Sequence[Head] = HEADS
) -> dict[str, Any]:
    """Tries configs one after the other.

    Args:
        unfinished: A file that the record is written to after each config. Rows in it that are
            of the same versions and the same table are not tried again.
        tell: Called with a line of text about each config.
        heads: The configs.

    Returns:
        The record: ``versions``, ``size``, ``rows`` by config, each with what
        :func:`casvit_mm.benchmark.heads.trial.try_head` returns or with an ``error``, and
        ``excluded`` folders with the names of their reasons.
    """
    record: dict[str, Any] = dict(versions=versions(), size=SIZE, rows={})
    known = _known_rows(unfinished, record)
    import_toolboxes()
    shipped = shipped_folders()
    for head in heads:
        table = json.loads(json.dumps(asdict(head)))
        row = known.get(head.config)
        if row is None or row['table'] != table:
            row = dict(_tried(head), table=table)
        record['rows'][head.config] = row
        tell(f'{head.config}: {row.get("error") or "works"}')
        write_whole(unfinished, json.dumps(record, indent=1) + '\n')
    record['excluded'] = {name: why for name, why in EXCLUDED.items() if name in shipped}
    return record


def _known_rows(unfinished: Path, record: dict[str, Any]) -> dict[str, Any]:
    if not unfinished.is_file():
        return {}
    known = json.loads(unfinished.read_text(encoding='utf-8'))
    same = all(known.get(key) == record[key] for key in ('versions', 'size'))
    return known['rows'] if same else {}


def _tried(head: Head) -> dict[str, Any]:
    """Tries a config in a process of its own, which may crash or run out of memory."""
    if not shipped_file(head).is_file():
        return dict(error='This version of the toolbox does not ship it.')
    # A forked process has the toolboxes, which take half a minute to import.
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(head, sender), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(PATIENCE):
            return dict(error=f'It did not finish within {PATIENCE} seconds.')
        return receiver.recv()
    except EOFError:
        process.join()
        return dict(error=f'Its process ended with the code {process.exitcode}.')
    finally:
        process.kill()
        process.join()


def _answer(head: Head, sender: Connection) -> None:
    # What libraries print is of no use to the reader.
    sys.stdout = sys.stderr = open(os.devnull, 'w')  # noqa: PTH123, SIM115
    torch.set_num_threads(1)
    try:
        sender.send(try_head(head, SIZE))
    # Whatever stops a config is its row of the page.
    except Exception as error:
        sender.send(dict(error=f'{type(error).__name__}: {error}'.splitlines()[0][:300]))

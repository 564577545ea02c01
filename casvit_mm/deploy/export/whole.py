"""Writes the files of an exported model together, once they answer like the model itself."""

import importlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from casvit.backends import load_backend
from casvit.exported.description import Description, description_file
from casvit.exported.formats import FORMATS
from casvit.exported.model import ExportedModel
from casvit.exported.parity import TOLERANCES, Difference, difference
from casvit.files import write_whole
from casvit.sentences import count_of
from casvit.tables import OBJECT_TASKS
from casvit.weights.digest import sha256
from casvit_mm.deploy.export import WRITERS
from casvit_mm.deploy.export.program import ExportError, Network

OTHER_SIZES = ((160, 224), (256, 192))
"""Sizes at which a file for images of any size is compared, besides that of its example."""


def export(
    network: Network, description: Description, out: Path, tell: Callable[[str], None]
) -> tuple[int, list[Difference]]:
    """Writes a model in a format, and keeps it if it answers like the network.

    Args:
        network: The network.
        description: What the file says of itself.
        out: The file.
        tell: Called with a line of text about each comparison.

    Returns:
        Bytes of all its files, and how its answers differ from the network's, for each size of
        input that was compared.

    Raises:
        ExportError: It cannot be traced, or does not answer the same; nothing is left of it.
        MissingPackageError: What writes or runs the format cannot be imported.
        OSError: It cannot be written.
    """
    chosen = FORMATS[description.format]
    differences: list[Difference] = []
    with _folder_beside(out) as folder:
        _require_space(folder, network.module, description)
        file = folder / out.name
        importlib.import_module(WRITERS[description.format]).write(network, description, file)
        if not chosen.described_inside:
            _describe(file, description)
        if not chosen.backend:
            tell(f'not here: {chosen.name} files run on other machines only')
        else:
            tolerance = TOLERANCES[description.precision]
            for at, found in compared(file, network, description):
                tell(f'{at}: {found}')
                differences.append(found)
                if not tolerance.allows(found):
                    raise ExportError(
                        f'The exported file does not answer like PyTorch ({at}: {found}), so it '
                        'was not kept.'
                    )
        size = sum(each.stat().st_size for each in folder.rglob('*') if each.is_file())
        # The description last: without it, the others are no model yet.
        for each in sorted(folder.iterdir(), key=lambda each: each.suffix == '.json'):
            _move(each, out.parent / each.name)
    return size, differences


def compared(
    file: Path, network: Network, description: Description
) -> Iterator[tuple[str, Difference]]:
    """Runs a file beside PyTorch.

    Args:
        file: The exported file.
        network: What it was exported from.
        description: What it says of itself.

    Yields:
        For each size of input: what it was, and how the answers differ.
    """
    options = dict(device='cpu', trust=FORMATS[description.format].runs_code)
    model = load_backend(str(file), options)
    assert isinstance(model, ExportedModel)
    inputs = [network.example]
    if network.dynamic:
        inputs += [_resized(network.example, size) for size in OTHER_SIZES]
    if network.batches:
        inputs.append(torch.cat([network.example, network.example.flip(3)]))
    for images in inputs:
        expected = [each.numpy() for each in network(images)]
        answer = model.network_outputs(images.numpy())
        found = difference(description.task, expected, answer, most=network.most)
        batch, _, height, width = images.shape
        at = f'{width} x {height} px' + (f', batch of {batch}' if batch > 1 else '')
        if description.task in OBJECT_TASKS:
            at += f', {count_of(found.objects, "object")}'
        yield at, found


def _require_space(folder: Path, module: torch.nn.Module, description: Description) -> None:
    """Checks that a disk has room for a file: runtimes do not always notice that it has not.

    Raises:
        ExportError: It has not.
    """
    weights = sum(each.nbytes for each in (*module.parameters(), *module.buffers()))
    # The graph comes to it, and the code of a compiled one.
    needed = weights // (2 if description.precision == 'fp16' else 1) * 5 // 4 + 2**21
    if (free := shutil.disk_usage(folder).free) < needed:
        raise ExportError(
            f'The disk of {folder.parent} has {free / 1e6:.0f} MB left, but the file needs about '
            f'{needed / 1e6:.0f} MB. Name a file on another disk with --out FILE.'
        )


def _describe(file: Path, description: Description) -> None:
    """Writes the description beside a file, with the digests of all files that belong to it."""
    files = {each.name: sha256(each) for each in sorted(file.parent.iterdir()) if each.is_file()}
    write_whole(description_file(file), replace(description, files=files).to_json())


def _resized(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    resized = torch.nn.functional.interpolate(image.float(), size, mode='bilinear')
    return resized.round().to(torch.uint8)


def _move(source: Path, target: Path) -> None:
    if target.is_dir() and source.is_dir():
        shutil.rmtree(target)
    source.replace(target)


@contextmanager
def _folder_beside(out: Path) -> Iterator[Path]:
    """A folder for unfinished files, on the disk of the finished ones."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', dir=out.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

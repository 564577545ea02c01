"""ncnn, for phones and small boards, converted by pnnx from a trace."""

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from casvit.exported.description import INPUT, Description
from casvit_mm.deploy.export.program import ExportError, Network, missing_converter, traced

HALVES = 0x01306B47
"""What stands before weights in fp16; 0 stands before those in fp32."""
SIZES = {
    'InnerProduct': '2',
    'Convolution': '6',
    'ConvolutionDepthWise': '6',
    'Deconvolution': '6',
    'DeconvolutionDepthWise': '6',
}
"""The option that says how many weights a layer has."""


def write(network: Network, description: Description, file: Path) -> None:
    """Writes a .param file with the graph, and beside it a .bin file with the weights.

    Args:
        network: The network.
        description: What the file says of itself.
        file: The .param file.

    Raises:
        MissingPackageError: pnnx cannot be imported.
        ExportError: The network cannot be traced or converted.
    """
    try:
        from pnnx import EXEC_PATH
    except ImportError as error:
        raise missing_converter('ncnn', 'pnnx', error) from error
    # ncnn computes in floating point only, and takes the pixels as such numbers.
    example = network.example.float()
    shape = ','.join(str(side) for side in example.shape)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        traced(network, example).save(str(folder / 'model.pt'))
        graph, weights = _converted(EXEC_PATH, folder, shape, fp16=0)
        if description.precision == 'fp16':
            weights = exact_halves(graph, weights, _converted(EXEC_PATH, folder, shape, fp16=1)[1])
    file.write_text(_named(graph, network.outputs))
    file.with_suffix('.bin').write_bytes(weights)


def _converted(pnnx: str, folder: Path, shape: str, fp16: int) -> tuple[str, bytes]:
    """The graph and the weights that pnnx makes of the trace in a folder."""
    graph, weights = (folder / f'model.ncnn.{suffix}' for suffix in ('param', 'bin'))
    for each in (graph, weights):
        each.unlink(missing_ok=True)
    done = subprocess.run(
        [pnnx, 'model.pt', f'inputshape=[{shape}]f32', f'fp16={fp16}'],
        cwd=folder,
        capture_output=True,
        text=True,
        errors='replace',
    )
    # pnnx says nothing by its exit code if an operator has no counterpart in ncnn.
    if done.returncode != 0 or not graph.is_file() or not weights.is_file():
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise ExportError(
            f'pnnx cannot convert the model (code {done.returncode}'
            f'{": " + lines[-1] if lines else ""}). Try another format.'
        )
    return graph.read_text(), weights.read_bytes()


def exact_halves(graph: str, single: bytes, half: bytes) -> bytes:
    """The weights of a graph, each rounded to the nearest number in fp16.

    pnnx writes 0 for all below 6e-5, the subnormal numbers: these are nearly all weights of a
    convolution if a norm that divided by large deviations was folded into it.

    Args:
        graph: The text of the .param file.
        single: The .bin file that pnnx writes in fp32.
        half: The one that it writes in fp16.

    Returns:
        The .bin file in fp16; ``half`` itself if the three do not fit together.
    """
    singles, halves = np.frombuffer(single, '<u4'), np.frombuffer(half, '<u4').copy()
    here, there = 0, 0
    for size in _sizes(graph):
        rest = min(len(singles) - here, len(halves) - there)
        # Up to the next weights that are in fp16, the files are the same.
        differ = singles[here : here + rest] != halves[there : there + rest]
        skip = int(differ.argmax()) if differ.any() else rest
        here, there = here + skip + 1, there + skip + 1
        values = singles[here : here + size].view('<f4')
        found = halves[there : there + (size + 1) // 2].view('<f2')[:size]
        if len(values) < size or len(found) < size or halves[there - 1] != HALVES:
            return half
        with np.errstate(over='ignore'):
            nearest = values.astype('<f2')
        if not np.allclose(found, nearest, rtol=2**-9, atol=2**-13):
            return half
        found[:] = nearest
        here, there = here + size, there + (size + 1) // 2
    return halves.tobytes() if np.array_equal(singles[here:], halves[there:]) else half


def _sizes(graph: str) -> Iterator[int]:
    """How many weights the layers have that can have them in fp16, in their order."""
    for line in graph.splitlines()[2:]:
        words = line.split()
        if key := SIZES.get(words[0]):
            options = words[_end_of_names(words) :]
            yield int(dict(option.split('=', 1) for option in options)[key])


def _end_of_names(words: Sequence[str]) -> int:
    """Where the options of a layer begin.

    Before them stand its type, its name, the numbers of its inputs and outputs, and their names.
    """
    return 4 + int(words[2]) + int(words[3])


def _named(graph: str, outputs: Sequence[str]) -> str:
    """The text of a graph, in which the input and the outputs have their names."""
    names = {'in0': INPUT, **{f'out{place}': name for place, name in enumerate(outputs)}}
    lines = graph.splitlines()
    for place, line in enumerate(lines[2:], 2):
        words = line.split()
        last = _end_of_names(words)
        words[4:last] = [names.get(word, word) for word in words[4:last]]
        lines[place] = ' '.join(words)
    return '\n'.join(lines) + '\n'

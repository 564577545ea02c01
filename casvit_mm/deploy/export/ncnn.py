"""ncnn, for phones and small boards, converted by pnnx from a trace."""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from casvit.exported.description import INPUT, Description
from casvit_mm.deploy.export.program import ExportError, Network, missing_converter, traced


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
    with tempfile.TemporaryDirectory() as folder:
        traced(network, example).save(str(Path(folder) / 'model.pt'))
        half = int(description.precision == 'fp16')
        done = subprocess.run(
            [EXEC_PATH, 'model.pt', f'inputshape=[{shape}]f32', f'fp16={half}'],
            cwd=folder,
            capture_output=True,
            text=True,
            errors='replace',
        )
        graph, weights = (Path(folder) / f'model.ncnn.{suffix}' for suffix in ('param', 'bin'))
        # pnnx says nothing by its exit code if an operator has no counterpart in ncnn.
        if done.returncode != 0 or not graph.is_file() or not weights.is_file():
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise ExportError(
                f'pnnx cannot convert the model (code {done.returncode}'
                f'{": " + lines[-1] if lines else ""}). Try another format.'
            )
        file.write_text(_named(graph.read_text(), network.outputs))
        file.with_suffix('.bin').write_bytes(weights.read_bytes())


def _named(graph: str, outputs: Sequence[str]) -> str:
    """The text of a graph, in which the input and the outputs have their names."""
    names = {'in0': INPUT, **{f'out{place}': name for place, name in enumerate(outputs)}}
    lines = graph.splitlines()
    for place, line in enumerate(lines[2:], 2):
        # Type, name, numbers of inputs and outputs, their names, and options.
        words = line.split()
        last = 4 + int(words[2]) + int(words[3])
        words[4:last] = [names.get(word, word) for word in words[4:last]]
        lines[place] = ' '.join(words)
    return '\n'.join(lines) + '\n'

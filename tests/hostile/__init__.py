"""Files that try to run code, to write, to hang or to crash whoever reads them.

``HOSTILE`` has a function for each, by its name: it writes the file to a path. Whatever code a file
asks for creates the file :func:`mark` or imports :data:`MODULE`, so a test sees that it ran.
"""

from hostile.archives import ARCHIVES
from hostile.bombs import BOMBS
from hostile.code import CODE
from hostile.others import OTHERS
from hostile.parts import MODULE, mark
from hostile.scanners import SCANNERS
from hostile.streams import STREAMS
from hostile.tensors import TENSORS

HOSTILE = {
    f'{group}: {name}': make
    for group, makers in {
        'code': CODE,
        'scanners': SCANNERS,
        'tensors': TENSORS,
        'bombs': BOMBS,
        'archives': ARCHIVES,
        'streams': STREAMS,
        'others': OTHERS,
    }.items()
    for name, make in makers.items()
}

__all__ = ['HOSTILE', 'MODULE', 'mark']

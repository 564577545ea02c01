"""Compiles torch's main header once, so that the 78 files of mmcv need not parse it 78 times.

Run by tools/install.py with the interpreter of the environment and the CFLAGS of the build:
`python tools/installer/precompile.py HEADER`. GCC uses `HEADER.gch` only if all flags agree, and
reads the plain header otherwise, so a mismatch costs nothing but time.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

import setuptools  # noqa: F401  (provides distutils, which newer Pythons lack)
import torch
from torch.utils import cpp_extension


def build_flags() -> list[str]:
    """The flags of torch's extension builds, which a precompiled header must share."""
    from distutils.ccompiler import new_compiler
    from distutils.sysconfig import customize_compiler

    compiler = new_compiler()
    customize_compiler(compiler)
    includes = [*cpp_extension.include_paths(), sysconfig.get_paths()['include']]
    abi = int(torch._C._GLIBCXX_USE_CXX11_ABI)
    return [
        *compiler.compiler_so[1:],
        *(f'-I{folder}' for folder in includes),
        '-std=c++17',
        '-DTORCH_API_INCLUDE_EXTENSION_H',
        '-DTORCH_EXTENSION_NAME=_ext',
        # Newer torch does not pass this at all, and a macro has to be the same in both places.
        *([] if abi else ['-D_GLIBCXX_USE_CXX11_ABI=0']),
    ]


if __name__ == '__main__':
    header = Path(sys.argv[1])
    header.write_text('#include <torch/types.h>\n')
    command = [cpp_extension.get_cxx_compiler(), *build_flags(), '-x', 'c++-header', str(header)]
    sys.exit(subprocess.run([*command, '-o', f'{header}.gch']).returncode)

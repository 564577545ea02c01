"""On request, the process keeps memory that tensors have freed."""

import platform
import subprocess
import sys

import pytest

PAGES_OF_A_TENSOR = """
import resource, sys, torch
from casvit_mm.speed.freed_memory import keep_freed_memory

assert keep_freed_memory()

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

# The heap grows until small objects no longer take space from the freed block.
# The least: a system short of memory may take pages away between two tensors.
print(min([page_faults() for _ in range(9)][-3:]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only supported by glibc')
def test_a_freed_block_is_reused_for_the_next_tensor_without_the_system():
    # In a separate process, since the setting lasts until the process ends.
    ran = subprocess.run(
        [sys.executable, '-c', PAGES_OF_A_TENSOR], capture_output=True, text=True, check=True
    )
    assert int(ran.stdout.split()[-1]) < 16

"""Memory that tensors no longer need stays with the process when that is asked for."""

import platform
import subprocess
import sys

import pytest

PAGES_OF_A_TENSOR = """
import resource, sys, torch
from casvit_mm.speed.freed_memory import keep_freed_memory

assert keep_freed_memory()

def issues():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

# The heap grows until small things have found other places than the freed block.
print(max([issues() for _ in range(9)][-3:]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc can be asked for that')
def test_a_freed_block_serves_the_next_tensor_without_the_system():
    # In a process of its own: what is asked for holds until the process ends.
    ran = subprocess.run(
        [sys.executable, '-c', PAGES_OF_A_TENSOR], capture_output=True, text=True, check=True
    )
    assert int(ran.stdout.split()[-1]) < 16

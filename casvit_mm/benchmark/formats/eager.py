"""Times a network in PyTorch, like :mod:`casvit.exported.timing` does it with exported ones."""

import sys
import time

import numpy as np
import torch

from casvit.exported.timing import serve


def main() -> None:
    """Measures the network that the parent process saved as a whole in the first argument."""
    images, threads = torch.from_numpy(np.load(sys.argv[2])), int(sys.argv[3])
    torch.set_num_threads(threads)
    start = time.perf_counter()
    # The parent has just written this file.
    module = torch.load(sys.argv[1], weights_only=False)
    load = time.perf_counter() - start

    def call() -> None:
        module(images)

    with torch.no_grad():
        serve(call, load=load, device='cpu', precision='fp32')


if __name__ == '__main__':
    main()

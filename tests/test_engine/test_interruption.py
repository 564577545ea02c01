"""Signals in processes that a run forks."""

import os
import signal

import pytest

from casvit_mm.engine.interruption import Interruption


def handler_in_child():
    """Whether SIGTERM has its default effect in a forked process."""
    child = os.fork()
    if not child:
        os._exit(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
    return bool(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs processes that are forked')
@pytest.mark.parametrize('waits', [False, True])
def test_sigterm_ends_a_forked_process_at_once_unless_the_run_is_in_a_step(waits):
    with Interruption() as interruption:
        interruption.waits = waits
        assert handler_in_child() is not waits
        assert signal.getsignal(signal.SIGTERM) == interruption._note
    assert handler_in_child()

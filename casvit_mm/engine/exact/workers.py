"""Keeps the processes that load data while the run that they belong to saves a checkpoint."""

import os
import signal
import threading

from torch.utils.data import get_worker_info


def outlive_signals() -> None:
    """Lets only the run itself end a process that loads data for it; elsewhere, does nothing.

    Ctrl-C and many schedulers send a signal to all processes of a run, and torch raises an error in
    the middle of a step if one of them ends. Where the system does not tell who sent a signal,
    SIGTERM stays as it is.
    """
    if get_worker_info() is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listens = any(thread.name == __name__ for thread in threading.enumerate())
    if hasattr(signal, 'sigwaitinfo') and not listens:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_with_the_run, name=__name__, daemon=True).start()


def _end_with_the_run() -> None:
    # As in torch's own handler, the parent process is the run.
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)

"""Two hosts on one machine: network namespaces with addresses of their own, as root on Linux.

A third namespace has the store by which the hosts find each other, and the switch between them. As
a script, this module is what each process of the run executes.
"""

import contextlib
import datetime
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HOSTS = ('a', 'b')
ADDRESSES = {'a': '10.213.0.1', 'b': '10.213.0.2', 'store': '10.213.0.3'}
NAMES = Path('/etc/netns')
PORT = 29400
TIMEOUT = 20
"""Seconds after which a process gives up on another one: a cut link sends no sign."""


def why_not():
    """Why there can be no two hosts here; '' if there can."""
    needed = ('ip', 'unshare')
    if sys.platform != 'linux' or os.geteuid() != 0 or not all(map(shutil.which, needed)):
        return 'needs Linux, root, iproute2 and util-linux'
    tried = subprocess.run(['ip', 'netns', 'add', 'casvit-try'], capture_output=True)
    if tried.returncode:
        return f'ip netns add fails: {tried.stderr.decode().strip()}'
    ip('netns', 'del', 'casvit-try')
    return ''


def ip(*arguments, host=None):
    inside = ['-n', f'casvit-{host}'] if host else []
    subprocess.run(['ip', *inside, *arguments], check=True, capture_output=True)


class Network:
    """The namespaces, as a context. In each, all know each other by name: ``casvit-a`` and so on.

    Args:
        logs: Folder for what is printed on each.
    """

    def __init__(self, logs):
        self.logs = Path(logs)
        self.processes = {}

    def __enter__(self):
        self.remove()
        names = ''.join(f'{address} casvit-{name}\n' for name, address in ADDRESSES.items())
        for name in ADDRESSES:
            ip('netns', 'add', f'casvit-{name}')
            ip('link', 'set', 'lo', 'up', host=name)
            # What ip shows as /etc/hosts inside of the namespace.
            known = NAMES / f'casvit-{name}' / 'hosts'
            known.parent.mkdir(parents=True, exist_ok=True)
            known.write_text(f'127.0.0.1 localhost\n{names}')
        ip('link', 'add', 'switch', 'type', 'bridge', host='store')
        ip('addr', 'add', f'{ADDRESSES["store"]}/24', 'dev', 'switch', host='store')
        ip('link', 'set', 'switch', 'up', host='store')
        for name in HOSTS:
            port = f'port-{name}'
            ip(
                *('link', 'add', port, 'netns', 'casvit-store', 'type', 'veth'),
                *('peer', 'name', 'net', 'netns', f'casvit-{name}'),
            )
            ip('link', 'set', port, 'master', 'switch', 'up', host='store')
            ip('addr', 'add', f'{ADDRESSES[name]}/24', 'dev', 'net', host=name)
            ip('link', 'set', 'net', 'up', host=name)
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        """Kills all that runs on the hosts, and removes them."""
        for name in ADDRESSES:
            self.kill(name)
            subprocess.run(['ip', 'netns', 'del', f'casvit-{name}'], capture_output=True)
            shutil.rmtree(NAMES / f'casvit-{name}', ignore_errors=True)

    def inside(self, name, *command):
        """A command that is executed on a host, which has a name of its own."""
        set_name = f'hostname casvit-{name}; exec "$@"'
        return [
            *('ip', 'netns', 'exec', f'casvit-{name}', 'unshare', '--uts'),
            *('sh', '-c', set_name, 'sh', *map(str, command)),
        ]

    def run(self, name, command):
        """Starts a command on a host, with its output in a file."""
        with self.log(name).open('wb') as log:
            self.processes[name] = subprocess.Popen(
                self.inside(name, *command),
                stdout=log,
                stderr=log,
                env={**os.environ, 'OMP_NUM_THREADS': '1', 'GLOO_SOCKET_IFNAME': 'net'},
            )

    def log(self, name):
        return self.logs / f'{name}.txt'

    def cut_off(self, name):
        """Cuts the link of a host, as if the cable were pulled."""
        ip('link', 'set', f'port-{name}', 'down', host='store')

    def connect(self, name):
        """Mends the link of a host."""
        ip('link', 'set', f'port-{name}', 'up', host='store')

    def kill(self, name):
        """Kills everything on a host."""
        found = subprocess.run(
            ['ip', 'netns', 'pids', f'casvit-{name}'], capture_output=True, text=True
        )
        for process in found.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)


class Hosts(Network):
    """Two hosts and the store by which they find each other.

    Args:
        work_dir: Folder of the run, on a disk that both have.
    """

    def __init__(self, work_dir):
        super().__init__(Path(work_dir).parent)
        self.work_dir = Path(work_dir)

    def __enter__(self):
        super().__enter__()
        self.run('store', [sys.executable, __file__, 'store'])
        return self

    def start(self, name):
        """Starts torchrun on a host; the run goes on with one host if the other one is gone."""
        where = f'{ADDRESSES["store"]}:{PORT}'
        options = 'is_host=false,last_call_timeout=3,join_timeout=120,timeout=120'
        self.run(
            name,
            [
                *(sys.executable, '-m', 'torch.distributed.run', '--nnodes', '1:2'),
                *('--nproc-per-node', '1', '--max-restarts', '5', '--rdzv-backend', 'c10d'),
                *('--rdzv-endpoint', where, '--rdzv-conf', options, '--rdzv-id', 'run'),
                *('--local-addr', ADDRESSES[name], __file__, str(self.work_dir)),
            ],
        )

    def wait_for(self, name, text, seconds=180):
        end = time.monotonic() + seconds
        while text not in self.log(name).read_text():
            assert time.monotonic() < end, f'{text!r} was not said:\n{self.log(name).read_text()}'
            time.sleep(0.05)


def serve():
    """Is the store until it is killed."""
    from torch.distributed import TCPStore

    limit = datetime.timedelta(seconds=600)
    store = TCPStore('0.0.0.0', PORT, is_master=True, wait_for_workers=False, timeout=limit)
    while store:
        time.sleep(1)


def train(work_dir):
    """Trains as a process of the run; goes on with it after a restart."""
    import torch
    from exact_runs import exact_run
    from faults import Tell

    from casvit_mm.engine.launch import is_restarted

    torch.set_num_threads(1)
    limit = datetime.timedelta(seconds=TIMEOUT)
    torch.distributed.init_process_group('gloo', timeout=limit)
    print('processes', os.environ['WORLD_SIZE'], flush=True)
    runner = exact_run(
        work_dir, iterations=12, noisy=False, resume=is_restarted(), log_level='WARNING'
    )
    runner.register_hook(Tell(0.3))
    runner.train()
    print('finished', flush=True)


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).parent))
    if sys.argv[1] == 'store':
        serve()
    else:
        train(sys.argv[1])

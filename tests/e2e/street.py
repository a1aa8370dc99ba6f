"""A street of three houses for tests of real networks: the server's (ours), a router's, and a viewer's, each a network namespace.

What goes between server and viewer is forwarded by the router, so that what it loses or translates is lost and translated both ways as on
the internet, and no socket hears of it. Wants root, iproute2 and nftables; where these are missing `Street.possible()` says why.
"""
import asyncio
import concurrent.futures
import ctypes
import os
import shutil
import subprocess
import threading

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*words):
    done = subprocess.run([str(w) for w in words], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")


def enter(name):
    """Moves this thread into a namespace; None: that of the process."""
    where = os.open(f'/run/netns/{name}' if name else f'/proc/{os.getpid()}/ns/net', os.O_RDONLY)
    try:
        if LIBC.setns(where, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), 'setns')
    finally:
        os.close(where)


class Street:
    def __init__(self):
        tag = os.getpid() % 250
        self.router, self.viewer = f'router-{os.getpid()}', f'viewer-{os.getpid()}'
        self.server_at, self.inside_at = f'198.18.{tag}.1', f'198.18.{tag}.2'
        self.public_at, self.viewer_at = f'198.19.{tag}.1', f'198.19.{tag}.2'
        self.link = f'mt{os.getpid()}'

    @staticmethod
    def possible():
        """None, or why not."""
        if os.geteuid() != 0:
            return 'network namespaces want root'
        for tool in ('ip', 'nft'):
            if shutil.which(tool, path=os.environ.get('PATH', '') + ':/usr/sbin:/sbin') is None:
                return f'{tool} is not installed'
        street = Street()
        try:
            street.open()
            street.lose(5)
        except OSError as e:
            return f'this machine has no network namespaces with nftables ({e})'
        finally:
            street.close()
        return None

    @property
    def in_viewers_house(self):
        """The words before a command that is to run there."""
        return 'ip', 'netns', 'exec', self.viewer

    def open(self):
        for house in (self.router, self.viewer):
            run('ip', 'netns', 'add', house)
        run('ip', 'link', 'add', self.link, 'type', 'veth', 'peer', 'name', 'in', 'netns', self.router)
        run('ip', '-n', self.router, 'link', 'add', 'out', 'type', 'veth', 'peer', 'name', 'home', 'netns', self.viewer)
        run('ip', 'addr', 'add', f'{self.server_at}/30', 'dev', self.link)
        run('ip', 'link', 'set', self.link, 'up')
        for house, device, at in ((self.router, 'in', self.inside_at), (self.router, 'out', self.public_at), (self.viewer, 'home', self.viewer_at)):
            run('ip', '-n', house, 'addr', 'add', f'{at}/30', 'dev', device)
            run('ip', '-n', house, 'link', 'set', device, 'up')
            run('ip', '-n', house, 'link', 'set', 'lo', 'up')
        run('ip', '-n', self.viewer, 'route', 'add', 'default', 'via', self.public_at)
        run('ip', 'route', 'add', f'{self.viewer_at}/32', 'via', self.inside_at)
        run('ip', 'netns', 'exec', self.router, 'sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward')
        return self

    def close(self):
        """Takes away what is there of it; accepts what was only half opened."""
        subprocess.run(['ip', 'link', 'del', self.link], capture_output=True)
        for house in (self.router, self.viewer):
            subprocess.run(['ip', 'netns', 'del', house], capture_output=True)

    # --- what the router does -----------------------------------------------------------------------------

    def rules(self, *lines):
        """Has the router do this, and nothing else."""
        text = 'table ip street\ndelete table ip street\ntable ip street {\n' + '\n'.join(lines) + '\n}\n'
        done = subprocess.run(['ip', 'netns', 'exec', self.router, 'nft', '-f', '-'], input=text, capture_output=True, text=True)
        if done.returncode != 0:
            raise OSError(done.stderr.strip())

    def forward(self, *rules):
        self.rules('chain passing { type filter hook forward priority 0;', *rules, '}')

    def clear(self):
        self.rules()

    def lose(self, percent):
        """Loses so much of all datagrams, both ways."""
        self.forward(f'ip protocol udp numgen random mod 100 < {percent} drop')

    def black(self):
        """Loses everything."""
        self.forward('drop')

    def thin(self, bytes_a_second):
        """Lets so much through towards the viewer, and loses the rest."""
        self.forward(f'ip daddr {self.viewer_at} ip protocol udp limit rate over {bytes_a_second} bytes/second burst 60000 bytes drop')

    def translate(self):
        """1:1 NAT: the router's public address is the server's."""
        self.rules('chain before { type nat hook prerouting priority dstnat;', f'ip daddr {self.public_at} dnat to {self.server_at}', '}',
                   'chain after { type nat hook postrouting priority srcnat;', f'ip saddr {self.server_at} snat to {self.public_at}', '}')

    # --- living in the viewer's house ---------------------------------------------------------------------

    def play(self, scenario, seconds=90):
        """Runs a coroutine whose sockets are the viewer's; what it gives to threads (asyncio.to_thread) happens in ours."""
        result = []

        async def whole():
            asyncio.get_running_loop().set_default_executor(
                concurrent.futures.ThreadPoolExecutor(4, initializer=enter, initargs=(None,)))
            await asyncio.wait_for(scenario(), seconds)

        def live():
            try:
                enter(self.viewer)
                asyncio.run(whole())
            except BaseException as e:  # pylint: disable=broad-except; it is raised in the test's own thread
                result.append(e)

        thread = threading.Thread(target=live)
        thread.start()
        thread.join()
        if result:
            raise result[0]

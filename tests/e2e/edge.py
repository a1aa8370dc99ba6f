"""Edges in front of a server: nginx and Varnish as deploy/edge has them, on free ports, with what a test wants to be otherwise."""
import os
import pathlib
import re
import signal
import socket
import subprocess

import matinee

DEPLOY = matinee.ROOT / 'deploy' / 'edge'
KEY = 'the-edge-s-own-key'


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(('127.0.0.1', port)) == 0


def changed(text, changes):
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text, flags=re.M)
        assert count > 0, f'{pattern} is not in the configuration any more'
    return text


class Nginx:
    """`changes` are (pattern, replacement) on the rules; each must be found somewhere."""

    def __init__(self, folder, origin, changes=(), tls=False):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.port = matinee.free_port()
        self.http = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        (self.folder / 'cache').mkdir()
        listen = f'listen 127.0.0.1:{self.port};'
        tls_lines = [(r'^ +(server_name|ssl_).*$', '')]
        if tls:
            listen = f'listen 127.0.0.1:{self.port} ssl http2;'
            subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1',
                            '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', self.folder / 'key.pem',
                            '-out', self.folder / 'cert.pem'], check=True, capture_output=True)
            tls_lines = [(r'/etc/ssl/certs/matinee.pem', f'{self.folder}/cert.pem'),
                         (r'/etc/ssl/private/matinee.key', f'{self.folder}/key.pem')]
        main = changed((DEPLOY / 'nginx.conf').read_text(), [
            (r'listen 443 ssl http2;', listen), (r'server 127\.0\.0\.1:8080;', f"server {origin.split('//')[1]};"),
            (r'change-me', KEY), (r'/var/cache/nginx/matinee', f'{self.folder}/cache'), (r'max_size=50g', 'max_size=1g'),
            (r'worker_processes auto;', 'worker_processes 2;'), (r'worker_rlimit_nofile 65536;\n', ''), *tls_lines])
        user = 'user root;\n' if os.geteuid() == 0 else ''
        rules = (DEPLOY / 'edge-server.conf').read_text()
        once = (DEPLOY / 'edge-http.conf').read_text()
        for change in changes:
            if re.search(change[0], once, re.M):
                once = changed(once, [change])
            else:
                rules = changed(rules, [change])
        temporary = ''.join(f'{kind}_temp_path {self.folder}/{kind};\n' for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
        (self.folder / 'nginx.conf').write_text(
            f'{user}daemon off;\npid {self.folder}/pid;\nerror_log {self.folder}/error.log info;\n'
            + main.replace('http {', 'http {\n' + temporary))
        (self.folder / 'edge-http.conf').write_text(once)
        (self.folder / 'edge-server.conf').write_text(rules)
        self.log = open(self.folder / 'log', 'wb')
        self.process = subprocess.Popen(['nginx', '-p', self.folder, '-c', self.folder / 'nginx.conf', '-e', self.folder / 'error.log'],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        matinee.until(lambda: self.process.poll() is not None or answers(self.port), 20, 'nginx listening')
        assert self.process.poll() is None, (self.folder / 'error.log').read_text()

    def reload(self):
        """Other workers, by the configuration as it is now."""
        error_log = self.folder / 'error.log'
        before = error_log.read_text().count('gracefully shutting down')
        self.process.send_signal(signal.SIGHUP)
        matinee.until(lambda: error_log.read_text().count('gracefully shutting down') >= before + 2, 20, 'the old workers leaving')

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)
        self.log.close()


class Varnish:
    def __init__(self, folder, origin, changes=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.port = matinee.free_port()
        self.http = f'http://127.0.0.1:{self.port}'
        text = changed((DEPLOY / 'varnish.vcl').read_text(), [
            (r'\.port = "8080"', f".port = \"{origin.rsplit(':', 1)[1]}\""), (r'change-me', KEY), *changes])
        (self.folder / 'edge.vcl').write_text(text)
        self.log = open(self.folder / 'log', 'wb')
        # Everything in one user: the jail would want folders that are its own.
        self.process = subprocess.Popen(
            ['varnishd', '-F', '-j', 'none', '-n', self.folder / 'work', '-a', f'127.0.0.1:{self.port}', '-f', self.folder / 'edge.vcl',
             '-s', 'malloc,128m', '-T', 'none', '-p', 'thread_pool_min=50', '-p', 'thread_pool_max=1000'],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        matinee.until(lambda: self.process.poll() is not None or answers(self.port), 30, 'Varnish listening')
        assert self.process.poll() is None, (self.folder / 'log').read_text()

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)
        self.log.close()

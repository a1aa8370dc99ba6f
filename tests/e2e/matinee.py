"""What the end-to-end tests share: servers and publishers as real processes, on loopback, on free ports."""
import collections
import hashlib
import http.client
import json
import os
import pathlib
import random
import re
import select
import signal
import socket
import ssl
import subprocess
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MATINEE = os.environ.get('MATINEE', str(ROOT / 'build' / 'matinee'))

# How engines are started besides; tools/cluster keeps them out of reach of the terminal's Ctrl-C.
ENGINE = {}


class Server:
    """One `matinee serve`; `start` returns when it has said `ready`."""

    def __init__(self, data, *options, environment=None):
        self.data = pathlib.Path(data)
        if '--ladder' not in options:  # most tests are about the source, and a machine has only so many cores
            options = ('--ladder', 'none', *options)
        self.options = ['--data', str(data), *options]
        self.environment = {**os.environ, **(environment or {})}
        self.process = None
        self.log = open(f'{data}.log', 'ab')

    def start(self, http='127.0.0.1:0', rtmp='127.0.0.1:0'):
        self.process = subprocess.Popen(
            [MATINEE, 'serve', '--http', http, '--rtmp', rtmp, *self.options], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=self.log, env=self.environment)
        self.urls = {}
        for line in iter(self.process.stdout.readline, b''):
            kind, _, rest = line.decode().strip().partition(' ')
            self.urls[kind] = rest
            if kind == 'ready':
                break
        else:
            raise AssertionError(f'serve ended with {self.process.wait()} before it was ready: {self.said()[-600:]}')
        self.http = self.urls['http']
        self.rtmp = self.urls['rtmp']
        self.token = pathlib.Path(self.urls['admin'].removeprefix('token in ')).read_text().strip()
        return self

    def said(self):
        return pathlib.Path(self.log.name).read_text(errors='replace')

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=30):
        """SIGTERM; the exit status."""
        if self.process is None or self.process.poll() is not None:
            return None
        self.process.terminate()
        return self.process.wait(seconds)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.log.close()

    # --- HTTP ---------------------------------------------------------------------------------------

    def request(self, method, path, body=None, headers=None, admin=False, timeout=20):
        """One request on a connection of its own: (status, headers, bytes)."""
        url = urllib.parse.urlsplit(path if '://' in path else self.http + path)
        if url.scheme == 'https':
            connection = http.client.HTTPSConnection(url.netloc, timeout=timeout,
                                                     context=ssl._create_unverified_context())
        else:
            connection = http.client.HTTPConnection(url.netloc, timeout=timeout)
        headers = dict(headers or {})
        if admin:
            headers['Authorization'] = 'Bearer ' + self.token
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers.setdefault('Content-Type', 'application/json')
        try:
            connection.request(method, url.path + ('?' + url.query if url.query else ''), body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def get(self, path):
        status, _, body = self.request('GET', path)
        assert status == 200, (path, status, body[:300])
        return body

    def json(self, path):
        return json.loads(self.get(path))

    def make_event(self, title='Test', **more):
        status, _, body = self.request('POST', '/api/v1/events', {'title': title, **more}, admin=True)
        assert status == 201, body
        event = json.loads(body)
        event['url'] = f"{self.rtmp}/{event['streamKey']}"
        return event

    def event(self, event):
        return self.json(f"/api/v1/events/{event['id']}")

    def end(self, event):
        status, _, body = self.request('POST', f"/api/v1/events/{event['id']}/end", admin=True)
        assert status == 200, body
        return json.loads(body)

    def video(self, event):
        return self.event(event)['video']

    def metric(self, name):
        match = re.search(rf'^{re.escape(name)} (\S+)$', self.get('/metrics').decode(), re.M)
        assert match, name
        return int(match[1])


def until(condition, seconds=20, what='the condition', every=0.05):
    """Asks until `condition()` is true and returns what it said. For facts that only polling can tell."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f'{what} did not come true within {seconds} s'
        select.select([], [], [], every)


def ffmpeg(*words, **options):
    return subprocess.Popen(['ffmpeg', '-nostdin', '-hide_banner', '-v', 'warning', *map(str, words)],
                            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)


def drawn(seconds, size='320x180', rate=30, video='libx264', gop=60, realtime=True, extra=()):
    """ffmpeg's words for a drawn picture with a tone, as FLV."""
    speed = ['-re'] if realtime else []
    return [*speed, '-f', 'lavfi', '-i', f'testsrc2=s={size}:r={rate}', *speed, '-f', 'lavfi', '-i', 'sine=440:r=48000',
            '-t', seconds, '-c:v', video, *(['-preset', 'ultrafast', '-bf', '2'] if video == 'libx264' else []), '-g', gop,
            '-c:a', 'aac', *extra, '-f', 'flv']


def certificate(folder, name):
    """cert.pem and key.pem for localhost, which nobody has signed but itself."""
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
                    '-subj', f'/CN={name}', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', folder / 'key.pem',
                    '-out', folder / 'cert.pem'], check=True, capture_output=True)


def clip(path, seconds, size='320x180', rate=30, gop=30, codec='libx264', more=()):
    """Makes an MP4 with picture and sound."""
    subprocess.run(['ffmpeg', '-nostdin', '-v', 'error', '-y', '-f', 'lavfi', '-i', f'testsrc2=s={size}:r={rate}', '-f',
                    'lavfi', '-i', 'sine=440:r=48000', '-t', str(seconds), '-c:v', codec, '-preset', 'ultrafast', '-g',
                    str(gop), *more, '-c:a', 'aac', str(path)], check=True)
    return path


def publish(source, url, *options, **popen):
    return subprocess.Popen([MATINEE, 'publish', str(source), url, *map(str, options)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **popen)


def packets(url, stream):
    """[(pts in seconds, size, MD5)] of every packet of a stream ('v' or 'a'), as ffmpeg reads them."""
    done = subprocess.run(['ffmpeg', '-nostdin', '-v', 'warning', '-i', url, '-map', f'0:{stream}', '-c', 'copy', '-copyts',
                           '-f', 'framemd5', '-'], capture_output=True, check=True, timeout=300)
    assert not done.stderr, done.stderr.decode()[:500]
    scale = 1
    rows = []
    for line in done.stdout.decode().splitlines():
        if line.startswith('#tb 0:'):
            over, under = line.split(':')[1].strip().split('/')
            scale = int(over) / int(under)
        elif not line.startswith('#'):
            _, _, pts, _, size, md5, *_ = [part.strip() for part in line.split(',')]
            rows.append((int(pts) * scale, int(size), md5))
    return rows


def count_frames(url):
    """{codec: decoded frames}, and what ffprobe had to say."""
    done = subprocess.run(['ffprobe', '-v', 'warning', '-count_frames', '-show_entries', 'stream=codec_name,nb_read_frames',
                           '-of', 'json', url], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    streams = json.loads(done.stdout)['streams']
    return {s['codec_name']: int(s['nb_read_frames']) for s in streams}, done.stderr.decode()


def read_record(path):
    """What `matinee publish --record` wrote: ([(kind, timestamp, size, md5, end)], acknowledged bytes)."""
    sent, acknowledged = [], 0
    for line in pathlib.Path(path).read_text().splitlines():
        words = line.split()
        if words[0] == 'ack' and len(words) == 2:
            acknowledged = max(acknowledged, int(words[1]))
        elif len(words) == 5:
            sent.append((words[0], int(words[1]), int(words[2]), words[3], int(words[4])))
    return sent, acknowledged


def frames_of(*records):
    """What was sent, and what of it was acknowledged: each frame's hash, and how often."""
    sent, acknowledged = collections.Counter(), collections.Counter()
    for path in records:
        frames, upto = read_record(path)
        frames = [(md5, end) for kind, _, _, md5, end in frames if kind in ('video', 'audio') and md5 != '-']
        sent.update(md5 for md5, _ in frames)
        acknowledged.update(md5 for md5, end in frames if end <= upto)
    return sent, acknowledged


def raw(server, text, seconds=10):
    """Sends bytes as they are and returns all that comes until the server closes or is silent for a second."""
    url = urllib.parse.urlsplit(server.http)
    with socket.create_connection((url.hostname, url.port), timeout=seconds) as s:
        s.sendall(text)
        s.settimeout(1)
        got = b''
        try:
            while piece := s.recv(65536):
                got += piece
        except TimeoutError:
            pass
        return got


def md5(content):
    return hashlib.md5(content).hexdigest()


def children(pid, word):
    """The children of a process that have this word on their command line."""
    found = []
    for listing in pathlib.Path(f'/proc/{pid}/task').glob('*/children'):
        for child in listing.read_text().split():
            try:
                if word in pathlib.Path(f'/proc/{child}/cmdline').read_bytes():
                    found.append(int(child))
            except (FileNotFoundError, ProcessLookupError):
                pass  # it ended while we looked
    return found


def stop_process(process):
    os.kill(process.pid, signal.SIGSTOP)


def free_port():
    """A port of loopback that nobody has. It is below those that the kernel hands out by itself, so that no connection takes it before its
    server does, or while that is down."""
    while True:
        port = random.randrange(10000, 32768)
        with socket.socket() as s:
            try:
                s.bind(('127.0.0.1', port))
                return port
            except OSError:
                pass  # somebody has it


def end_process(process):
    if process.poll() is None:
        process.kill()
    process.wait()


class Nats:
    """A NATS server with JetStream, of our own, on a free port that it keeps over restarts. `inside`: the words before its command
    that bring it into a network namespace; `at`: its address there."""

    def __init__(self, folder, at='127.0.0.1', inside=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.at, self.inside, self.port = at, inside, free_port()
        self.url = f'nats://{at}:{self.port}'
        self.process = None

    def start(self):
        log = self.folder / 'log'
        log.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [*self.inside, 'nats-server', '-a', self.at, '-p', str(self.port), '-js', '-sd', str(self.folder / 'store'), '-l', str(log)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **ENGINE)
        until(lambda: log.exists() and 'Server is ready' in log.read_text(), 20, 'NATS being ready')
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()


class MariaDB:
    """A MariaDB server of our own, on a free port that it keeps over restarts, with an empty database and a user for it. `inside` and
    `at` as for Nats."""

    def __init__(self, folder, at='127.0.0.1', inside=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.at, self.inside, self.port = at, inside, free_port()
        self.socket = self.folder / 's'
        self.user = ['--user=root'] if os.geteuid() == 0 else []
        self.process = None
        subprocess.run(['mariadb-install-db', '--no-defaults', *self.user, f'--datadir={self.folder}/data',
                        '--auth-root-authentication-method=normal', '--skip-test-db', '--innodb-use-native-aio=0',
                        '--innodb-log-file-size=32M'], check=True, capture_output=True)
        self.url = f'mysql://matinee:s%40cret@{at}:{self.port}/matinee'

    def start(self):
        self.process = subprocess.Popen(
            [*self.inside, 'mariadbd', '--no-defaults', *self.user, f'--datadir={self.folder}/data', f'--socket={self.socket}',
             f'--port={self.port}', f'--bind-address={self.at}', '--innodb-buffer-pool-size=32M', '--innodb-log-file-size=32M',
             '--innodb-flush-log-at-trx-commit=1', '--innodb-use-native-aio=0', '--skip-log-bin', '--skip-name-resolve', f'--pid-file={self.folder}/pid'],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.folder / 'log', 'ab'), **ENGINE)
        until(lambda: self.run('SELECT 1', check=False), 30, 'MariaDB being ready')
        self.run("CREATE DATABASE IF NOT EXISTS matinee; CREATE USER IF NOT EXISTS matinee IDENTIFIED BY 's@cret';"
                 'GRANT ALL ON matinee.* TO matinee')
        return self

    def run(self, sql, check=True):
        """Rows as lists of text; None where it failed and `check` is off."""
        done = subprocess.run(['mariadb', '--no-defaults', '-u', 'root', f'--socket={self.socket}', '--batch', '--skip-column-names',
                               '-e', sql], capture_output=True, text=True)
        assert done.returncode == 0 or not check, done.stderr
        if done.returncode != 0:
            return None
        return [[None if v == 'NULL' else v.replace('\\t', '\t').replace('\\n', '\n') for v in line.split('\t')]
                for line in done.stdout.splitlines()] or [[]]

    def query(self, sql):
        rows = self.run('USE matinee; ' + sql)
        return [] if rows == [[]] else rows

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()


class Redis:
    """A Redis server of our own that answers for nothing it has not synced, on a free port that it keeps over restarts."""

    def __init__(self, folder, appendfsync='always'):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.appendfsync = appendfsync
        self.port = free_port()
        self.url = f'redis://127.0.0.1:{self.port}'
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            ['redis-server', '--bind', '127.0.0.1', '--port', str(self.port), '--dir', str(self.folder), '--appendonly', 'yes',
             '--appendfsync', self.appendfsync, '--save', ''],
            stdin=subprocess.DEVNULL, stdout=open(self.folder / 'log', 'ab'), stderr=subprocess.STDOUT, **ENGINE)
        until(lambda: self.run('PING') == 'PONG', 20, 'Redis being ready')
        return self

    def run(self, *words):
        done = subprocess.run(['redis-cli', '-p', str(self.port), *words], capture_output=True, text=True)
        return done.stdout.strip()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()


class Worker:
    """One `matinee worker`; `inside` as for Nats."""

    def __init__(self, queue, storage, log, *options, environment=None, inside=()):
        self.log = open(log, 'ab')
        self.process = subprocess.Popen([*inside, MATINEE, 'worker', '--queue', queue, '--storage', storage, '--workers', '1', *options],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log,
                                        env={**os.environ, **(environment or {})})
        for line in iter(self.process.stdout.readline, b''):
            if line == b'ready\n':
                break
        else:
            raise AssertionError(f'the worker ended with {self.process.wait()}')

    def said(self):
        return pathlib.Path(self.log.name).read_text(errors='replace')

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(20)
        finally:
            if self.process.poll() is None:
                self.kill()
            self.log.close()

"""Other people's S3 servers, as real processes on loopback: s3rver (npm), OpenStack Swift's s3api, Ceph's radosgw (both Debian's)."""
import datetime
import hashlib
import hmac
import http.client
import os
import pathlib
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import matinee

BUCKET = 'matinee'


def answers(port):
    """Whether HTTP is spoken there, whatever is said."""
    try:
        urllib.request.urlopen(f'http://127.0.0.1:{port}/', timeout=5).read()
        return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


class Server:
    """Processes of one S3 server, each with a log; `url` is what --storage takes, `environment` what it needs besides."""

    key, secret = 'matinee', 'matinee-secret'

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.port = matinee.free_port()
        self.processes = []

    @property
    def environment(self):
        return {'AWS_ACCESS_KEY_ID': self.key, 'AWS_SECRET_ACCESS_KEY': self.secret}

    def url(self, prefix='shows', **options):
        more = ''.join(f'&{name}={value}' for name, value in options.items())
        return f's3://{BUCKET}/{prefix}?endpoint=http://127.0.0.1:{self.port}{more}'

    def run(self, *words, environment=None):
        log = open(self.folder / f'{pathlib.Path(words[0]).name}-{len(self.processes)}.log', 'ab')
        self.processes.append(subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})}, cwd=self.folder, **matinee.ENGINE))

    def do(self, *words, environment=None, text=None):
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, input=text, timeout=120,
                              env={**os.environ, **(environment or {})}, cwd=self.folder)
        assert done.returncode == 0, (words, done.stdout[-500:], done.stderr[-1500:])
        return done.stdout

    def request(self, method, key='', query='', body=b''):
        """One signed request, by other code than matinee's: (status, headers, body). `query` is sorted and encoded."""
        path = urllib.parse.quote(f'/{BUCKET}/{key}' if key else f'/{BUCKET}')
        host, content = f'127.0.0.1:{self.port}', hashlib.sha256(body).hexdigest()
        now = datetime.datetime.now(datetime.timezone.utc).strftime('%Y%m%dT%H%M%SZ')
        scope = f'{now[:8]}/us-east-1/s3/aws4_request'
        names = 'host;x-amz-content-sha256;x-amz-date'
        canonical = '\n'.join((method, path, query, f'host:{host}', f'x-amz-content-sha256:{content}', f'x-amz-date:{now}', '', names,
                               content))
        signing = b'AWS4' + self.secret.encode()
        for part in scope.split('/'):
            signing = hmac.digest(signing, part.encode(), 'sha256')
        text = '\n'.join(('AWS4-HMAC-SHA256', now, scope, hashlib.sha256(canonical.encode()).hexdigest()))
        signature = hmac.digest(signing, text.encode(), 'sha256').hex()
        connection = http.client.HTTPConnection(host, timeout=60)
        try:
            connection.request(method, path + ('?' + query if query else ''), body, {
                'x-amz-content-sha256': content, 'x-amz-date': now,
                'Authorization': f'AWS4-HMAC-SHA256 Credential={self.key}/{scope}, SignedHeaders={names}, Signature={signature}'})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def make_bucket(self):
        return self.request('PUT')[0] in (200, 409)

    def keys(self, prefix=''):
        """Every key of the bucket below `prefix`."""
        found, after = [], ''
        while True:
            query = 'list-type=2&max-keys=1000&prefix=' + urllib.parse.quote(prefix, safe='')
            status, _, body = self.request('GET', '', (f'continuation-token={urllib.parse.quote(after, safe="")}&' if after else '') + query)
            assert status == 200, body
            found += re.findall(rb'<Key>([^<]*)</Key>', body)
            token = re.search(rb'<NextContinuationToken>([^<]*)<', body)
            if not token:
                return [key.decode() for key in found]
            after = token[1].decode()

    def kill(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        self.processes.clear()

    close = kill


class S3rver(Server):
    key, secret = 'S3RVER', 'S3RVER'

    @staticmethod
    def is_here():
        return (matinee.ROOT / 'node_modules' / 's3rver').exists()

    def start(self):
        (self.folder / 'objects').mkdir(exist_ok=True)
        self.run('node', '--openssl-legacy-provider', matinee.ROOT / 'node_modules' / 's3rver' / 'bin' / 's3rver.js', '-d', self.folder / 'objects',
                 '-a', '127.0.0.1', '-p', self.port, '--configure-bucket', BUCKET)
        matinee.until(lambda: answers(self.port), 30, 's3rver being ready')
        return self


class Swift(Server):
    """Proxy, account, container and object server, one replica of everything in one folder."""

    key, secret = 'house:matinee', 'secret'
    PROXY = '''[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
[pipeline:main]
pipeline = catch_errors cache s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{cache}
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
[filter:tempauth]
use = egg:swift#tempauth
user_house_matinee = secret .admin
[filter:slo]
use = egg:swift#slo
'''
    STORAGE = '''[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
'''

    @staticmethod
    def is_here():
        return all(shutil.which(f'swift-{kind}-server') for kind in ('proxy', 'account', 'container', 'object')) and shutil.which(
            'memcached') is not None

    def start(self):
        user = self.do('id', '-un').strip()
        if not (self.folder / 'devices').exists():
            (self.folder / 'devices' / 'd1').mkdir(parents=True)
            self.ports = {kind: matinee.free_port() for kind in ('account', 'container', 'object')}
            for kind, port in self.ports.items():
                rings = [self.folder / f'{kind}.builder']
                self.do('swift-ring-builder', *rings, 'create', 4, 1, 1)
                self.do('swift-ring-builder', *rings, 'add', f'r1z1-127.0.0.1:{port}/d1', 1)
                self.do('swift-ring-builder', *rings, 'rebalance')
        for kind, port in self.ports.items():
            path = self.folder / f'{kind}-server.conf'
            path.write_text(self.STORAGE.format(kind=kind, port=port, user=user, folder=self.folder))
            self.run(f'swift-{kind}-server', path, '-v')
        cache = matinee.free_port()
        self.run('memcached', '-l', '127.0.0.1', '-p', cache, '-m', 16, '-u', user)
        path = self.folder / 'proxy-server.conf'
        path.write_text(self.PROXY.format(cache=cache, port=self.port, user=user, folder=self.folder))
        self.run('swift-proxy-server', path, '-v')
        for port in (*self.ports.values(), self.port):
            matinee.until(lambda port=port: answers(port), 30, 'Swift being ready')
        matinee.until(self.make_bucket, 30, 'Swift having a bucket')
        return self


class RadosGateway(Server):
    """One monitor, one OSD in memory, and the gateway."""

    memory_bytes = 2 << 30

    @staticmethod
    def is_here():
        return all(shutil.which(name) for name in ('radosgw', 'ceph-mon', 'ceph-osd', 'ceph', 'radosgw-admin'))

    def start(self):
        config = self.folder / 'ceph.conf'
        monitor = matinee.free_port()
        self.environment_of_ceph = {'CEPH_CONF': str(config)}
        config.write_text(f'''[global]
fsid = 5d7ce1a4-6a3f-4f0e-9c53-1f2a3b4c5d6e
mon host = [v2:127.0.0.1:{monitor}/0]
mon data = {self.folder}/mon
run dir = {self.folder}
admin socket =
log to stderr = true
log file =
mon cluster log file =
keyring = {self.folder}/keyring
osd objectstore = memstore
memstore device bytes = {self.memory_bytes}
osd data = {self.folder}/osd
osd journal =
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
mon allow pool size one = true
mon allow pool delete = true
rgw frontends = beast endpoint=127.0.0.1:{self.port}
rgw data = {self.folder}/rgw
rgw dynamic resharding = false
''')
        ceph = {'environment': self.environment_of_ceph}
        for name in ('mon', 'osd', 'rgw'):
            (self.folder / name).mkdir()
        self.do('ceph-authtool', '--create-keyring', 'keyring', '--gen-key', '-n', 'mon.', '--cap', 'mon', 'allow *', **ceph)
        for name in ('client.admin', 'osd.0'):
            self.do('ceph-authtool', 'keyring', '--gen-key', '-n', name, '--cap', 'mon', 'allow *', '--cap', 'osd', 'allow *', **ceph)
        self.do('monmaptool', '--create', '--fsid', '5d7ce1a4-6a3f-4f0e-9c53-1f2a3b4c5d6e', '--addv', 'a', f'[v2:127.0.0.1:{monitor}/0]',
                'monmap', **ceph)
        self.do('ceph-mon', '--mkfs', '-i', 'a', '--monmap', 'monmap', '--keyring', 'keyring', **ceph)
        self.run('ceph-mon', '-f', '-i', 'a', environment=self.environment_of_ceph)
        self.do('ceph', 'osd', 'new', '0d7ce1a4-6a3f-4f0e-9c53-1f2a3b4c5d6e', **ceph)
        self.do('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', '0d7ce1a4-6a3f-4f0e-9c53-1f2a3b4c5d6e', **ceph)
        self.run('ceph-osd', '-f', '-i', '0', environment=self.environment_of_ceph)
        self.do('radosgw-admin', 'user', 'create', '--uid=matinee', '--display-name=matinee', f'--access-key={self.key}',
                f'--secret-key={self.secret}', **ceph)
        self.run('radosgw', '-f', '-n', 'client.admin', environment=self.environment_of_ceph)
        matinee.until(lambda: answers(self.port), 60, 'the gateway being ready')
        matinee.until(self.make_bucket, 30, 'the gateway having a bucket')
        return self


SERVERS = {'s3rver': S3rver, 'swift': Swift, 'radosgw': RadosGateway}

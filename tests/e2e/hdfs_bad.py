"""An HDFS that does wrong on command: enough of WebHDFS for matinee, NameNode and DataNode in one process, in memory.

`server.fault` is a function (op, path, 'name' or 'data', how many requests before) -> the name of a failure, or None. Failures:

    safe standby io denied quota       a RemoteException that says so
    not_json                           502 and a page
    hang                               nothing, until the client is gone or the fault is taken away
    close_early                        the connection ends before an answer; of a body in its middle
    done_unsaid                        it is done, and the connection ends before the answer
    truncate corrupt                   what is read ends early; a byte of it is another
    lose_half                          a CREATE that is answered well and has half of the bytes
    no_redirect                        a CREATE that is answered 201 at once
    elsewhere                          a redirect to another scheme
    no_checksum                        GETFILECHECKSUM is refused as unknown

`server.httpfs` makes renames those of HttpFS: nothing is moved to where something is."""
import hashlib
import http.server
import json
import posixpath
import select
import socket
import struct
import threading
import time
import urllib.parse

ROOT = '/webhdfs/v1'


def crc32c_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


TABLE = crc32c_table()


def crc32c(content):
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def checksum(content):
    """What HDFS keeps of a file of one block."""
    crcs = b''.join(struct.pack('>I', crc32c(content[i:i + 512])) for i in range(0, len(content), 512))
    whole = hashlib.md5(hashlib.md5(crcs).digest() + bytes(16)).digest()
    return {'algorithm': 'MD5-of-0MD5-of-512CRC32C', 'bytes': (struct.pack('>IQ', 512, 0) + whole).hex() + '00000000', 'length': 28}


EXCEPTIONS = {'safe': (403, 'SafeModeException', 'Name node is in safe mode.'),
              'standby': (403, 'StandbyException', 'Operation category READ is not supported in state standby'),
              'io': (403, 'IOException', 'Failed to find datanode, suggest to check cluster health.'),
              'denied': (403, 'AccessControlException', 'Permission denied: user=good'),
              'quota': (403, 'DSQuotaExceededException', 'The DiskSpace quota of /shows is exceeded')}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body=b'', headers=(), length=None):
        if self.fault == 'done_unsaid':
            return self.drop()
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, exception, message):
        self.answer(status, {'RemoteException': {'exception': exception, 'javaClassName': 'x.' + exception, 'message': message}})

    def drop(self):
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def hang(self):
        """Says nothing until the client has gone or the fault is over; then it has never been."""
        while self.server.fault is not None and not self.server.ending.is_set():
            if select.select([self.connection], [], [], 0.2)[0]:
                break
        self.drop()

    def handle_one(self):
        server = self.server
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        assert url.path.startswith(ROOT), self.path
        self.name = urllib.parse.unquote(url.path[len(ROOT):])
        role, op = ('data' if 'datanode' in self.query else 'name'), self.query['op']
        with server.lock:
            count = len(server.requests)
            server.requests.append((op, self.name, role, self.query))
        self.fault = fault = server.fault(op, self.name, role, count) if server.fault else None
        size = int(self.headers.get('Content-Length') or 0)
        if fault == 'close_early' and size > 1:
            self.rfile.read(size // 2)
            return self.drop()
        body = self.rfile.read(size)
        assert not body or role == 'data', 'a body for the NameNode'
        if fault == 'close_early':
            return self.drop()
        if fault == 'hang':
            return self.hang()
        if fault in EXCEPTIONS:
            return self.refuse(*EXCEPTIONS[fault])
        if fault == 'not_json':
            return self.answer(502, b'<html>Bad gateway')
        if self.query.get('user.name') != 'good' and self.query.get('delegation') not in server.tokens:
            return self.refuse(403, 'InvalidToken', "token can't be found in cache")
        if op in ('CREATE', 'OPEN', 'GETFILECHECKSUM') and role == 'name':
            return self.redirect(op)
        with server.lock:
            return getattr(self, 'do_it_' + op)(body)

    do_GET = do_PUT = do_DELETE = handle_one

    def redirect(self, op):
        with self.server.lock:
            missing = op != 'CREATE' and self.name not in self.server.files
        if missing:
            return self.refuse(404, 'FileNotFoundException', f'File {self.name} not found.')
        if self.fault == 'no_redirect':
            return self.answer(201)
        where = f'http://127.0.0.1:{self.server.server_address[1]}{self.path}&datanode=1'
        return self.answer(307, headers=[('Location', 'ftp://127.0.0.1/x' if self.fault == 'elsewhere' else where)])

    def do_it_CREATE(self, body):
        self.server.files[self.name] = body[:len(body) // 2] if self.fault == 'lose_half' else body
        self.answer(201)

    def do_it_OPEN(self, body):
        content = self.server.files[self.name]
        if self.fault == 'truncate':
            self.answer(200, content[:len(content) // 2], length=len(content))
            return self.drop()
        if self.fault == 'corrupt':
            content = bytes([content[0] ^ 1]) + content[1:]
        return self.answer(200, content)

    def do_it_GETFILECHECKSUM(self, body):
        if self.fault == 'no_checksum':
            return self.refuse(400, 'UnsupportedOperationException', 'no checksums here')
        return self.answer(200, {'FileChecksum': checksum(self.server.files[self.name])})

    def do_it_GETFILESTATUS(self, body):
        if self.name not in self.server.files:
            return self.refuse(404, 'FileNotFoundException', 'File does not exist')
        return self.answer(200, {'FileStatus': {'length': len(self.server.files[self.name]), 'type': 'FILE'}})

    def do_it_MKDIRS(self, body):
        folder = self.name
        while folder not in self.server.folders:
            self.server.folders.add(folder)
            folder = posixpath.dirname(folder)
        self.answer(200, {'boolean': True})

    def do_it_CHECKACCESS(self, body):
        self.answer(200)

    def do_it_RENAME(self, body):
        files, to = self.server.files, self.query['destination']
        self.server.touched.add(to)
        if self.server.httpfs:
            possible = self.name in files and posixpath.dirname(to) in self.server.folders and to not in files
            if possible:
                files[to] = files.pop(self.name)
            return self.answer(200, {'boolean': possible})
        if self.name not in files or posixpath.dirname(to) not in self.server.folders:
            return self.refuse(404, 'FileNotFoundException', 'rename source or parent is not found')
        files[to] = files.pop(self.name)
        return self.answer(200)

    def do_it_DELETE(self, body):
        doomed = [name for name in self.server.files if name == self.name or name.startswith(self.name + '/')]
        for name in doomed:
            del self.server.files[name]
        self.answer(200, {'boolean': bool(doomed)})

    def do_it_LISTSTATUS(self, body):
        now = int(time.time() * 1000)
        self.answer(200, {'FileStatuses': {'FileStatus': [
            {'pathSuffix': posixpath.basename(name), 'type': 'FILE', 'length': len(content),
             'modificationTime': now - 1000 * self.server.age_s.get(name, 0)}
            for name, content in self.server.files.items() if posixpath.dirname(name) == self.name] + self.server.foreign}})


class BadHdfs(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.files, self.folders, self.requests, self.tokens = {}, {'/'}, [], {'good-token'}
        self.touched, self.age_s, self.foreign, self.httpfs, self.fault = set(), {}, [], False, None
        self.thread = threading.Thread(target=self.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True)
        self.thread.start()

    def url(self, prefix='shows', user='good', **options):
        more = ''.join(f'&{name}={value}' for name, value in options.items())
        return f'hdfs://127.0.0.1:{self.server_address[1]}/{prefix}?' + (f'user={user}' if user else '') + (more if user else more[1:])

    def handle_error(self, request, client_address):
        """A client that goes away in the middle is what these tests are about."""

    def count(self, op, role=None):
        with self.lock:
            return sum(1 for o, _, r, _ in self.requests if o == op and role in (None, r))

    def close(self):
        self.ending.set()
        self.shutdown()
        self.server_close()

"""An S3 server that does wrong on command: enough of S3 for matinee, in memory, and every failure that a store can have.

`server.fault` is a function (method, key, how many requests before) -> the name of a failure, or None. Failures:

    error500 slow_down not_xml       an answer that says so
    hang                             nothing, until the client is gone or the fault is taken away
    close_early                      the connection ends before an answer; of a PUT in the middle of its body
    truncate                         Content-Length is right, the body ends early
    corrupt                          a byte of the body is another
    wrong_length                     a whole answer about fewer bytes
    wrong_tag no_tag                 a PUT whose ETag is another's, or is not there
    lose                             a PUT that is answered well and not stored, with a wrong ETag
    complete_error                   a multipart completion that is 200 and an error
    denied                           403 AccessDenied

`server.clock_offset_s` moves its clock; more than 15 minutes apart it refuses as S3 does. `server.keys` are the access keys it knows."""
import base64
import datetime
import hashlib
import http.server
import re
import select
import socket
import ssl
import threading
import urllib.parse

BUCKET = 'matinee'


def error(code, message='as the test wants'):
    return f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        moved = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.server.clock_offset_s)
        return super().date_time_string(moved.timestamp())

    def answer(self, status, body=b'', headers=(), length=None):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(body) if length is None else length))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

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

    def known(self):
        """Whether the caller's clock and key are what S3 would take; otherwise it has been answered."""
        sent = datetime.datetime.strptime(self.headers['x-amz-date'], '%Y%m%dT%H%M%SZ').replace(tzinfo=datetime.timezone.utc)
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.server.clock_offset_s)
        key = re.search(r'Credential=([^/]+)/', self.headers['authorization'])[1]
        if abs((now - sent).total_seconds()) > 900:
            self.answer(403, error('RequestTimeTooSkewed'))
        elif key not in self.server.keys:
            self.answer(400, error('ExpiredToken'))
        else:
            return True
        return False

    def handle_one(self):
        server = self.server
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        path = urllib.parse.unquote(url.path)
        if path.split('/')[1] != BUCKET:
            return self.answer(404, error('NoSuchBucket'))
        self.key = path[len(BUCKET) + 2:]
        with server.lock:
            count = len(server.requests)
            server.requests.append((self.command, self.key, self.query))
        fault = server.fault(self.command, self.key, count) if server.fault else None
        size = int(self.headers.get('Content-Length') or 0)
        if fault == 'close_early' and size > 1:
            self.rfile.read(size // 2)
            return self.drop()
        body = self.rfile.read(size)
        if fault in ('close_early',):
            return self.drop()
        if fault == 'hang':
            return self.hang()
        answers = {'error500': (500, error('InternalError')), 'slow_down': (503, error('SlowDown')),
                   'not_xml': (502, b'<html>Bad gateway'), 'denied': (403, error('AccessDenied'))}
        if fault in answers:
            return self.answer(*answers[fault])
        if not self.known():
            return None
        assert hashlib.sha256(body).hexdigest() == self.headers['x-amz-content-sha256']
        if body:
            assert base64.b64encode(hashlib.md5(body).digest()).decode() == self.headers['Content-MD5']
        return getattr(self, 'do_it_' + self.command)(body, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one

    def do_it_PUT(self, body, fault):
        tag = hashlib.md5(body).hexdigest()
        self.server.last_put = dict(self.headers.items())
        said = 'f' * 32 if fault in ('wrong_tag', 'lose') else tag
        with self.server.lock:
            if 'uploadId' in self.query:
                self.server.uploads[self.query['uploadId']]['parts'][int(self.query['partNumber'])] = body
            elif fault != 'lose':
                self.server.objects[self.key] = (body, self.headers['x-amz-meta-sha256'])
        self.answer(200, b'', [] if fault == 'no_tag' else [('ETag', f'"{said}"')])

    def do_it_GET(self, body, fault):
        if not self.key:
            return self.list_objects()
        with self.server.lock:
            content, meta = self.server.objects.get(self.key, (None, None))
        if content is None:
            return self.answer(404, error('NoSuchKey'))
        headers = [('ETag', f'"{hashlib.md5(content).hexdigest()}"'), ('x-amz-meta-sha256', meta)]
        if fault == 'truncate':
            self.answer(200, content[:len(content) // 2], headers, len(content))
            return self.drop()
        if fault == 'wrong_length':
            content = content[:len(content) // 2]
        if fault == 'corrupt':
            content = bytes([content[0] ^ 1]) + content[1:]
        return self.answer(200, content, headers)

    do_it_HEAD = do_it_GET

    def do_it_DELETE(self, body, fault):
        with self.server.lock:
            if 'uploadId' in self.query:
                self.server.uploads.pop(self.query['uploadId'], None)
            else:
                self.server.objects.pop(self.key, None)
        self.answer(204)

    def do_it_POST(self, body, fault):
        server = self.server
        if 'delete' in self.query:
            with server.lock:
                for key in re.findall(rb'<Key>([^<]*)</Key>', body):
                    server.objects.pop(key.decode(), None)
            return self.answer(200, b'<DeleteResult/>')
        if 'uploads' in self.query:
            with server.lock:
                upload = f'up/load=&{len(server.requests)}'
                server.uploads[upload] = {'parts': {}, 'meta': self.headers['x-amz-meta-sha256']}
            quoted = upload.replace('&', '&amp;')
            return self.answer(200, f'<InitiateMultipartUploadResult><UploadId>{quoted}</UploadId>'
                                    f'</InitiateMultipartUploadResult>'.encode())
        if fault == 'complete_error':
            return self.answer(200, error('InternalError'))
        with server.lock:
            upload = server.uploads.pop(self.query['uploadId'], None)
            if upload is None:
                return self.answer(404, error('NoSuchUpload'))
            parts = [upload['parts'][n] for n in sorted(upload['parts'])]
            server.objects[self.key] = (b''.join(parts), upload['meta'])
        tag = hashlib.md5(b''.join(hashlib.md5(p).digest() for p in parts)).hexdigest()
        return self.answer(200, f'<CompleteMultipartUploadResult><ETag>"{tag}-{len(parts)}"</ETag>'
                                f'</CompleteMultipartUploadResult>'.encode())

    def list_objects(self):
        prefix, after = self.query.get('prefix', ''), self.query.get('continuation-token', '')
        with self.server.lock:
            keys = sorted(k for k in self.server.objects if k.startswith(prefix) and k > after)
        page = keys[:min(int(self.query.get('max-keys', 1000)), self.server.page)]
        more = len(keys) > len(page)
        items = ''.join(f'<Contents><Key>{key}</Key></Contents>' for key in page + self.server.foreign)
        token = f'<NextContinuationToken>{page[-1]}</NextContinuationToken>' if more else ''
        return self.answer(200, f'<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{items}{token}'
                                f'</ListBucketResult>'.encode())


class BadS3(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port=0, tls=None):
        """`tls`: the folder of a certificate, with which it speaks HTTPS."""
        super().__init__(('127.0.0.1', port), Handler)
        self.scheme = 'https' if tls else 'http'
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / 'cert.pem', tls / 'key.pem')
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)  # but on the connection's own thread
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.objects, self.uploads, self.requests = {}, {}, []
        self.keys = {'good'}
        self.clock_offset_s, self.page, self.foreign, self.fault, self.last_put = 0, 1000, [], None, None
        self.thread = threading.Thread(target=self.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True)
        self.thread.start()

    environment = {'AWS_ACCESS_KEY_ID': 'good', 'AWS_SECRET_ACCESS_KEY': 'secret'}

    def url(self, prefix='shows', **options):
        more = ''.join(f'&{name}={value}' for name, value in options.items())
        return f's3://{BUCKET}/{prefix}?endpoint={self.scheme}://127.0.0.1:{self.server_address[1]}{more}'

    def handle_error(self, request, client_address):
        """A client that goes away in the middle is what these tests are about."""

    def count(self, method, key=''):
        with self.lock:
            return sum(1 for m, k, _ in self.requests if m == method and k.endswith(key))

    def close(self):
        self.ending.set()
        self.shutdown()
        self.server_close()

"""What the tests of comments share: a video to comment on, calls on kept connections, and readers of feeds."""
import http.client
import json
import socket
import threading
import time
import urllib.parse

import matinee


def make_video(server, tmp_path, seconds=25, **event):
    """An event with a video that has ended: (event, video)."""
    made = server.make_event(**event)
    clip = tmp_path / f'clip{seconds}.mp4'
    if not clip.exists():
        matinee.clip(clip, seconds)
    assert matinee.publish(clip, made['url'], '--speed', 'max').wait(60) == 0
    server.end(made)
    return made, server.video(made)


def path(video, rest=''):
    return f'/api/v1/videos/{video}/comments{rest}'


def post(server, video, id, data='hello', author='Anna', **more):
    """(status, document)."""
    status, _, body = server.request('POST', path(video), {'id': id, 'authorId': author, 'data': data, **more})
    return status, json.loads(body)


def ids(server, video, query='?limit=500'):
    """The ids of all comments of a video, by position."""
    found, next_page = [], path(video) + query
    while next_page:
        status, headers, body = server.request('GET', next_page)
        assert status == 200, body
        found += [c['id'] for c in json.loads(body)['items']]
        link = headers.get('Link')
        next_page = link[1:link.index('>')] if link else None
    return found


def window(server, video, n, headers=None):
    """(status, headers, document)."""
    status, fields, body = server.request('GET', path(video, f'/windows/{n}'), headers=headers)
    return status, fields, json.loads(body) if body else None


class Caller:
    """One client with a kept connection, which it makes anew when it breaks."""

    def __init__(self, server):
        self.server = server
        self.connection = None

    def post(self, video, id, data='hello', author='Anna', timeout=10, **more):
        """The status; None when the connection broke and nobody knows."""
        body = json.dumps({'id': id, 'authorId': author, 'data': data, **more})
        try:
            if self.connection is None:
                address = urllib.parse.urlsplit(self.server.http)
                self.connection = http.client.HTTPConnection(address.netloc, timeout=timeout)
            self.connection.request('POST', path(video), body, {'Content-Type': 'application/json'})
            answer = self.connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            self.close()
            return None

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


class Flood:
    """Clients that post as fast as they are answered, until `end`. What was answered 201 is in `kept`."""

    def __init__(self, server, video, clients=16, prefix='f', again=False):
        self.server, self.video, self.prefix, self.again = server, video, prefix, again
        self.kept, self.asked, self.others = set(), set(), []
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(n,), daemon=True) for n in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, client):
        caller, number = Caller(self.server), 0
        while not self.over.is_set():
            id, number = f'{self.prefix}-{client}-{number}', number + 1
            with self.lock:
                self.asked.add(id)
            status = caller.post(self.video, id, f'number {id}')
            while self.again and status not in (200, 201) and not self.over.is_set():
                self.over.wait(0.05)  # a client's own pause before it asks again
                status = caller.post(self.video, id, f'number {id}')
            with self.lock:
                if status in (200, 201):
                    self.kept.add(id)
                elif status not in (None, 503):
                    self.others.append((id, status))
            if status is None and not self.again:
                break
        caller.close()

    def count(self):
        with self.lock:
            return len(self.kept)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(30)
        assert not self.others, self.others[:5]


class Reader:
    """A reader of a video's feed, on a thread: every event that has come, in order."""

    def __init__(self, server, video, last=None, query='', receive_buffer=None):
        address = urllib.parse.urlsplit(server.http)
        self.events, self.comments_only = [], 0
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect((address.hostname, address.port))
        field = f'Last-Event-ID: {last}\r\n' if last is not None else ''
        self.socket.sendall(f'GET {path(video, "/live")}{query} HTTP/1.0\r\nHost: test\r\n{field}\r\n'.encode())
        self.stream = self.socket.makefile('rb')
        self.status = int(self.stream.readline().split()[1])
        while self.stream.readline() not in (b'\r\n', b''):
            pass
        assert self.status != 200 or self.stream.readline() == b':\n'
        self.thread = None

    def start(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def run(self):
        event = {}
        try:
            for line in self.stream:
                line = line.decode().rstrip('\n')
                if line == '':
                    if 'data' in event:
                        event['at'] = time.monotonic()
                        self.events.append(event)
                    event = {}
                elif line.startswith(':'):
                    self.comments_only += 1
                else:
                    name, _, value = line.partition(': ')
                    event[name] = value
        except (OSError, ValueError):
            pass

    def seen(self, kind='comment'):
        """The ids of what was told so far."""
        return [json.loads(e['data'])['id'] for e in list(self.events) if e['event'] == kind]

    def last(self):
        return self.events[-1]['id']

    def wait_for(self, id, kind='comment', seconds=20):
        matinee.until(lambda: id in self.seen(kind), seconds, f'{id} in the feed')

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
        if self.thread:
            self.thread.join(10)

"""Administration from a shell: what the commands print, what they refuse, and that a cut connection costs nothing."""
import http.server
import json
import os
import pathlib
import pty
import re
import select
import socket
import subprocess
import threading
import urllib.parse

import matinee
import pytest

UNKNOWN = '01ARZ3NDEKTSV4RRFFQ69G5FAV'


def environment(server=None, **more):
    """A shell that knows the server, and its token by a file."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith('MATINEE_')}
    known = {'MATINEE_SERVER': server.http, 'MATINEE_TOKEN_FILE': str(server.data / 'admin.token')} if server else {}
    return {**clean, **known, **more}


def run(server, *words, stdin=b'', cwd=None, timeout=90, **more):
    return subprocess.run([matinee.MATINEE, *map(str, words)], input=stdin, capture_output=True, timeout=timeout, cwd=cwd,
                          env=environment(server, **more))


def said(server, *words, **options):
    """Standard output of a command that does its work."""
    done = run(server, *words, **options)
    assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout.decode()


def refused(server, *words, status=1, **options):
    """The one line on standard error of a command that does not."""
    done = run(server, *words, **options)
    text = done.stderr.decode()
    assert done.returncode == status and done.stdout == b'' and text.count('\n') == 1 and text.startswith('matinee '), (words, done)
    return text


def fields(text):
    """{label: value} of what `show` prints."""
    return dict(re.split(r' {2,}', line, maxsplit=1) for line in text.splitlines() if '  ' in line)


def ended(server, event):
    """Waits until the event's upload is imported; the video's id."""
    video = matinee.until(lambda: server.event(event)['video'], what='the video')
    matinee.until(lambda: server.json(f'/api/v1/videos/{video}')['state'] == 'ended', 60, 'the import')
    return video


def objects(server, video):
    """{name: bytes} of what the store has of a video, but for pictures drawn on demand."""
    folder = server.data / 'store' / 'v' / video
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file() and p.suffix != '.jpg'}


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    return matinee.clip(tmp_path_factory.mktemp('files') / 'clip.mp4', 7, size='640x360')


@pytest.fixture(scope='module')
def long(tmp_path_factory, clip):
    """Several pieces of an upload."""
    file = tmp_path_factory.mktemp('files') / 'long.mkv'
    subprocess.run(['ffmpeg', '-nostdin', '-v', 'error', '-stream_loop', '24', '-i', clip, '-c', 'copy', file], check=True)
    assert file.stat().st_size > 36 << 20
    return file


# --- events and keys ----------------------------------------------------------------------------------------------


def test_an_event_from_its_creation_to_its_deletion(server):
    made = fields(said(server, 'event', 'create', "A ghost's light", '--starts-at', '2027-01-01T20:30:00+01:00', '--access', 'ticket'))
    assert made['title'] == "A ghost's light" and made['starts at'] == '2027-01-01T19:30:00.000Z' and made['access'] == 'ticket'
    assert len(made['stream key']) > 20 and made['publish to'] == server.rtmp
    event = made['id']
    shown = fields(said(server, 'event', 'show', event))
    assert 'stream key' not in shown and shown == {k: v for k, v in made.items() if k != 'stream key'}
    changed = fields(said(server, 'event', 'change', event, '--title', 'Later', '--starts-at', 'none'))
    assert changed['title'] == 'Later' and 'starts at' not in changed and changed['access'] == 'ticket'
    other = fields(said(server, 'event', 'create', '--', '--json'))
    assert other['title'] == '--json'  # behind -- nothing is an option
    head, *lines = said(server, 'event', 'list').splitlines()
    assert head.split()[:2] == ['ID', 'STATE'] and [line.split()[0] for line in lines] == [other['id'], event]
    assert fields(said(server, 'event', 'end', event))['id'] == event
    assert said(server, 'event', 'delete', event, other['id']) == ''
    assert said(server, 'event', 'list').count('\n') == 1
    done = run(server, 'event', 'delete', event, other['id'])  # each is said
    assert done.returncode == 1 and done.stderr.count(b'\n') == 2 and event.encode() in done.stderr, done


def test_json_is_what_the_server_says(server):
    event = json.loads(said(server, 'event', 'create', 'x', '--json'))
    assert event['streamKey'] and event['title'] == 'x'
    assert said(server, 'event', 'show', event['id'], '--json') == server.get(f"/api/v1/events/{event['id']}").decode() + '\n'
    assert json.loads(said(server, 'event', 'list', '--json')) == server.json('/api/v1/events')
    assert json.loads(said(server, 'video', 'list', '--json')) == {'items': []}


def test_a_list_of_several_pages_is_printed_whole(server):
    ids = [server.make_event(f'event {i}')['id'] for i in range(503)]
    listed = [line.split()[0] for line in said(server, 'event', 'list').splitlines()[1:]]
    assert sorted(listed) == sorted(ids)
    pages = subprocess.run(['jq', '-r', '.items[].id'], input=said(server, 'event', 'list', '--json').encode(), capture_output=True)
    assert pages.stdout.decode().split() == listed


def test_an_inventory_is_opened_listed_and_changed(server):
    shown = fields(said(server, 'inventory', 'create', 'Great hall', '--seats', '4x5', '--hold', '90', '--locking', 'combining'))
    assert shown['capacity'] == '20' and shown['locking'] == 'combining' and shown['seconds a hold lasts'] == '90'
    assert shown['book at'] == f"{server.http}/book/{shown['id']}"
    nights = fields(said(server, 'inventory', 'create', 'Inn', '--nights', '2026-12-20..2026-12-27', '--rooms', '3'))
    assert nights['capacity'] == '21' and nights['sells'] == 'nights'
    assert fields(said(server, 'inventory', 'change', shown['id'], '--name', 'Small hall'))['name'] == 'Small hall'
    assert fields(said(server, 'inventory', 'show', shown['id'])) == {**shown, 'name': 'Small hall'}
    lines = said(server, 'inventory', 'list').splitlines()
    assert lines[0].split() == ['ID', 'SELLS', 'LOCKING', 'CAPACITY', 'HELD', 'SOLD', 'NAME'] and len(lines) == 3
    for words in (['create', 'x'], ['create', 'x', '--seats', '4'], ['create', 'x', '--pool', 'many'], ['create', 'x', '--pool', '1', '--seats', '1x1'],
                  ['create', 'x', '--nights', '2026-12-20..2026-12-27']):
        assert '--' in refused(server, 'inventory', *words)
    assert "'locking' wants" in refused(server, 'inventory', 'create', 'x', '--pool', '1', '--locking', 'hopeful')


def test_a_rotated_key_opens_the_stage_and_the_old_one_does_not(server, clip):
    event = server.make_event()
    key = said(server, 'key', 'rotate', event['id']).strip()
    assert matinee.publish(clip, event['url'], '--speed', 'max').wait(30) == 1
    assert matinee.publish(clip, f'{server.rtmp}/{key}', '--speed', 'max').wait(30) == 0
    assert fields(said(server, 'event', 'end', event['id']))['state'] == 'ended'
    again = json.loads(said(server, 'key', 'rotate', event['id'], '--json'))
    assert again['id'] == event['id'] and again['streamKey'] not in (key, event['streamKey'])


def test_a_live_event_shows_who_publishes(server, clip):
    event = server.make_event()
    publisher = matinee.publish(clip, event['url'], '--loop')
    try:
        matinee.until(lambda: (server.event(event)['health'] or {}).get('height') == 360, what='the health')
        shown = said(server, 'event', 'show', event['id'])
        assert fields(shown)['state'] == 'live' and '640 x 360' in fields(shown)['publishing'], shown
        video = matinee.until(lambda: server.video(event), what='the video')
        assert 'live' in refused(server, 'video', 'delete', video)
        assert 'live' in refused(server, 'video', 'transcode', video, '--rendition', '144p').split(video)[1]
    finally:
        matinee.end_process(publisher)


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('words, reason', [
    (('event',), 'verb is missing'), (('event', 'make'), "no verb 'make'"), (('event', 'create'), 'title is missing'),
    (('event', 'create', ''), 'a title'), (('event', 'create', 'a', 'b'), "'b' is one word too many"),
    (('event', 'list', '--all'), '--all'), (('event', 'show'), 'is missing'), (('event', 'show', 'abc'), "'abc' is not an event's id"),
    (('event', 'show', '../../etc/passwd'), 'not an event'), (('event', 'change', UNKNOWN), 'nothing is given'),
    (('event', 'delete'), 'missing'), (('event', 'delete', UNKNOWN, 'x'), "'x'"), (('key', 'rotate'), 'missing'),
    (('video', 'upload', UNKNOWN), 'missing'), (('video', 'transcode', UNKNOWN), '--rendition is missing'),
    (('video', 'transcode', '--rendition', '144p'), 'missing'), (('video', 'transcode', '--all', UNKNOWN, '--rendition', '144p'), 'not both'),
    (('video', 'tasks', UNKNOWN, '../x'), "rendition's name"), (('video', 'publish', UNKNOWN), 'missing'),
    (('video', 'transcode', UNKNOWN, '--rendition'), 'wants a value'), (('event', 'list', '--server', 'ftp://x'), '--server wants http://'),
    (('event', 'list', '--server', ''), '--server wants'), (('event', 'list', '--server', 'http://x/?a'), '--server wants')])
def test_a_wrong_call_is_said_in_one_line_with_status_2(words, reason):
    assert reason in refused(None, *words, status=2)


@pytest.mark.parametrize('words, reason', [
    (('event', 'show', UNKNOWN), 'no such event'), (('event', 'create', 'x', '--access', 'friends'), "'access'"),
    (('event', 'create', 'x', '--starts-at', 'tomorrow'), "'startsAt'"), (('event', 'create', b'\xff'.decode(errors='surrogateescape')), 'UTF-8'),
    (('event', 'create', 'x' * 5000), "'title'"), (('key', 'rotate', UNKNOWN), 'no such event'), (('video', 'show', UNKNOWN), 'no such video'),
    (('video', 'delete', UNKNOWN), 'no such video'), (('video', 'upload', UNKNOWN, '/nowhere'), 'No such file'),
    (('video', 'upload', UNKNOWN, '/'), 'no ordinary file'), (('video', 'upload', UNKNOWN, '/dev/null'), 'no ordinary file'),
    (('video', 'upload', UNKNOWN, __file__), 'no such event'), (('video', 'download', UNKNOWN, 'x.mp4'), 'no such video'),
    (('video', 'download', UNKNOWN, '/nowhere/x.mp4'), 'No such file'), (('video', 'tasks', UNKNOWN, '144p'), 'no such video'),
    (('video', 'tasks', UNKNOWN, 'film'), 'film'), (('video', 'publish', UNKNOWN, '144p'), 'nothing came'),
    (('event', 'list', '--token-file', '/nowhere'), '/nowhere')])
def test_a_refusal_is_said_in_one_line_with_status_1(server, tmp_path, words, reason):
    assert reason.lower() in refused(server, *words, cwd=tmp_path).lower()
    assert not list(tmp_path.glob('x.mp4*'))


def test_an_explicit_refusal_of_each_video_and_of_what_is_no_line_of_reduce(server):
    done = run(server, 'video', 'transcode', UNKNOWN, '--rendition', '144p')
    assert done.returncode == 1 and UNKNOWN.encode() in done.stderr and done.stdout == b'', done
    assert '422' not in refused(server, 'video', 'publish', UNKNOWN, '144p', stdin=b'nonsense\n')
    assert 'no text' in refused(server, 'video', 'publish', UNKNOWN, '144p', stdin=b'\xff\xfe\n')
    assert 'none that matinee reduce printed' in refused(server, 'video', 'publish', UNKNOWN, '144p', stdin=b'x' * 900000)


def test_the_token_is_looked_for_where_it_was_said(server, tmp_path):
    place = tmp_path / 'elsewhere'
    place.mkdir()
    clean = {name: value for name, value in environment(server).items() if name != 'MATINEE_TOKEN_FILE'}

    def status(*more, **variables):
        done = subprocess.run([matinee.MATINEE, 'event', 'create', 'x', *more], cwd=place, capture_output=True, env={**clean, **variables},
                              timeout=20)
        assert done.stderr.count(b'\n') == (done.returncode != 0), done.stderr
        return done.returncode, done.stderr
    assert status()[0] == 1 and b'--token-file' in status()[1] and b'MATINEE_TOKEN' in status()[1]
    assert status(MATINEE_TOKEN=server.token)[0] == 0
    assert status(MATINEE_TOKEN='wrong')[0] == 1
    assert status(MATINEE_TOKEN='two words')[0] == 1
    assert status('--token-file', str(server.data / 'admin.token'), MATINEE_TOKEN='wrong')[0] == 0
    (place / 'data').mkdir()
    (place / 'data' / 'admin.token').write_text(server.token + '\n')
    assert status()[0] == 0  # where `matinee serve` beside us has it
    (place / 'data' / 'admin.token').write_text('\n')
    assert status()[0] == 1
    assert run(server, 'event', 'list', cwd=place, MATINEE_TOKEN='x').returncode == 0  # reading is open to all


def test_a_server_that_is_away_is_said_with_what_to_do(server, tmp_path, clip):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{s.getsockname()[1]}'
    for words in (('event', 'list'), ('event', 'create', 'x'), ('video', 'upload', UNKNOWN, clip), ('video', 'download', UNKNOWN, 'x'),
                  ('video', 'transcode', UNKNOWN, '--rendition', '144p'), ('video', 'tasks', UNKNOWN, '144p')):
        text = refused(server, *words, '--server', url, cwd=tmp_path)
        assert url in text and 'matinee serve' in text and '--server' in text, text
    assert 'no server was reached' in refused(server, 'event', 'list', '--server', 'http://nowhere.invalid')
    assert list(tmp_path.glob('x*')) == []


class Stranger(http.server.BaseHTTPRequestHandler):
    """Some other program that has our port."""

    def answer(self):
        body = b'<html>It works!</html>' if self.path.startswith('/api/v1/events') else b'[1]'
        self.rfile.read(int(self.headers.get('Content-Length') or 0))
        self.send_response(int(self.server.mood))
        if self.server.mood == '308':
            self.send_header('Location', 'https://elsewhere.example' + self.path)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = do_PUT = answer

    def log_message(self, *words):
        pass


def test_another_program_behind_the_address_is_told_from_a_server(server, tmp_path):
    (tmp_path / 'x').write_bytes(b'x')
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        url = f'http://127.0.0.1:{stranger.server_address[1]}'
        for stranger.mood, reason in (('200', b'not as a matinee server does'), ('404', b'not as a matinee server does'),
                                      ('308', b'sends us on to https://elsewhere.example/')):
            for words in (('event', 'list'), ('event', 'show', UNKNOWN), ('event', 'create', 'x'), ('key', 'rotate', UNKNOWN), ('video', 'list'),
                          ('video', 'show', UNKNOWN), ('video', 'upload', UNKNOWN, tmp_path / 'x'), ('video', 'tasks', UNKNOWN, '144p'),
                          ('video', 'transcode', UNKNOWN, '--rendition', '144p'), ('video', 'download', UNKNOWN, 'film.mp4')):
                done = run(server, *words, '--server', url, cwd=tmp_path)
                assert done.returncode == 1 and done.stdout == b'' and reason in done.stderr.splitlines()[-1], done
        stranger.shutdown()
    assert not list(tmp_path.glob('film*'))


def test_https_with_a_certificate_of_ones_own(make_server, tmp_path):
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=x',
                    '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', tmp_path / 'key.pem', '-out', tmp_path / 'cert.pem'],
                   check=True, capture_output=True)
    server = make_server('--tls-cert', str(tmp_path / 'cert.pem'), '--tls-key', str(tmp_path / 'key.pem'))
    assert server.http.startswith('https://')
    assert '--cacert' in refused(server, 'event', 'list')
    assert fields(said(server, 'event', 'create', 'secure', '--cacert', tmp_path / 'cert.pem'))['title'] == 'secure'
    assert 'cacert' in refused(server, 'event', 'list', '--cacert', '/nowhere')


# --- uploads and downloads ------------------------------------------------------------------------------------------


class Line:
    """A line to a server that can be cut: `cuts` says after how many bytes from the client each connection breaks (None: never);
    with `stalls` it goes silent there instead."""

    def __init__(self, server, cuts, stalls=False, answers=None):
        self.server, self.cuts, self.stalls, self.answers = server, list(cuts), stalls, answers
        self.came = []  # bytes of each connection, from the client
        self.told, self.begun = {}, {}  # by connection: how much the server first says it has, where the client first begins
        self.stalled, self.hung_up = threading.Event(), threading.Event()
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.url = f'http://127.0.0.1:{self.listener.getsockname()[1]}'
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client):
        url = urllib.parse.urlsplit(self.server.http)
        number, cut, back = None, None, 0
        try:
            with client, socket.create_connection((url.hostname, url.port)) as server:
                while True:
                    for ready in select.select([client, server], [], [])[0]:
                        piece = ready.recv(16384)
                        if not piece:
                            return
                        if ready is server:
                            back += len(piece)
                            if number is not None and (has := re.search(rb'\r\nRange: bytes=0-(\d+)\r\n', piece, re.I)):
                                self.told.setdefault(number, int(has[1]) + 1)
                            client.sendall(piece)
                            if self.answers is not None and back > self.answers:
                                return
                            continue
                        if number is None:  # libcurl opens some and says nothing on them
                            number, cut = len(self.came), self.cuts.pop(0) if self.cuts else None
                            self.came.append(0)
                        if number not in self.begun and (begins := re.search(rb'\r\nContent-Range: bytes (\d+)-', piece, re.I)):
                            self.begun[number] = int(begins[1])
                        server.sendall(piece)
                        self.came[number] += len(piece)
                        if cut is not None and self.came[number] > cut:
                            if self.stalls:
                                self.stalled.set()
                                self.hung_up.wait(60)
                            return
        except OSError:
            pass

    def close(self):
        self.hung_up.set()
        self.listener.close()


def test_an_upload_prints_the_video_and_is_the_recording(server, clip):
    one, two = server.make_event(), server.make_event()
    done = run(server, 'video', 'upload', one['id'], clip)
    assert done.returncode == 0 and re.search(r'^uploading 100 %', done.stderr.decode(), re.M), done
    video = done.stdout.decode().strip()
    assert ended(server, one) == video
    done = run(server, 'video', 'upload', one['id'], clip)  # its sender did not hear the answer, it thinks
    assert done.stdout.decode().strip() == video and b'--anew' in done.stderr and done.returncode == 0
    other = said(server, 'video', 'upload', one['id'], clip, '--anew').strip()
    assert other != video and ended(server, one) == other
    third = json.loads(said(server, 'video', 'upload', two['id'], clip, '--json'))['video']
    assert ended(server, two) == third
    assert objects(server, video) == objects(server, other) == objects(server, third)
    listed = said(server, 'video', 'list').splitlines()
    assert [line.split()[:4] for line in listed[1:]] == [[third, 'ended', '0:00:07', two['id']], [other, 'ended', '0:00:07', one['id']],
                                                         [video, 'ended', '0:00:07', one['id']]]
    shown = said(server, 'video', 'show', video)
    assert fields(shown)['duration'] == '0:00:07, 4 segments' and re.search(r'^source +640 x 360 .* ready', shown, re.M), shown


@pytest.mark.parametrize('name, content, reason', [('text.mp4', b'once upon a time' * 100, 'not taken'), ('empty.mp4', b'', 'empty')])
def test_what_is_no_recording_is_refused(server, tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    text = run(server, 'video', 'upload', server.make_event()['id'], tmp_path / name).stderr.decode()
    assert reason in text.splitlines()[-1], text


def test_an_upload_whose_connection_is_cut_again_and_again_goes_on(server, long):
    event = server.make_event()
    size = long.stat().st_size
    line = Line(server, [5 << 20, 21 << 20, 3 << 20])
    done = run(server, 'video', 'upload', event['id'], long, '--server', line.url, timeout=120)
    assert done.returncode == 0, done
    assert b'broke' in done.stderr and b' 100 %' in done.stderr and b'matinee video' not in done.stderr, done.stderr
    assert len(line.came) == 4
    # What the server had is not sent again; what the kernel alone had when the line broke is.
    assert [line.begun[i] for i in range(1, 4)] == [line.told[i] for i in range(1, 4)], (line.begun, line.told)
    assert 0 < line.told[1] < line.told[2] < line.told[3] < size, (line.told, line.came)
    video = done.stdout.decode().strip()
    assert ended(server, event) == video
    line.close()
    other = server.make_event()
    assert ended(server, other if said(server, 'video', 'upload', other['id'], long) else None)
    assert objects(server, video) == objects(server, server.video(other))


def test_an_upload_waits_for_a_killed_server_that_is_started_again(make_server, long):
    server = make_server('--segment', '10')
    event = server.make_event()
    line = Line(server, [20 << 20], stalls=True)
    client = subprocess.Popen([matinee.MATINEE, 'video', 'upload', event['id'], str(long), '--server', line.url], env=environment(server),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert line.stalled.wait(60)
    address = urllib.parse.urlsplit(server.http).netloc
    server.kill()
    line.hung_up.set()
    lines = iter(client.stderr.readline, b'')
    assert any(b'the connection to ' in said for said in lines)  # it says so, and waits
    server.start(http=address)
    out, err = client.communicate(timeout=60)
    assert client.returncode == 0, err
    assert sum(line.came) < long.stat().st_size + (21 << 20), line.came
    assert ended(server, event) == out.decode().strip()
    line.close()


def test_a_killed_upload_is_gone_on_with_and_another_file_does_not_mix_with_it(server, long, clip):
    event = server.make_event()
    line = Line(server, [20 << 20], stalls=True)
    client = subprocess.Popen([matinee.MATINEE, 'video', 'upload', event['id'], str(long), '--server', line.url], env=environment(server),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert line.stalled.wait(60)
    assert 'receiving, ' in fields(said(server, 'event', 'show', event['id']))['upload']
    client.kill()
    client.communicate()
    line.close()

    def taken():  # the server has to notice that the first is gone
        done = run(server, 'video', 'upload', event['id'], clip)
        return done if b'in-use' not in done.stderr and b'running' not in done.stderr else None
    done = matinee.until(taken, 60, 'the place being free')
    assert done.returncode == 1 and b'--anew' in done.stderr, done
    done = run(server, 'video', 'upload', event['id'], long)
    already = float(re.search(rb'^([0-9.]+) of [0-9.]+ MB are there already', done.stderr, re.M)[1])
    assert done.returncode == 0 and already > 16, done
    assert ended(server, event) == done.stdout.decode().strip()
    said(server, 'video', 'upload', event['id'], clip, '--anew')


def on_a_terminal(server, *words):
    """What a command draws on standard error there, and its standard output."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([matinee.MATINEE, *map(str, words)], stdout=subprocess.PIPE, stderr=theirs, env=environment(server))
    os.close(theirs)
    drawn = b''
    try:
        while piece := os.read(ours, 4096):
            drawn += piece
    except OSError:
        pass  # the other end is closed
    os.close(ours)
    assert process.wait(60) == 0, drawn
    return drawn.decode(), process.stdout.read().decode()


def test_a_terminal_gets_a_bar_that_is_drawn_over(server, clip):
    event = server.make_event()
    drawn, result = on_a_terminal(server, 'video', 'upload', event['id'], clip)
    assert '\ruploading [' in drawn and '[' + '#' * 30 + '] 100 %' in drawn and drawn.endswith('\n'), drawn
    assert result.strip() == ended(server, event)
    drawn, _ = on_a_terminal(server, 'video', 'transcode', result.strip(), '--rendition', '144p')
    assert '\r144p [' in drawn and '100 %' in drawn and drawn.count('\n') == 1, drawn


def test_a_download_is_the_whole_video_or_nothing(server, long, tmp_path):
    event = server.make_event()
    video = said(server, 'video', 'upload', event['id'], long).strip()
    ended(server, event)
    whole = server.get(f'/api/v1/videos/{video}/download')
    assert said(server, 'video', 'download', video, tmp_path / 'film.mp4') == ''
    assert (tmp_path / 'film.mp4').read_bytes() == whole
    assert run(server, 'video', 'download', video, '-').stdout == whole
    line = Line(server, [], answers=len(whole) // 2)
    done = run(server, 'video', 'download', video, tmp_path / 'half.mp4', '--server', line.url)
    assert done.returncode == 1 and b'broke' in done.stderr.splitlines()[-1], done.stderr
    line.close()
    assert sorted(p.name for p in tmp_path.glob('*.mp4*')) == ['film.mp4']
    if os.path.exists('/dev/full'):
        with open('/dev/full', 'wb') as full:
            done = subprocess.run([matinee.MATINEE, 'video', 'download', video, '-'], stdout=full, stderr=subprocess.PIPE, env=environment(server))
        assert done.returncode == 1 and b'No space left' in done.stderr, done


# --- more renditions ------------------------------------------------------------------------------------------------


def imported(server, file):
    event = server.make_event()
    said(server, 'video', 'upload', event['id'], file)
    return ended(server, event)


def states(server, video):
    return {r['name']: r['state'] for r in server.json(f'/api/v1/videos/{video}')['renditions']}


def test_transcode_of_all_videos_with_two_workers(make_server, clip, tmp_path):
    server = make_server('--segment', '2', '--workers', '2')
    assert run(server, 'video', 'transcode', '--all', '--rendition', '240p').returncode == 0  # there is none
    low = imported(server, matinee.clip(tmp_path / 'low.mp4', 2, size='256x144'))
    tall = [imported(server, clip) for _ in range(2)]
    done = run(server, 'video', 'transcode', '--all', '--rendition', '240p')
    assert done.returncode == 0, done
    assert sorted(line.split() for line in done.stdout.decode().splitlines()) == sorted([v, '240p', 'ready'] for v in tall)
    assert low in done.stderr.decode() and '240p 100 %  0:14 of 0:14' in done.stderr.decode(), done.stderr
    assert all(states(server, v)['240p'] == 'ready' for v in tall) and '240p' not in states(server, low)
    again = run(server, 'video', 'transcode', *tall, '--rendition', '240p')  # it is there
    assert again.returncode == 0 and again.stdout.count(b'ready') == 2
    one = json.loads(said(server, 'video', 'transcode', tall[0], '--rendition', '144p:av1', '--json'))
    assert one['id'] == tall[0] and {'144p-av1', '240p'} <= {r['name'] for r in one['renditions']}
    assert 'asked for' in said(server, 'video', 'transcode', tall[1], '--rendition', '144p', '--no-wait')
    matinee.until(lambda: states(server, tall[1]).get('144p') == 'ready', 60, 'what was asked for')


def test_transcode_says_what_could_not_be_made(make_server, clip):
    server = make_server('--segment', '2')
    video = imported(server, clip)
    damaged = server.data / 'store' / 'v' / video / 'source' / '000001.m4s'
    content = bytearray(damaged.read_bytes())
    at = content.index(b'mdat') + 4
    content[at:] = bytes(len(content) - at)
    damaged.write_bytes(content)
    server.stop()
    server.start()
    done = run(server, 'video', 'transcode', video, '--rendition', '144p')
    assert done.returncode == 1 and b'1 segments could not be made: ' in done.stdout, done


def test_transcode_waits_for_a_server_that_is_started_again(make_server, clip):
    server = make_server('--segment', '2', '--workers', '0')
    video = imported(server, clip)
    client = subprocess.Popen([matinee.MATINEE, 'video', 'transcode', video, '--rendition', '144p'], env=environment(server),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    matinee.until(lambda: '144p' in states(server, video), what='the rendition being begun')
    address = urllib.parse.urlsplit(server.http).netloc
    server.kill()
    assert server.http.encode() in client.stderr.readline()  # says so, and waits
    server.options[server.options.index('--workers') + 1] = '1'
    server.start(http=address)
    out, err = client.communicate(timeout=60)
    assert client.returncode == 0 and b'ready' in out, (out, err)


def test_a_pipeline_in_a_shell_makes_the_bytes_of_the_queue(make_server, clip):
    one = make_server('--segment', '2', data='one')
    video = imported(one, clip)
    one.stop()
    subprocess.run(['cp', '-a', str(one.data), str(one.data) + '-copy'], check=True)
    one.start()
    two = make_server('--segment', '2', '--workers', '0', data='one-copy')
    for name, path in (('240p', '240p'), ('144p:hevc', '144p-hevc')):
        said(one, 'video', 'transcode', video, '--rendition', name)
        done = subprocess.run(
            f'set -o pipefail; matinee video tasks {video} {path} | matinee map --storage "$S" | sort | '
            f'matinee reduce --storage "$S" | matinee video publish {video} {path}', shell=True, executable='/bin/bash', capture_output=True,
            timeout=120, env={**environment(two, S=f'file:{two.data}/store'), 'PATH': f'{pathlib.Path(matinee.MATINEE).parent}:{os.environ["PATH"]}'})
        assert done.returncode == 0 and done.stdout == b'' and done.stderr == b'', done
        matinee.until(lambda: states(two, video).get(path) == 'ready', 20, 'the rendition being published')
        made = {name: content for name, content in objects(one, video).items() if name.startswith(path + '/')}
        assert len(made) >= 4 and {k: v for k, v in objects(two, video).items() if k.startswith(path + '/')} == made
        assert one.get(f'/v/{video}/{path}/init-0.mp4') == two.get(f'/v/{video}/{path}/init-0.mp4')
        assert one.get(f'/v/{video}/{path}/playlist.m3u8') == two.get(f'/v/{video}/{path}/playlist.m3u8')
    done = run(two, 'video', 'tasks', video, '240p')
    assert done.returncode == 0 and done.stdout == b'' and b'nothing is left' in done.stderr
    assert 'line 1' in refused(two, 'video', 'publish', video, '240p', stdin=b'nonsense\n')


# --- help ----------------------------------------------------------------------------------------------------------


def test_help_and_the_man_page_name_every_verb_and_option(tmp_path):
    page = tmp_path / 'matinee.1'
    subprocess.run(['python3', matinee.ROOT / 'tools' / 'manual.py', matinee.MATINEE, matinee.ROOT / 'docs' / 'matinee.1.in', '1.2.3', page],
                   check=True, timeout=20)
    manual = page.read_text().replace('\\-', '-')
    for noun in ('event', 'video', 'key'):
        text = said(None, noun, '--help')
        assert said(None, noun, 'list', '--help') == text
        names = re.findall(rf'^  {noun} ([a-z]+)', text, re.M) + re.findall(r'^  (--[a-z-]+)', text, re.M)
        assert len(names) >= 5, text
        for name in names:
            assert re.search(rf'^\.B (matinee {noun} )?{name}\b', manual, re.M), (noun, name)
        assert noun in said(None, 'help')
    assert 'matinee 1.2.3' in manual and manual.isascii()

"""Engines under fire: MariaDB killed in the middle of a commit, of every kind there is (wire.py), and MariaDB and NATS cut off from
us, so that nothing comes through and nobody says so (street.py).

Two of them take half a minute each, so a run does one of these, by a seed that stands in the tests' names; MATINEE_EVERY_FIRE=1 does
all, and MATINEE_FIRE_SEED=N those of that seed."""
import concurrent.futures
import contextlib
import hashlib
import json
import os
import random
import signal
import threading
import time

import box_office
import comments
import ladder
import matinee
import pytest
from street import Street
from wire import MOMENTS, Wire

pytestmark = pytest.mark.long

SEED = int(os.environ['MATINEE_FIRE_SEED'])
EVERY = os.environ.get('MATINEE_EVERY_FIRE') == '1'


def scenarios(always, in_turn, turn):
    """Parameters of a test: what always runs, and what does with every second seed."""
    chosen = [always, in_turn] if EVERY or SEED % 2 == turn else [always]
    return pytest.mark.parametrize('scenario', chosen, ids=lambda s: f'{s.__name__}-seed{SEED}')


# --- a commit, and the database killed in it ----------------------------------------------------------------


@pytest.fixture(scope='module')
def mariadb(tmp_path_factory):
    server = matinee.MariaDB(tmp_path_factory.mktemp('mariadb') / 'db')
    yield server.start()
    server.close()


class House:
    """A server whose database is reached over the wire, and the user in front of it."""

    def __init__(self, make_server, mariadb, *options, **more):
        mariadb.run('DROP DATABASE matinee; CREATE DATABASE matinee')
        self.mariadb, self.wire = mariadb, Wire(mariadb.port)
        self.moments = random.Random(SEED)
        url = mariadb.url.replace(f':{mariadb.port}/', f':{self.wire.port}/')
        self.server = make_server('--segment', '2', '--grace', '20', '--database', url, *options, **more)

    def call(self, method, path, body=None, headers=None):
        """(status, document)."""
        status, _, content = self.server.request(method, path, body, headers=headers, admin=True, timeout=40)
        return status, json.loads(content) if content else None

    def caught(self, text):
        """The database is killed in the next commit of such a transaction."""
        moment = self.moments.choice(MOMENTS)
        print(f'{text!r}: killed {moment} the commit')
        return self.wire.set(text, moment, self.mariadb.kill)

    def back(self):
        """Starts the database again; what is to be caught next has been set, for nobody reaches it before."""
        self.mariadb.start()
        self.wire.is_open = True

    def through(self, text, method, path, body=None, headers=None, then=None):
        """The call's effect is there once whenever the database dies in it: the user is told so, or told to try again, and does.
        Returns what was answered in the end. `then`: what is to be caught next."""
        trap = self.caught(text)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            call = pool.submit(self.call, method, path, body, headers)
            trap.wait()
            self.next = self.caught(then) if then else None
            self.back()
            status, document = call.result(60)
        asked = 1
        while status == 503:
            assert asked < 100, document
            status, document = self.call(method, path, body, headers)
            asked += 1
        print(f'  {method} {path}: {status}, asked {asked} times')
        return status, document

    def rows(self, what):
        return self.mariadb.query('SELECT ' + what)

    def count(self, what):
        return int(self.rows('COUNT(*) FROM ' + what)[0][0])


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest().upper()


def events(house):
    status, event = house.through('INSERT INTO events', 'POST', '/api/v1/events', {'title': 'Made'})
    assert status == 201 and house.rows("id, HEX(key_hash) FROM events WHERE title = 'Made'") == [[event['id'], sha256(event['streamKey'])]]
    at = f"/api/v1/events/{event['id']}"
    status, changed = house.through('UPDATE events SET title', 'PATCH', at, {'title': 'Changed'})
    assert status == 200 and changed['title'] == 'Changed' and house.rows('title FROM events') == [['Changed']]
    status, rotated = house.through('UPDATE events SET title', 'POST', at + '/stream-key')
    assert status == 200 and house.rows('HEX(key_hash) FROM events') == [[sha256(rotated['streamKey'])]]
    assert [e['id'] for e in house.server.json('/api/v1/events')['items']] == [event['id']]
    return at


def gone(house, event):
    status, _ = house.through('DELETE FROM events', 'DELETE', event)
    assert status in (204, 404) and house.count('events') == 0 and house.server.json('/api/v1/events')['items'] == []
    assert house.call('GET', event)[0] == 404


def seats(house):
    """Two seats, and nobody gets one that somebody has."""
    status, hall = house.through('INSERT INTO inventories', 'POST', '/api/v1/inventories',
                                 {'name': 'Hall', 'locking': random.Random(SEED).choice(['optimistic', 'pessimistic', 'combining']),
                                  'units': [{'key': 'a', 'capacity': 1}, {'key': 'b', 'capacity': 1}]})
    assert status == 201 and house.rows('id FROM inventories') == [[hall['id']]] and house.count('units') == 2
    at = f"/api/v1/inventories/{hall['id']}"

    def wanted(who, unit):
        return 'POST', f'{at}/reservations', {'customer': who, 'units': [{'key': unit, 'quantity': 1}]}, {'Idempotency-Key': who}

    def balance(*states):
        found = box_office.rows_of(house.mariadb.query, hall['id'])
        box_office.Checker([], found).check_rows()
        assert sorted((r['customer'], r['state'], *r['units']) for r in found['reservations']) == sorted(states)

    status, ann = house.through('INSERT INTO reservations', *wanted('ann', 'a'))
    assert status == 201 and house.call(*wanted('ann', 'a'))[1]['id'] == ann['id'] and house.call(*wanted('bob', 'a'))[0] == 409
    balance(('ann', 'held', 'a'))
    mine = f"/api/v1/reservations/{ann['id']}"
    status, moved = house.through('UPDATE reservations', 'PATCH', mine, {'units': [{'key': 'b', 'quantity': 1}]}, {'If-Match': f'"{ann["version"]}"'})
    assert status == 200 and moved['units'] == [{'key': 'b', 'quantity': 1}]
    balance(('ann', 'held', 'b'))
    status, confirmed = house.through('UPDATE reservations', 'POST', mine + '/confirm')
    assert status == 200 and confirmed['state'] == 'confirmed' and house.call('POST', mine + '/confirm')[1] == confirmed
    balance(('ann', 'confirmed', 'b'))
    assert house.call(*wanted('bob', 'b'))[0] == 409
    status, _ = house.through('INSERT INTO waiters', 'POST', at + '/waitlist', {'customer': 'cy', 'units': [{'key': 'b', 'quantity': 1}]})
    assert status == 201 and house.count('waiters') == 1
    status, _ = house.through('UPDATE reservations', 'DELETE', mine)
    assert status == 204 and house.call('DELETE', mine)[0] == 204
    balance(('ann', 'cancelled', 'b'), ('cy', 'held', 'b'))  # freed, and given to who waited, in that one transaction


def tickets(house):
    status, event = house.call('POST', '/api/v1/events', {'title': 'Ticketed', 'access': 'ticket', 'inventory': {'name': 'Hall', 'pool': 9}})
    assert status == 201
    status, held = house.call('POST', f"/api/v1/inventories/{event['inventory']}/reservations", {'customer': 'ann', 'quantity': 2}, {'Idempotency-Key': 'k'})
    assert status == 201
    mine = f"/api/v1/reservations/{held['id']}"
    assert house.call('POST', mine + '/confirm')[0] == 200
    status, link = house.through('INSERT INTO ticket_passes', 'POST', mine + '/links', {'name': 'Bo'})
    assert status == 201 and [i['id'] for i in house.call('GET', mine + '/links')[1]['items']] == [link['id']]
    assert house.call('POST', mine + '/links', {'name': 'Cy'})[0] == 409  # two people: one link, and it is Bo's
    keys = house.count('token_keys')
    assert house.through('INSERT INTO token_keys', 'POST', '/api/v1/token-keys')[0] == 204 and house.count('token_keys') == keys + 1
    status, made = house.through('INSERT INTO api_tokens', 'POST', '/api/v1/tokens', {'name': 'Desk', 'role': 'box-office'})
    assert status == 201 and house.rows('HEX(hash) FROM api_tokens') == [[sha256(made['token'])]]
    status, _ = house.through('DELETE FROM api_tokens', 'DELETE', f"/api/v1/tokens/{made['id']}")
    assert status in (204, 404) and house.count('api_tokens') == 0


def comments_of(house, video):
    path, body = comments.path(video), {'id': 'c1', 'authorId': 'Ann', 'data': 'hello', 'offset': 1}
    status, said = house.through('INSERT INTO comments (', 'POST', path, body)
    assert status in (200, 201) and house.rows('cid, data FROM comments') == [['c1', 'hello']]
    assert house.call('POST', path, body) == (200, said)
    assert comments.ids(house.server, video) == ['c1']
    status, _ = house.through('UPDATE comments SET state = 2', 'DELETE', f'{path}/c1')
    assert status == 204 and comments.ids(house.server, video) == [] and house.call('POST', path, body)[0] == 409


def every_call_over_http(make_server, mariadb, tmp_path):
    house = House(make_server, mariadb)
    seats(house)
    tickets(house)
    assert house.call('DELETE', f"/api/v1/events/{house.server.json('/api/v1/events')['items'][0]['id']}")[0] == 204
    event = events(house)
    _, rotated = house.call('POST', event + '/stream-key')
    clip = matinee.clip(tmp_path / 'clip.mp4', 4)
    assert matinee.publish(clip, f"{house.server.rtmp}/{rotated['streamKey']}", '--speed', 'max').wait(30) == 0
    assert house.call('POST', event + '/end')[0] == 200
    video = house.call('GET', event)[1]['video']
    comments_of(house, video)
    matinee.until(lambda: house.count('segments') >= 2, what='both segments')
    mariadb.kill()  # a deletion that cannot be written takes nothing away
    assert house.call('DELETE', f'/api/v1/videos/{video}')[0] == 503
    mariadb.start()
    matinee.until(lambda: house.call('GET', f'/api/v1/videos/{video}')[0] == 200, 10, 'the video, as it was')
    status, _ = house.through('DELETE FROM videos', 'DELETE', f'/api/v1/videos/{video}')
    assert status in (204, 404) and house.count('videos') == house.count('segments') == 0
    assert house.call('GET', f'/api/v1/videos/{video}')[0] == 404
    gone(house, event)


def plays(server, video):
    """What is listed can be had, and follows one upon the other."""
    names, playlist = ladder.listed(server, video, 'source')
    numbers = [int(name.split('.')[0].split('-')[0]) for name in names]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), playlist
    for name in names[-3:]:
        assert server.get(f'/v/{video}/source/{name}')


def every_row_of_a_show(make_server, mariadb, tmp_path):
    house = House(make_server, mariadb, '--ladder', '240p', '--workers', '1')
    server, event = house.server, house.server.make_event()
    clip, record = matinee.clip(tmp_path / 'clip.mp4', 30, size='426x320'), tmp_path / 'record'
    trap = house.caught('INSERT INTO videos')
    publisher = matinee.publish(clip, event['url'], '--speed', 1, '--record', record)
    try:
        for text in 'INSERT INTO renditions ', 'INSERT INTO segments', 'INSERT INTO rendition_segments', 'INSERT INTO segments':
            trap.wait()
            video = server.video(event)
            trap = house.caught(text)
            house.back()
        plays(server, video)
        trap.wait()
        house.back()
        assert publisher.wait(60) == 0
    finally:
        matinee.end_process(publisher)
    status, _ = house.through("SET state = 'ended'", 'POST', f"/api/v1/events/{event['id']}/end", then='SET laddered = 1')
    assert status == 200
    house.next.wait(60)
    house.back()
    matinee.until(lambda: house.rows('state, laddered FROM videos') == [['ended', '1']], 20, 'the end in the rows')
    ladder.published_once(server, video, ['240p'])
    plays(server, video)
    sent = [md5 for kind, _, _, md5, _ in matinee.read_record(record)[0] if kind == 'video' and md5 != '-']
    assert [md5 for _, _, md5 in matinee.packets(f'{server.http}/v/{video}/master.m3u8', 'v:0')] == sent

    # And a server that knows nothing but the rows says the same.
    told = server.json(f'/api/v1/videos/{video}')
    server.kill()
    server.start()
    assert server.json(f'/api/v1/videos/{video}') == told


def the_first_start(make_server, mariadb, tmp_path):
    shape = ('table_name, column_name, column_type, is_nullable, column_default, column_key FROM information_schema.columns'
             " WHERE table_schema = 'matinee' ORDER BY 1, ordinal_position")
    plain = House(make_server, mariadb)
    plain.server.stop()
    whole = plain.rows(shape)
    chance = random.Random(SEED)
    for text in chance.sample(['CREATE TABLE IF NOT EXISTS inits', 'ALTER TABLE videos ADD COLUMN IF NOT EXISTS upload_bytes', 'INSERT INTO catalog',
                               *(f'REPLACE INTO matinee_schema VALUES (1, {n})' for n in range(1, 9))], 3):
        house = House(make_server, mariadb, data=f'data{len(text)}-{chance.random()}', start=False)
        trap = house.caught(text)
        with pytest.raises(AssertionError, match='serve ended with 1'):
            house.server.start()
        trap.wait()
        house.back()
        house.server.start()
        assert house.rows(shape) == whole and house.rows('version FROM catalog') == [['1']]
        assert house.server.make_event()
        assert house.server.stop() == 0


def the_first_start_and_every_row_of_a_show(*what):
    the_first_start(*what)
    every_row_of_a_show(*what)


@scenarios(every_call_over_http, the_first_start_and_every_row_of_a_show, 0)
def test_a_database_killed_in_a_commit_leaves_it_done_once_or_not_at_all(scenario, make_server, mariadb, tmp_path):
    if mariadb.process.poll() is not None:
        mariadb.start()
    scenario(make_server, mariadb, tmp_path)


# --- a network that drops everything ------------------------------------------------------------------------

WHY_NOT = Street.possible()


class Watch:
    """Viewers meanwhile: how long each answer took."""

    def __init__(self, server, video):
        self.server, self.paths = server, ('/healthz', f'/v/{video}/source/playlist.m3u8', f'/v/{video}/master.m3u8')
        self.ended, self.slowest, self.wrong, self.count = threading.Event(), 0, [], 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ended.wait(0.1):
            for path in self.paths:
                began = time.monotonic()
                try:
                    status = self.server.request('GET', path, timeout=5)[0]
                except OSError as e:
                    status = repr(e)
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.count += 1
                if status != 200:
                    self.wrong.append((path, status))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def away(server):
    """What the metrics say is away."""
    return [server.metric(f'matinee_{what}_away') for what in ('database', 'queue')]


def both_from_the_server(street, make_server, tmp_path, tidy):
    house = street.in_viewers_house
    mariadb = matinee.MariaDB(tmp_path / 'mariadb', street.viewer_at, house)
    tidy.callback(mariadb.close)
    nats = matinee.Nats(tmp_path / 'cut-nats', street.viewer_at, house)
    tidy.callback(nats.close)
    mariadb.start()
    nats.start()
    server = make_server('--segment', '2', '--grace', '20', '--database', mariadb.url, '--queue', nats.url, '--ladder', '240p', '--workers', '0')
    worker = matinee.Worker(nats.url, f'file:{server.data}/store', tmp_path / 'worker.log', inside=house)
    tidy.callback(worker.stop)
    event = server.make_event()
    publisher = matinee.ffmpeg(*matinee.drawn(90, '426x320', gop=30), event['url'])
    tidy.callback(matinee.end_process, publisher)
    matinee.until(lambda: ladder.published(server) >= 2, 40, 'segments of the rendition')
    video = server.video(event)
    with Watch(server, video) as watch:
        seen = server.json(f'/api/v1/videos/{video}')['segments']
        street.black()
        dark = time.monotonic()
        matinee.until(lambda: away(server) == [1, 1], 15, 'both being away')
        noticed = time.monotonic() - dark
        said = server.get('/readyz').decode()
        assert 'database away' in said and 'queue away' in said and said.startswith('ready\n'), said
        asked = time.monotonic()
        status, _, body = server.request('POST', '/api/v1/events', {'title': 'Not now'}, admin=True, timeout=20)
        assert status == 503, (status, body)
        refused = time.monotonic() - asked
        matinee.until(lambda: time.monotonic() - dark >= 18, 20)
        assert server.json(f'/api/v1/videos/{video}')['segments'] >= seen + 7, 'the show goes on'
        street.clear()
        bright = time.monotonic()
        matinee.until(lambda: away(server) == [0, 0], 15, 'both being back')
        back = time.monotonic() - bright
        made = ladder.published(server)
        matinee.until(lambda: ladder.published(server) >= made + 4, 20, 'what had waited')
        matinee.until(lambda: server.metric('matinee_segments_waiting') == 0, 20, 'the spool')
    print(f'noticed after {noticed:.1f} s, a call refused in {refused:.1f} s, back {back:.1f} s after the network;'
          f' {watch.count} answers, the slowest {watch.slowest * 1000:.0f} ms')
    assert watch.wrong == [] and watch.slowest < 1
    matinee.end_process(publisher)
    server.end(event)
    ladder.published_once(server, video, ['240p'])
    assert server.make_event('Now') and server.get('/readyz') == b'ready\n'
    assert int(mariadb.query('SELECT COUNT(*) FROM segments')[0][0]) == server.json(f'/api/v1/videos/{video}')['segments']


def nats_from_one_worker(street, make_server, tmp_path, tidy):
    nats = matinee.Nats(tmp_path / 'near-nats', street.server_at)
    tidy.callback(nats.close)
    nats.start()
    server = make_server('--segment', '2', '--grace', '20', '--queue', nats.url, '--ladder', '240p', '--workers', '0')
    store = f'file:{server.data}/store'
    far = matinee.Worker(nats.url, store, tmp_path / 'far.log', inside=street.in_viewers_house)
    tidy.callback(far.stop)
    event = server.make_event()
    publisher = matinee.ffmpeg(*matinee.drawn(8, '1280x720', gop=60, realtime=False), event['url'])
    child = matinee.until(lambda: ladder.held_by(far.process), 30, 'the worker having a task')
    os.kill(child, signal.SIGSTOP)  # so that it still has it when nobody hears it any more
    try:
        street.black()
        near = matinee.Worker(nats.url, store, tmp_path / 'near.log')
        assert publisher.wait(60) == 0, publisher.stderr.read()
        server.end(event)
        video = server.video(event)
        ladder.published_once(server, video, ['240p'], swept=False)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGCONT)
    near.stop()
    made = ladder.published(server)
    second = ladder.show(server, 4, size='640x360')
    street.clear()  # only the one that was cut off is there to make it
    ladder.published_once(server, second, ['240p'])
    assert ladder.published(server) == made + len(ladder.listed(server, second, '240p')[0])
    ladder.published_once(server, video, ['240p'])
    assert server.metric('matinee_ladder_failures') == 0 and server.metric('matinee_ladder_gaps_total') == 0


@pytest.mark.alone
@pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
@scenarios(nats_from_one_worker, both_from_the_server, 1)
def test_engines_that_are_cut_off_are_noticed_waited_for_and_nothing_is_made_twice(scenario, street, make_server, tmp_path):
    with contextlib.ExitStack() as tidy:
        scenario(street, make_server, tmp_path, tidy)

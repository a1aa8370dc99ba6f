"""Comments when things break, on every store: kills in a flood, stores that go away, readers that come back, several servers."""
import json
import subprocess
import time

import comments
import matinee
import pytest
from comments import ids, path, post, window

STORES = ['sqlite', 'mariadb', 'redis']


class Store:
    """A place for comments, and the options that lead a server there."""

    def __init__(self, kind, engine=None):
        self.kind, self.engine = kind, engine
        self.options = {'sqlite': [], 'mariadb': ['--database', engine.url] if engine else [],
                        'redis': ['--comments', engine.url] if engine else []}[kind]


@pytest.fixture(scope='module')
def mariadb(tmp_path_factory):
    server = matinee.MariaDB(tmp_path_factory.mktemp('mariadb') / 'db')
    yield server.start()
    server.close()


@pytest.fixture
def redis(tmp_path):
    server = matinee.Redis(tmp_path / 'redis')
    yield server.start()
    server.close()


@pytest.fixture
def store(request):
    if request.param == 'sqlite':
        return Store('sqlite')
    engine = request.getfixturevalue(request.param)
    if request.param == 'mariadb':
        if engine.process.poll() is not None:
            engine.start()
        engine.run('DROP DATABASE matinee; CREATE DATABASE matinee')
    return Store(request.param, engine)


every_store = pytest.mark.parametrize('store', STORES, indirect=True)
away_store = pytest.mark.parametrize('store', STORES[1:], indirect=True)


@every_store
def test_all_calls_mean_the_same_on_every_store(make_server, store, tmp_path):
    server = make_server('--segment', '2', '--grace', '2', *store.options)
    event, video = comments.make_video(server, tmp_path)
    reader = comments.Reader(server, video).start()
    for n, offset in enumerate([20, 3, 3, 11.5, 0, 3]):
        assert post(server, video, f'p{n}', f'é 🎭 \\ "{n}"\n', offset=offset)[0] == 201
        assert post(server, video, f'p{n}', f'é 🎭 \\ "{n}"\n', offset=offset)[0] == 200
        assert post(server, video, f'p{n}', 'other', offset=offset)[0] == 409
    assert ids(server, video) == ids(server, video, '?limit=2') == ['p4', 'p1', 'p2', 'p5', 'p3', 'p0']
    assert ids(server, video, '?from=3&to=11.5') == ['p1', 'p2', 'p5']
    assert server.request('DELETE', path(video, '/p2'), admin=True)[0] == 204
    assert server.request('DELETE', path(video, '/p2'), admin=True)[0] == 204
    assert server.request('DELETE', path(video, '/nothing'), admin=True)[0] == 404
    assert post(server, video, 'p2', 'é 🎭 \\ "2"\n', offset=3)[0] == 409
    assert [c['id'] for c in window(server, video, 0)[2]['comments']] == ['p4', 'p1', 'p5']
    server.request('PATCH', f"/api/v1/events/{event['id']}/comments", {'links': 'hold'}, admin=True)
    for n in range(3):
        assert post(server, video, f'h{n}', 'https://x.example', offset=1)[1]['held']
    held = json.loads(server.request('GET', path(video, '?state=held&limit=2'), admin=True)[2])['items']
    assert [c['id'] for c in held] == ['h0', 'h1']
    assert server.request('POST', path(video, '/h1/approve'), admin=True)[0] == 200
    assert server.request('DELETE', path(video, '/h0'), admin=True)[0] == 204
    reader.wait_for('h1')
    reader.wait_for('h0', 'deleted')
    assert reader.seen() == ['p0', 'p1', 'p2', 'p3', 'p4', 'p5', 'h1'] and reader.seen('deleted') == ['p2', 'h0']
    numbers = [int(e['id']) for e in reader.events]
    assert numbers == sorted(set(numbers))
    out = subprocess.run([matinee.MATINEE, 'video', 'comments', video, '--export', '--server', server.http, '--token-file',
                          str(server.data / 'admin.token')], capture_output=True, timeout=60)
    lines = [json.loads(line) for line in out.stdout.splitlines()]
    assert {line['id']: line['state'] for line in lines} == {
        'p0': 'shown', 'p1': 'shown', 'p2': 'deleted', 'p3': 'shown', 'p4': 'shown', 'p5': 'shown', 'h0': 'deleted', 'h1': 'shown',
        'h2': 'held'}
    before = server.get(path(video)), window(server, video, 0)[1]['ETag']
    assert server.stop() == 0
    server.start()
    assert (server.get(path(video)), window(server, video, 0)[1]['ETag']) == before
    again = comments.Reader(server, video, last=reader.last()).start()
    assert post(server, video, 'after')[0] == 201
    again.wait_for('after')
    assert again.seen() == ['after']
    reader.close()
    again.close()


@every_store
def test_kill_9_in_a_flood_loses_no_201_and_doubles_none(make_server, store, tmp_path):
    server = make_server('--segment', '2', '--grace', '2', *store.options)
    _, video = comments.make_video(server, tmp_path)
    kept, asked = set(), set()
    for turn in range(3):
        flood = comments.Flood(server, video, clients=12, prefix=f't{turn}')
        matinee.until(lambda: flood.count() >= 300, 60, 'three hundred comments')
        server.kill()
        flood.end()
        kept |= flood.kept
        asked |= flood.asked
        server.start()
    found = ids(server, video)
    assert len(found) == len(set(found)), 'doubled'
    assert kept <= set(found), sorted(kept - set(found))[:5]
    assert set(found) <= asked, 'invented'
    # What was asked and not heard may be asked again: it is there once.
    caller = comments.Caller(server)
    for id in sorted(asked - kept):
        assert caller.post(video, id, f'number {id}') in (200, 201)
    caller.close()
    assert sorted(ids(server, video)) == sorted(asked)
    told = comments.Reader(server, video, last=0).start()
    newest = json.loads(server.get(path(video, '?limit=500')))['items']
    assert newest
    matinee.until(lambda: len(told.seen()) >= min(len(asked), 1000), 20, 'the feed from its beginning')
    assert len(told.seen()) == len(set(told.seen())) and set(told.seen()) <= asked
    told.close()


@every_store
def test_a_reader_that_loses_its_connection_sees_each_comment_once(make_server, store, tmp_path):
    server = make_server('--segment', '2', '--grace', '2', *store.options)
    _, video = comments.make_video(server, tmp_path)
    seen, last = [], None
    flood = comments.Flood(server, video, clients=4, again=True)
    for turn in range(6):
        reader = comments.Reader(server, video, last=last).start()
        matinee.until(lambda: len(reader.events) >= 40, 30, 'events')
        if turn % 2:
            server.kill()
            matinee.until(lambda: not reader.thread.is_alive(), 10, 'the feed ending')
        reader.close()
        seen += reader.events
        last = reader.last()
        if turn % 2:
            server.start()
    matinee.until(lambda: flood.count() >= 400, 60, 'comments')
    flood.end()
    rest = comments.Reader(server, video, last=last).start()
    head = int(server.request('GET', path(video, '?limit=1'))[1]['Matinee-Sequence'])
    matinee.until(lambda: int(rest.events[-1]['id'] if rest.events else last) >= head, 30, 'the rest')
    seen += rest.events
    rest.close()
    numbers = [int(e['id']) for e in seen]
    assert 'gap' not in [e['event'] for e in seen] and numbers == list(range(numbers[0], head + 1))
    told = [json.loads(e['data'])['id'] for e in seen]
    assert len(told) == len(set(told)) and flood.kept >= set(told)
    assert len(ids(server, video)) == head


@away_store
def test_a_store_that_is_restarted_in_mid_load_is_waited_out(make_server, store, tmp_path):
    server = make_server('--segment', '2', '--grace', '2', *store.options)
    _, video = comments.make_video(server, tmp_path)
    flood = comments.Flood(server, video, clients=8, again=True)
    for _ in range(2):
        have = flood.count()
        matinee.until(lambda: flood.count() >= have + 200, 60, 'comments')
        store.engine.kill()
        if store.kind == 'redis':  # the database is another one: other calls go on
            assert server.request('GET', '/api/v1/events', admin=True)[0] == 200
        status, headers, _ = server.request('POST', path(video), {'id': f'away-{have}', 'authorId': 'x', 'data': 'y'})
        assert status == 503 and int(headers['Retry-After']) >= 1
        store.engine.start()
        have = flood.count()
        matinee.until(lambda: flood.count() >= have + 200, 60, 'comments after the restart')
    flood.end()
    found = ids(server, video)
    assert len(found) == len(set(found)) and flood.kept <= set(found) and set(found) <= flood.asked | {f for f in found if f.startswith('away')}


@away_store
def test_what_one_server_takes_the_readers_of_another_see_once_and_in_order(make_server, store, nats, tmp_path):
    shared = ['--segment', '2', '--grace', '2', '--storage', f'file:{tmp_path}/objects', '--queue', nats.url]
    if store.kind == 'redis':  # videos are rows: both need the same database
        engine = matinee.MariaDB(tmp_path / 'rows').start()
        shared += ['--database', engine.url, *store.options]
    else:
        engine = None
        shared += store.options
    try:
        one = make_server(*shared, data='one')
        _, video = comments.make_video(one, tmp_path)
        two = make_server(*shared, data='two')
        reader = comments.Reader(two, video).start()
        here = comments.Reader(one, video).start()
        start = time.monotonic()
        for n in range(30):
            assert post((one, two)[n % 2], video, f'x{n}')[0] == 201
            assert post((two, one)[n % 2], video, f'x{n}')[0] == 200
        for r in (reader, here):
            r.wait_for('x29')
            assert r.seen() == [f'x{n}' for n in range(30)]
        window(two, video, 2)
        assert one.request('DELETE', path(video, '/x3'), admin=True)[0] == 204
        reader.wait_for('x3', 'deleted')
        matinee.until(lambda: 'x3' not in [c['id'] for c in window(two, video, 2)[2].get('comments', [{'id': 'x3'}])], 10, "the other's window")
        print(f'30 comments over two servers in {time.monotonic() - start:.2f} s')
        nats.kill()  # what is not told is found
        assert post(one, video, 'quiet')[0] == 201
        reader.wait_for('quiet', seconds=10)
        resumed = comments.Reader(two, video, last=here.events[9]['id']).start()
        resumed.wait_for('quiet')
        assert resumed.seen() == [f'x{n}' for n in range(10, 30)] + ['quiet']
        for r in (reader, here, resumed):
            r.close()
    finally:
        if engine:
            one.stop()
            two.stop()
            engine.close()


# --- readers -----------------------------------------------------------------------------------------------


def test_one_who_returns_after_too_long_is_told_of_the_gap_first(server, tmp_path):
    _, video = comments.make_video(server, tmp_path)
    flood = comments.Flood(server, video, clients=8)
    matinee.until(lambda: flood.count() >= 2600, 60, 'comments')
    flood.end()
    head = int(server.request('GET', path(video, '?limit=1'))[1]['Matinee-Sequence'])
    reader = comments.Reader(server, video, last=5).start()
    matinee.until(lambda: reader.events and int(reader.last()) == head, 20, 'the newest')
    assert reader.events[0]['event'] == 'gap' and {e['event'] for e in reader.events[1:]} == {'comment'}
    assert [int(e['id']) for e in reader.events[1:]] == list(range(head - len(reader.events) + 2, head + 1))
    assert len(reader.events) > 1000
    reader.close()
    within = comments.Reader(server, video, last=head - 1500).start()
    matinee.until(lambda: len(within.events) == 1500, 20, 'fifteen hundred')
    assert [int(e['id']) for e in within.events] == list(range(head - 1499, head + 1))
    within.close()
    strange = comments.Reader(server, video, last=head + 1000).start()
    assert post(server, video, 'next')[0] == 201
    strange.wait_for('next')
    assert [e['event'] for e in strange.events] == ['gap', 'comment']
    strange.close()


def test_a_slow_reader_is_dropped_to_the_newest_and_told_so(server, tmp_path):
    _, video = comments.make_video(server, tmp_path)
    slow = comments.Reader(server, video, receive_buffer=4096)
    quick = comments.Reader(server, video).start()
    caller = comments.Caller(server)
    big = '🎭' * 2000
    for n in range(1500):
        assert caller.post(video, f'b{n}', big) == 201
    quick.wait_for('b1499')
    assert quick.seen() == [f'b{n}' for n in range(1500)]
    slow.start()
    slow.wait_for('b1499', seconds=30)
    seen = slow.seen()
    kinds = [e['event'] for e in slow.events]
    assert 'gap' in kinds and len(seen) == len(set(seen)) and len(seen) < 1500
    numbers = [int(e['id']) for e in slow.events if e['event'] == 'comment']
    assert numbers == sorted(numbers)
    last_gap = len(kinds) - 1 - kinds[::-1].index('gap')
    assert seen[-len(kinds[last_gap + 1:]):] == [f'b{n}' for n in range(1500 - len(kinds[last_gap + 1:]), 1500)]
    slow.close()
    quick.close()
    caller.close()


@pytest.mark.long
def test_a_silent_feed_is_kept_awake(server, tmp_path):
    _, video = comments.make_video(server, tmp_path)
    reader = comments.Reader(server, video).start()
    matinee.until(lambda: reader.comments_only >= 1, 20, 'a heartbeat')
    assert reader.events == []
    reader.close()


# --- Redis -------------------------------------------------------------------------------------------------


def test_a_redis_that_would_lose_what_it_answered_is_refused(tmp_path):
    engine = matinee.Redis(tmp_path / 'redis', appendfsync='everysec').start()

    def serve():
        process = subprocess.Popen([matinee.MATINEE, 'serve', '--data', str(tmp_path / 'data'), '--http', '127.0.0.1:0', '--rtmp',
                                    '127.0.0.1:0', '--comments', engine.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            return process.wait(20), process.stderr.read().decode()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    try:
        for name, good, bad in (('appendfsync', 'always', 'everysec'), ('appendonly', 'yes', 'no'),
                                ('maxmemory-policy', 'noeviction', 'allkeys-lru'), ('no-appendfsync-on-rewrite', 'no', 'yes')):
            assert engine.run('CONFIG', 'SET', name, bad) == 'OK'
            status, said = serve()
            assert status == 1 and f'CONFIG SET {name} {good}' in said, said
            assert engine.run('CONFIG', 'SET', name, good) == 'OK'
        server = matinee.Server(tmp_path / 'data', '--comments', engine.url).start()
        assert server.stop() == 0
        for url in ('redis://', 'redis://127.0.0.1:x', 'http://x', f'redis://127.0.0.1:{engine.port}/x'):
            done = subprocess.run([matinee.MATINEE, 'serve', '--data', str(tmp_path / 'data'), '--comments', url], capture_output=True,
                                  timeout=20)
            assert done.returncode == 1 and b'--comments' in done.stderr, (url, done.stderr)
        engine.run('CONFIG', 'SET', 'requirepass', 's@cret')
        status, said = serve()
        assert status == 1 and '--comments' in said
        secret = engine.url.replace('redis://', 'redis://:s%40cret@')
        server = matinee.Server(tmp_path / 'data', '--comments', secret).start()
        assert server.stop() == 0 and 's@cret' not in server.said() and 's%40cret' not in server.said()
        server.close()
    finally:
        engine.close()

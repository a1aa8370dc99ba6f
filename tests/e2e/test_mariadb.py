"""The whole server over MariaDB: the stage works as over SQLite, and a database that goes away is waited out."""
import concurrent.futures
import json
import subprocess

import matinee
import pytest


@pytest.fixture(scope='module')
def database(tmp_path_factory):
    server = matinee.MariaDB(tmp_path_factory.mktemp('mariadb') / 'db')
    server.start()
    yield server
    server.close()


@pytest.fixture
def fresh(database):
    """An empty database in it."""
    database.run('DROP DATABASE matinee; CREATE DATABASE matinee')
    return database


def has_segments(server, video, count):
    return lambda: server.json(f'/api/v1/videos/{video}')['segments'] >= count


def test_an_event_is_made_goes_live_and_plays_after_a_restart(make_server, fresh, tmp_path):
    server = make_server('--segment', '2', '--grace', '2', '--database', fresh.url)
    event = server.make_event('Ümlaut 🎭 \\ \'quoted\'')
    clip = matinee.clip(tmp_path / 'clip.mp4', 12)
    assert matinee.publish(clip, event['url'], '--speed', 'max').wait(60) == 0
    server.end(event)
    video = server.video(event)
    before = server.json(f'/api/v1/videos/{video}')
    packets = matinee.packets(f'{server.http}/v/{video}/master.m3u8', 'v')
    assert before['segments'] >= 5 and len(packets) == 360
    assert not (server.data / 'matinee.db').exists()

    assert server.stop() == 0
    server.start()
    assert server.json(f'/api/v1/videos/{video}') == before
    assert server.event(event)['title'] == 'Ümlaut 🎭 \\ \'quoted\''
    assert matinee.packets(f'{server.http}/v/{video}/master.m3u8', 'v') == packets
    assert 's@cret' not in server.said() and 's%40cret' not in server.said()


def test_renditions_are_made_over_it(make_server, fresh, tmp_path):
    server = make_server('--segment', '2', '--grace', '2', '--database', fresh.url, '--ladder', '240p')
    event = server.make_event()
    clip = matinee.clip(tmp_path / 'clip.mp4', 8, size='640x360')
    assert matinee.publish(clip, event['url'], '--speed', 'max').wait(60) == 0
    server.end(event)
    video = server.video(event)

    def made():
        return fresh.query("SELECT COUNT(*) FROM rendition_segments WHERE bytes > 0")[0][0] not in ('0', '1', '2', '3') \
            and fresh.query('SELECT laddered FROM videos')[0][0] == '1'

    matinee.until(made, 60, 'the rendition')
    playlist = server.get(f'/v/{video}/master.m3u8')
    server.kill()
    server.start()
    assert server.get(f'/v/{video}/master.m3u8') == playlist and b'240p' in playlist


def test_kill_9_of_the_database_in_mid_show_is_waited_out(make_server, fresh, tmp_path):
    server = make_server('--segment', '2', '--grace', '20', '--database', fresh.url)
    event = server.make_event()
    record = tmp_path / 'record'
    clip = matinee.clip(tmp_path / 'clip.mp4', 24)
    publisher = matinee.publish(clip, event['url'], '--speed', '2', '--record', record)
    video = matinee.until(lambda: server.video(event), what='a video')
    matinee.until(has_segments(server, video, 2), what='two segments')
    fresh.kill()

    # The show goes on from memory, for the publisher and for those who watch.
    seen = server.json(f'/api/v1/videos/{video}')['segments']
    matinee.until(has_segments(server, video, seen + 2), 20, 'segments while the database is away')
    status, _, body = server.request('POST', '/api/v1/events', {'title': 'Not now'}, admin=True)
    assert status in (500, 503), (status, body)
    acknowledged = matinee.read_record(record)[1]
    matinee.until(lambda: matinee.read_record(record)[1] > acknowledged, 20, 'acknowledgements while it is away')

    fresh.start()
    assert publisher.wait(60) == 0
    server.end(event)
    count = server.json(f'/api/v1/videos/{video}')['segments']
    assert int(fresh.query('SELECT COUNT(*) FROM segments')[0][0]) == count >= 11
    assert server.make_event('Now')

    # And what was acknowledged is there for a server that knows nothing but the database.
    server.kill()
    server.start()
    assert server.json(f'/api/v1/videos/{video}')['segments'] == count
    stored = iter([md5 for _, _, md5 in matinee.packets(f'{server.http}/v/{video}/master.m3u8', 'v')])
    sent = [md5 for kind, _, _, md5, _ in matinee.read_record(record)[0] if kind == 'video' and md5 != '-']
    assert len(sent) > 600 and all(any(found == md5 for found in stored) for md5 in sent)


def test_a_server_comes_back_after_both_have_died(make_server, fresh, tmp_path):
    server = make_server('--segment', '2', '--grace', '20', '--database', fresh.url)
    event = server.make_event()
    record = tmp_path / 'record'
    clip = matinee.clip(tmp_path / 'clip.mp4', 30)
    publisher = matinee.publish(clip, event['url'], '--speed', '2', '--record', record)
    video = matinee.until(lambda: server.video(event), what='a video')
    matinee.until(has_segments(server, video, 2), what='two segments')
    fresh.kill()
    seen = server.json(f'/api/v1/videos/{video}')['segments']
    matinee.until(has_segments(server, video, seen + 1), 20, 'a segment while the database is away')
    server.kill()
    publisher.wait(20)
    fresh.start()
    server.start()
    server.end(event)
    sent, acknowledged = matinee.read_record(record)
    stored = iter([md5 for _, _, md5 in matinee.packets(f'{server.http}/v/{video}/master.m3u8', 'v')])
    assert all(any(found == md5 for found in stored)
               for kind, _, _, md5, end in sent if kind == 'video' and md5 != '-' and end <= acknowledged)


def test_servers_that_start_at_once_share_an_empty_database(make_server, fresh):
    servers = [make_server('--database', fresh.url, data=f'data{i}', start=False) for i in range(3)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda server: server.start(), servers))
    made = [server.make_event(f'of {i}')['id'] for i, server in enumerate(servers)]
    assert sorted(row[0] for row in fresh.query('SELECT id FROM events')) == sorted(made)
    for server in servers:
        assert server.stop() == 0
    servers[0].start()
    assert sorted(e['id'] for e in servers[0].json('/api/v1/events')['items']) == sorted(made)


def test_a_database_that_is_not_there_is_one_clear_line(fresh, tmp_path):
    def said(url):
        done = subprocess.run([matinee.MATINEE, 'serve', '--data', str(tmp_path / 'data'), '--http', '127.0.0.1:0', '--rtmp',
                               '127.0.0.1:0', '--database', url], capture_output=True, timeout=30, text=True)
        assert done.returncode == 1 and done.stderr.count('\n') == 1, done.stderr
        assert 's@cret' not in done.stderr and 's%40cret' not in done.stderr
        return done.stderr

    assert 'is it running' in said('mysql://matinee:s%40cret@127.0.0.1:1/matinee')
    assert 'GRANT ALL' in said(fresh.url.replace('s%40cret', 's%40cret2'))
    assert 'mysql://USER' in said(fresh.url.replace('/matinee', ''))


def test_a_database_that_may_lose_commits_is_warned_of(make_server, fresh):
    fresh.run('SET GLOBAL innodb_flush_log_at_trx_commit = 2')
    try:
        server = make_server('--database', fresh.url)
        assert 'innodb_flush_log_at_trx_commit = 2' in server.said()
    finally:
        fresh.run('SET GLOBAL innodb_flush_log_at_trx_commit = 1')


def test_the_list_of_who_has_booked_is_narrowed_and_paged_over_it(make_server, fresh):
    server = make_server('--database', fresh.url)
    inventory = server.make_event(access='ticket', inventory={'name': 'x', 'pool': 9})['inventory']
    path = f'/api/v1/inventories/{inventory}/reservations'
    for name in ('Ada', 'Käthe', '50% _ off'):
        assert server.request('POST', path, {'customer': name, 'quantity': 1}, headers={'Idempotency-Key': name.encode().hex()})[0] == 201

    def listed(query):
        status, headers, body = server.request('GET', path + query, admin=True)
        assert status == 200, body
        return sorted(r['customer'] for r in json.loads(body)['items']), headers['Link']

    assert listed('') == (['50% _ off', 'Ada', 'Käthe'], None)
    assert listed('?customer=aDA')[0] == ['Ada'] and listed('?customer=k%C3%A4')[0] == ['Käthe'] and listed('?customer=%25a')[0] == []
    assert listed('?state=held')[0] == ['50% _ off', 'Ada', 'Käthe'] and listed('?state=confirmed')[0] == []
    first, link = listed('?limit=2')
    assert sorted(first + listed('?' + link.split('?')[1].split('>')[0])[0]) == ['50% _ off', 'Ada', 'Käthe']

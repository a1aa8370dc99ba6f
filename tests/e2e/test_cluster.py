"""Several servers over one MariaDB and one store: what one makes the others know, what is live on one all of them show, and what
happens to all that when one of them goes."""
import concurrent.futures
import json
import pathlib
import re
import subprocess
import urllib.request

import ladder
import matinee
import pytest
from low_latency import Fetch, check_dash, check_hls
from test_webrtc import Viewer, play


@pytest.fixture(scope='module')
def mariadb(tmp_path_factory):
    server = matinee.MariaDB(tmp_path_factory.mktemp('mariadb') / 'db')
    yield server.start()
    server.close()


@pytest.fixture
def house(make_server, mariadb, tmp_path):
    """Makes servers of one house."""
    mariadb.run('DROP DATABASE matinee; CREATE DATABASE matinee')

    def make(name, *options, **more):
        return make_server('--database', mariadb.url, '--storage', f'file:{tmp_path}/store', '--segment', '2', '--grace', '2',
                           *options, data=name, **more)
    return make


def knows(server, event):
    return matinee.until(lambda: server.request('GET', f"/api/v1/events/{event['id']}")[0] == 200, 10, 'the event elsewhere')


def video_on(server, event):
    """The event's video as this server tells it."""
    knows(server, event)
    return matinee.until(lambda: server.video(event), 10, 'the video elsewhere')


def test_what_one_server_changes_the_others_know(house):
    a, b = house('a'), house('b')
    event = a.make_event('Made on A')
    knows(b, event)
    assert b.request('PATCH', f"/api/v1/events/{event['id']}", {'title': 'Changed on B'}, admin=True)[0] == 200
    matinee.until(lambda: a.event(event)['title'] == 'Changed on B', 10, 'the new title on A')
    # Each changed another field: neither brings back what it did not see.
    assert a.request('PATCH', f"/api/v1/events/{event['id']}", {'access': 'ticket'}, admin=True)[0] == 200
    assert b.request('PATCH', f"/api/v1/events/{event['id']}", {'title': 'Again on B'}, admin=True)[0] == 200
    for server in a, b:
        matinee.until(lambda: (server.event(event)['title'], server.event(event)['access']) == ('Again on B', 'ticket'), 10, 'both changes')
    assert b.request('DELETE', f"/api/v1/events/{event['id']}", admin=True)[0] == 204
    matinee.until(lambda: a.request('GET', f"/api/v1/events/{event['id']}")[0] == 404, 10, 'the deletion on A')


def test_a_show_is_seen_on_every_server_and_asked_for_once(house):
    a, b = house('a'), house('b')
    event = a.make_event()
    publisher = matinee.publish('demo', event['url'], '--size', '320x180')
    try:
        video = video_on(b, event)
        assert b.event(event)['state'] == 'live'
        path = f'/v/{video}'
        matinee.until(lambda: b.json(f'/api/v1/videos/{video}')['segments'] >= 2, 20, 'two segments by way of B')
        of_a = a.get(f'{path}/source/init-0.mp4')
        assert b.get(f'{path}/source/init-0.mp4') == of_a
        # A hundred viewers who ask B for the same URLs are to A as one.
        before = b.metric('matinee_relay_fetches_total')
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            segments = list(pool.map(lambda _: b.get(f'{path}/source/000001.m4s'), range(100)))
        assert set(segments) == {a.get(f'{path}/source/000001.m4s')}
        assert b.metric('matinee_relay_fetches_total') - before == 1
        # Ranges and conditions are of HTTP, whoever has the bytes.
        status, headers, part = b.request('GET', f'{path}/source/000001.m4s', headers={'Range': 'bytes=10-19'})
        assert (status, part) == (206, segments[0][10:20]) and 'immutable' in headers['Cache-Control']
        assert b.request('GET', f'{path}/source/000001.m4s', headers={'If-None-Match': headers['ETag']})[0] == 304
        status, headers, body = b.request('HEAD', f'{path}/source/000001.m4s')
        assert (status, body, int(headers['Content-Length'])) == (200, b'', len(segments[0]))
        assert b.request('GET', f'{path}/source/999999.m4s')[0] == a.request('GET', f'{path}/source/999999.m4s')[0] == 404
        # The plain call names the server that was asked.
        for server in a, b:
            status, _, body = server.request('GET', f'/api/v1/videos/{video}/data?device=phone&offset=0')
            assert status == 200, body
    finally:
        matinee.end_process(publisher)


@pytest.mark.long
def test_low_latency_by_way_of_another_server_keeps_every_rule(house):
    a, b = house('a'), house('b')
    event = a.make_event()
    assert matinee.publish('demo', event['url'], '--size', '320x180', '--duration', 44, '--speed', 'max').wait(60) == 0
    publisher = matinee.publish('demo', event['url'], '--size', '320x180')
    try:
        video = video_on(b, event)
        matinee.until(lambda: b.json(f'/api/v1/videos/{video}')['segments'] >= 24, what='the second publisher')
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            found = [pool.submit(check, lambda: Fetch(f'{b.http}/v/{video}'), 10) for check in (check_hls, check_dash)]
        for verdicts in (f.result() for f in found):
            print(verdicts)
            assert verdicts.failures() == {}
    finally:
        matinee.end_process(publisher)


def test_webrtc_is_offered_by_every_server_and_comes_from_the_one_that_has_it(house):
    a, b = house('a'), house('b')
    event = a.make_event()
    publisher = matinee.publish('demo', event['url'], '--size', '320x180', '--zerolatency')
    try:
        video = video_on(b, event)

        async def scenario():
            viewer = await Viewer().watch(b, f'/v/{video}/whep')
            await viewer.until(lambda: viewer.frames['video'] > 30 and viewer.frames['audio'] > 30, 'picture and sound')
            assert a.metric('matinee_webrtc_sessions') == 1 and b.metric('matinee_webrtc_sessions') == 0
            assert b.request('DELETE', viewer.session)[0] == 204
            matinee.until(lambda: a.metric('matinee_webrtc_sessions') == 0, what='its end')
            await viewer.close()

        play(scenario)
    finally:
        matinee.end_process(publisher)


def test_a_key_that_is_used_elsewhere_is_refused_and_who_ends_the_event_may_be_anywhere(house):
    a, b = house('a'), house('b')
    event = a.make_event()
    publisher = matinee.publish('demo', event['url'], '--size', '320x180')
    try:
        video = video_on(b, event)
        other = matinee.publish('demo', f"{b.rtmp}/{event['streamKey']}", '--size', '320x180', '--duration', 4)
        assert other.wait(30) != 0
        assert b.event(event)['video'] == video
        assert b.request('POST', f"/api/v1/events/{event['id']}/end", admin=True)[0] == 200
        assert publisher.wait(20) != 0
        for server in a, b:
            matinee.until(lambda: server.event(event)['state'] == 'ended', 20, 'the end on both')
    finally:
        matinee.end_process(publisher)


@pytest.mark.long
def test_when_a_server_dies_what_is_stored_plays_elsewhere_and_nothing_is_lost_when_it_returns(house):
    a, b = house('a'), house('b')
    event = a.make_event()
    publisher = matinee.publish('demo', event['url'], '--size', '320x180')
    video = video_on(b, event)
    matinee.until(lambda: b.json(f'/api/v1/videos/{video}')['segments'] >= 3, 20, 'three segments')
    listed = a.json(f'/api/v1/videos/{video}')['segments']
    a.kill()
    publisher.wait(30)
    # Until its silence is noticed nobody is told a lie: 503, to be asked again.
    matinee.until(lambda: b.request('GET', f'/v/{video}/master.m3u8')[0] == 200, 30, 'the recording by B alone')
    stored = b.json(f'/api/v1/videos/{video}')['segments']
    assert stored >= listed - 1
    assert len(b.get(f'/v/{video}/source/000001.m4s')) > 1000
    # The show goes on: the publisher takes the other server, and a new video begins.
    second = matinee.publish('demo', f"{b.rtmp}/{event['streamKey']}", '--size', '320x180')
    try:
        matinee.until(lambda: b.video(event) != video, 30, 'a new video')
        a.start()
        matinee.until(lambda: a.video(event) == b.video(event) != video, 20, 'the new video on A')
        # What A had acknowledged it stores, and ends its video.
        matinee.until(lambda: a.json(f'/api/v1/videos/{video}')['state'] == 'ended', 20, 'the old one ended')
        matinee.until(lambda: b.json(f'/api/v1/videos/{video}')['state'] == 'ended', 20, 'which B hears of')
        both = [json.loads(s.get(f'/api/v1/videos/{video}')) for s in (a, b)]
        assert both[0]['segments'] == both[1]['segments'] >= stored
        assert a.get(f'/v/{video}/source/playlist.m3u8') == b.get(f'/v/{video}/source/playlist.m3u8')
    finally:
        matinee.end_process(second)


@pytest.mark.long
def test_a_show_whose_server_never_returns_can_be_ended_and_deleted_and_one_that_does_adds_what_it_has(house):
    a, b = house('a'), house('b')
    shows = []
    for n in range(2):
        event = a.make_event(f'Orphan {n}')
        publisher = matinee.publish('demo', event['url'], '--size', '320x180')
        shows.append((event, video_on(b, event), publisher))
    for _, video, _ in shows:
        matinee.until(lambda: b.json(f'/api/v1/videos/{video}')['segments'] >= 2, 20, 'two segments')
    a.kill()
    for event, video, publisher in shows:
        publisher.wait(30)
        matinee.until(lambda: b.request('GET', f'/v/{video}/master.m3u8')[0] == 200, 30, 'the silence of A')
        assert b.request('POST', f"/api/v1/events/{event['id']}/end", admin=True)[0] == 200
        matinee.until(lambda: b.json(f'/api/v1/videos/{video}')['state'] == 'ended', 10, 'its end')
    (gone, gone_video, _), (event, video, _) = shows
    stored = b.json(f'/api/v1/videos/{video}')['segments']
    assert b.request('DELETE', f"/api/v1/events/{gone['id']}", admin=True)[0] == 204
    assert b.request('GET', f'/v/{gone_video}/source/000001.m4s')[0] == 404
    a.start()
    for server in a, b:
        matinee.until(lambda: server.json(f'/api/v1/videos/{video}')['segments'] >= stored, 20, 'the recording')
        assert server.json(f'/api/v1/videos/{video}')['state'] == 'ended'
        assert server.request('GET', f"/api/v1/events/{gone['id']}")[0] == 404
        assert server.request('GET', f'/v/{gone_video}/master.m3u8')[0] == 404


def test_tickets_are_looked_at_by_the_server_that_is_asked(house, tmp_path):
    one = '--admin-token-file', tmp_path / 'house.token', '--edge-key', 'key-of-the-edge'
    a, b, alone = house('a', *one), house('b', *one), house('alone')
    assert a.token == b.token != alone.token
    event = a.make_event('Closed', access='ticket')
    publisher = matinee.publish('demo', event['url'], '--size', '320x180')
    try:
        video = video_on(b, event)
        matinee.until(lambda: a.request('GET', f'/v/{video}/low.m3u8', admin=True)[0] == 200, 20, 'the show on A')
        for path in f'/v/{video}/low.m3u8', f'/v/{video}/source/init-0.mp4', f'/api/v1/videos/{video}/data?device=phone&offset=0':
            assert b.request('GET', path)[0] == 401, path
            assert b.request('GET', path, headers={'Authorization': 'Bearer e30.e30.e30'})[0] in (401, 403), path
            # The admin of both is the admin on both; one whose token is of one server only is a stranger where the show is.
            assert b.request('GET', path, admin=True)[0] == 200, path
            video_on(alone, event)
            assert alone.request('GET', path, admin=True)[0] == 401, path
        # An edge may keep what B has of A, and nobody else.
        for path, most in (f'/v/{video}/low.m3u8', 'max-age=1'), (f'/v/{video}/source/init-0.mp4', 'max-age=31536000, immutable'):
            for server in a, b:
                edge = server.request('GET', path, headers={'Matinee-Edge': 'key-of-the-edge'}, admin=True)[1]['Cache-Control']
                assert edge.startswith(f'public, {most}'), edge
                assert server.request('GET', path, admin=True)[1]['Cache-Control'] == f'private, {most}'
    finally:
        matinee.end_process(publisher)


@pytest.mark.long
def test_one_queue_and_one_worker_make_the_ladders_of_every_server(house, nats, tmp_path):
    options = '--queue', nats.url, '--ladder', '240p', '--workers', '0'
    servers = house('a', *options), house('b', *options)
    shows = [(s, s.make_event()) for s in servers]
    publishers = [matinee.ffmpeg(*matinee.drawn(14, size='426x320', gop=30), event['url']) for _, event in shows]
    worker = matinee.Worker(nats.url, f'file:{tmp_path}/store', tmp_path / 'worker.log')
    try:
        for server, _ in shows:
            matinee.until(lambda: ladder.published(server) > 1, 60, 'renditions of each')
        videos = [server.video(event) for server, event in shows]
        # One dies in the middle: its results wait for it, and are nobody else's.
        servers[1].kill()
        publishers[1].wait(30)
        assert publishers[0].wait(60) == 0, publishers[0].stderr.read()
        servers[0].end(shows[0][1])
        ladder.published_once(servers[0], videos[0], ['240p'], swept=False)
        servers[1].start()
        servers[1].end(shows[1][1])
        ladder.published_once(servers[1], videos[1], ['240p'], swept=False)
    finally:
        assert worker.stop() == 0
    for n in 0, 1:
        assert len(ladder.listed(servers[1 - n], videos[n], '240p')[0]) == len(ladder.listed(servers[n], videos[n], '240p')[0]) > 2
        assert servers[n].metric('matinee_ladder_gaps_total') == 0


def test_an_advertised_address_that_is_none_is_refused(tmp_path):
    for bad in 'ftp://x', 'http://', 'http://x/path', 'x:80':
        with pytest.raises(AssertionError, match='advertise'):
            matinee.Server(tmp_path / 'bad', '--advertise', bad).start()


@pytest.mark.long
@pytest.mark.alone
def test_make_cluster_shows_a_page_on_the_server_that_does_not_have_the_show(tmp_path):
    log = open(tmp_path / 'cluster.log', 'w+b')
    cluster = subprocess.Popen([matinee.ROOT / 'tools' / 'cluster'], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def said():
        return pathlib.Path(log.name).read_text()

    try:
        matinee.until(lambda: 'Ctrl-C' in said() or cluster.poll() is not None, 120, 'the page to open')
        page = re.search(r'The demo is live\.\s+(http://[^/]+)/watch/(\w+)', said())
        assert page, said()[-2000:]
        with urllib.request.urlopen(f'{page[1]}/api/v1/events/{page[2]}', timeout=10) as answer:
            video = json.load(answer)['video']

        def made():
            with urllib.request.urlopen(f'{page[1]}/api/v1/videos/{video}', timeout=10) as answer:
                return [r for r in json.load(answer)['renditions'] if r['name'].endswith('0p') and r['bandwidth'] > 0]

        matinee.until(made, 90, 'a rendition that the workers made')
        with urllib.request.urlopen(f'{page[1]}/v/{video}/low.m3u8', timeout=10) as answer:
            assert b'EXTM3U' in answer.read()
    finally:
        cluster.terminate()
        assert cluster.wait(120) == 0, said()[-2000:]
    assert 'nothing is left running' in said()

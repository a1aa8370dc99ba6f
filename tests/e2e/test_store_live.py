"""A show over a store that comes and goes: it is recorded and watched all the same, and in the end everything is in the store, once."""
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import socket
import subprocess
import time

import matinee
import pytest
import s3_bad
from test_crash import lost_frames

pytestmark = pytest.mark.long


@pytest.fixture
def bad():
    server = s3_bad.BadS3()
    yield server
    server.close()


def spool(server):
    status, _, body = server.request('GET', '/api/v1/spool', admin=True)
    assert status == 200, body
    return json.loads(body)


def listed(server, video):
    text = server.get(f'/v/{video}/master.m3u8').decode()
    names = []
    for media in re.findall(r'^[^#\s]+\.m3u8|URI="([^"]+\.m3u8)"', text, re.M) + re.findall(r'^([^#\s]+\.m3u8)', text, re.M):
        if media:
            base = media.rsplit('/', 1)[0] + '/' if '/' in media else ''
            playlist = server.get(f'/v/{video}/{media}').decode()
            names += [f'/v/{video}/{base}{name}' for name in re.findall(r'^([^#\s]+\.m4s)', playlist, re.M)]
    return sorted(set(names))


def not_stored(bad, names):
    """Those that the store does not have. The last segment of a crash is another object under its number."""
    keys = [name.replace('/v/', 'shows/v/') for name in names]
    return [key for key in keys if key not in bad.objects and key.replace('.m4s', '-r.m4s') not in bad.objects]


def everything_is_stored(server):
    matinee.until(lambda: spool(server)['segments'] == 0, 60, 'all being stored')
    assert spool(server)['verdict'] == 'good'


OUTAGES = {'errors': lambda m, k, n: 'error500', 'throttled': lambda m, k, n: 'slow_down', 'early close': lambda m, k, n: 'close_early',
           'lies': lambda m, k, n: 'lose' if m == 'PUT' else 'corrupt', 'hangs': lambda m, k, n: 'hang'}


@pytest.mark.parametrize('outage', OUTAGES)
def test_a_store_that_is_away_twice_loses_nothing_and_stops_nobody(make_server, bad, tmp_path, outage):
    server = make_server('--segment', '1', '--grace', '60', '--storage', bad.url(), environment=bad.environment)
    event = server.make_event()
    record = tmp_path / 'record'
    clip = matinee.clip(tmp_path / 'clip.mp4', 14)
    publisher = matinee.publish(clip, event['url'], '--speed', '1', '--record', record)
    video = matinee.until(lambda: server.video(event), what='a video')
    for _ in range(2):
        stored = server.metric('matinee_segments_stored_total')
        matinee.until(lambda: server.metric('matinee_segments_stored_total') > stored, 20, 'a segment in the store')
        bad.fault = OUTAGES[outage]
        away = server.json(f'/api/v1/videos/{video}')['segments']
        matinee.until(lambda: server.json(f'/api/v1/videos/{video}')['segments'] >= away + 3, 20, 'the show going on')
        for name in listed(server, video)[-6:]:
            status, _, body = server.request('GET', name)
            assert status == 200 and body, f'{name} is listed and cannot be read'
        assert server.request('GET', '/readyz')[0] == 200
        bad.fault = None
    assert publisher.wait(40) == 0
    everything_is_stored(server)
    names = listed(server, video)
    assert len(names) >= 20
    assert not not_stored(bad, names)
    lost, acknowledged = lost_frames(server, event, record)
    assert acknowledged > 0 and not lost, lost[:3]


def test_a_crash_while_the_store_is_away_loses_nothing_either(make_server, bad, tmp_path):
    server = make_server('--segment', '1', '--grace', '60', '--storage', bad.url(), environment=bad.environment)
    event = server.make_event()
    record = tmp_path / 'record'
    publisher = matinee.publish(matinee.clip(tmp_path / 'clip.mp4', 20), event['url'], '--speed', '2', '--record', record)
    matinee.until(lambda: server.metric('matinee_segments_stored_total') >= 2, 20, 'segments in the store')
    bad.fault = OUTAGES['errors']
    matinee.until(lambda: spool(server)['segments'] >= 4, 20, 'segments that wait')
    matinee.until(lambda: spool(server)['verdict'] == 'away', 20, 'the store being known to be away')
    server.kill()
    publisher.wait(20)
    bad.fault = None
    server.start()
    everything_is_stored(server)
    lost, acknowledged = lost_frames(server, event, record)
    assert acknowledged > 0 and not lost, lost[:3]
    names = listed(server, server.video(event))
    assert names and not not_stored(bad, names)


def test_a_server_starts_without_its_store_and_goes_on_when_it_comes(make_server, bad, tmp_path):
    """Two crashes while the store is away: what each has cut is listed under one number, and is stored once."""
    server = make_server('--segment', '1', '--grace', '60', '--storage', bad.url(), environment=bad.environment)
    event = server.make_event()
    clips = [matinee.clip(tmp_path / f'clip-{i}.mp4', 60, more=('-vf', f'hue=h={i * 60}')) for i in range(3)]
    records, known, video = [], [], None
    for round in range(3):
        records.append(tmp_path / f'record-{round}')
        publisher = matinee.publish(clips[round], f"{server.rtmp}/{event['streamKey']}", '--speed', '2', '--record', records[-1])
        video = matinee.until(lambda: server.video(event), what='a video')
        if round == 0:
            matinee.until(lambda: server.metric('matinee_segments_stored_total') >= 2, 20, 'segments in the store')
            bad.fault = OUTAGES['errors']
        count = spool(server)['segments']
        matinee.until(lambda: spool(server)['segments'] >= count + 3, 20, 'segments that wait')
        server.kill()
        assert publisher.wait(30) is not None
        begun = time.monotonic()
        server.start()
        assert time.monotonic() - begun < 15
        assert 'it is waited for' in server.said()
        assert spool(server)['verdict'] == 'away' and spool(server)['segments'] >= count + 3
        assert b'store away' in server.get('/readyz')
        now = listed(server, video)
        assert set(known) <= set(now), 'what was listed is listed, under the same names'
        known = now
        waiting = not_stored(bad, known)
        assert len(waiting) >= 2 * (count + 3)
        for key in waiting:
            assert server.request('GET', key.replace('shows/', '/'))[0] == 200, f'{key} waits for the store and cannot be read'
    bad.fault = None
    everything_is_stored(server)
    assert server.request('GET', '/readyz')[2] == b'ready\n'
    names = listed(server, video)
    assert names == known and not not_stored(bad, names)
    server.end(event)  # of a live playlist ffmpeg reads the end only
    sent, acknowledged = matinee.frames_of(*records)
    there = collections.Counter(md5 for stream in 'va' for _, _, md5 in matinee.packets(f'{server.http}/v/{video}/master.m3u8', stream))
    assert acknowledged and not acknowledged - there, 'an acknowledged frame is lost'
    assert not there - sent, 'a frame is there more often than it was sent'
    matinee.until(lambda: sum(f.stat().st_size for f in (server.data / 'journal').iterdir()) <= 5 * 64 << 20, 10, 'the journal being let go')


def test_a_store_that_was_never_there_is_waited_for(make_server, tmp_path):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    server = make_server('--segment', '1', '--grace', '1', '--storage', f's3://{s3_bad.BUCKET}/shows?endpoint=http://127.0.0.1:{port}',
                         environment=s3_bad.BadS3.environment)
    event = server.make_event()
    assert matinee.publish(matinee.clip(tmp_path / 'clip.mp4', 4), event['url'], '--speed', 'max').wait(40) == 0
    video = matinee.until(lambda: server.video(event), what='a video')
    names = matinee.until(lambda: listed(server, video), what='segments')
    assert all(server.request('GET', name)[0] == 200 for name in names)
    store = s3_bad.BadS3(port)
    try:
        everything_is_stored(server)
        assert not not_stored(store, names)
    finally:
        store.close()


@pytest.mark.parametrize('wrong', ['key', 'bucket', 'name', 'rights'])
def test_what_waiting_does_not_mend_is_said_at_once(bad, tmp_path, wrong):
    url, environment = bad.url(), dict(bad.environment)
    if wrong == 'key':
        environment['AWS_ACCESS_KEY_ID'] = 'unknown'
    elif wrong == 'bucket':
        url = url.replace('s3://', 's3://other-')
    elif wrong == 'name':
        url = re.sub(r'127\.0\.0\.1:\d+', 'no-such-host.invalid', url)
    else:
        bad.fault = lambda m, k, n: 'denied'
    done = subprocess.run([matinee.MATINEE, 'serve', '--data', tmp_path / 'data', '--http', '127.0.0.1:0', '--rtmp', '127.0.0.1:0', '--storage',
                           url], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith('matinee serve: --storage'), done.stderr


def test_what_a_crash_left_of_a_long_outage_needs_no_memory(make_server, bad, tmp_path):
    server = make_server('--segment', '1', '--grace', '60', '--spool', '200', '--storage', bad.url(), environment=bad.environment)
    event = server.make_event()
    bad.fault = OUTAGES['errors']
    clip = matinee.clip(tmp_path / 'clip.mp4', 30, size='1280x720', more=('-b:v', '60M', '-minrate', '60M', '-maxrate', '60M', '-bufsize', '60M', '-x264-params', 'nal-hrd=cbr'))
    publisher = matinee.publish(clip, event['url'], '--speed', '8')
    matinee.until(lambda: spool(server)['verdict'] == 'full', 60, 'a full spool')
    server.kill()
    publisher.wait(20)
    server.start()
    waiting = spool(server)
    peak = next(int(line.split()[1]) << 10 for line in pathlib.Path(f'/proc/{server.process.pid}/status').read_text().splitlines() if line.startswith('VmHWM'))
    print(f'{waiting["bytes"]} bytes wait, of which memory may hold {100 << 20}, beside 64 MB of journal that is read; it never had more than {peak}')
    assert waiting['bytes'] > 190 << 20 and peak < 235 << 20
    bad.fault = None
    everything_is_stored(server)


def test_a_full_spool_holds_the_publisher_and_not_the_viewers(make_server, bad, tmp_path):
    server = make_server('--segment', '1', '--grace', '60', '--spool', '2', '--storage', bad.url(), environment=bad.environment)
    event = server.make_event()
    record = tmp_path / 'record'
    clip = matinee.clip(tmp_path / 'clip.mp4', 30, size='1280x720', more=('-b:v', '4M', '-minrate', '4M', '-maxrate', '4M', '-bufsize', '4M'))
    publisher = matinee.publish(clip, event['url'], '--speed', '2', '--record', record)
    video = matinee.until(lambda: server.video(event), what='a video')
    matinee.until(lambda: server.metric('matinee_segments_stored_total') >= 2, 20, 'segments in the store')
    bad.fault = OUTAGES['errors']
    matinee.until(lambda: spool(server)['verdict'] == 'full', 30, 'a full spool')
    status, _, body = server.request('GET', '/readyz')
    assert status == 503 and b'full' in body, body
    assert server.metric('matinee_spool_state') == 3
    held = matinee.read_record(record)[1]
    waiting = spool(server)['bytes']
    assert publisher.poll() is None, 'it waits, and is not thrown out'
    for name in listed(server, video)[-8:]:
        assert server.request('GET', name)[0] == 200, f'{name} is listed and cannot be read'
    assert spool(server)['bytes'] <= waiting + 3_000_000, 'what was on its way comes in, and no more'
    bad.fault = None
    matinee.until(lambda: matinee.read_record(record)[1] > held, 60, 'the publisher going on')
    assert publisher.wait(60) == 0
    everything_is_stored(server)
    assert server.request('GET', '/readyz')[0] == 200
    lost, acknowledged = lost_frames(server, event, record)
    assert acknowledged > 0 and not lost, lost[:3]


def shown(make_server, bad, tmp_path):
    """A server that has a video in the store and nothing in memory."""
    server = make_server('--segment', '1', '--grace', '1', '--storage', bad.url(), environment=bad.environment)
    event = server.make_event()
    assert matinee.publish(matinee.clip(tmp_path / 'clip.mp4', 6), event['url'], '--speed', 'max').wait(40) == 0
    video = server.video(event)
    server.end(event)
    everything_is_stored(server)
    assert server.stop() == 0
    return server.start(), video


def test_many_who_want_the_same_cost_the_store_one_read(make_server, bad, tmp_path):
    server, video = shown(make_server, bad, tmp_path)
    name = listed(server, video)[0]
    key = name.replace('/v/', 'shows/v/')
    asked = []

    def slow(method, k, _):
        if method == 'GET' and k == key:
            asked.append(k)
            matinee.until(lambda: server.metric('matinee_store_fetches_shared_total') >= 30, 20, 'the others')

    bad.fault = slow
    with concurrent.futures.ThreadPoolExecutor(40) as crowd:
        answers = list(crowd.map(lambda _: server.request('GET', name), range(40)))
    assert {a[0] for a in answers} == {200} and len({a[2] for a in answers}) == 1
    assert len(asked) == 1
    bad.fault = None
    status, headers, body = server.request('GET', name, headers={'Range': 'bytes=10-19'})
    assert status == 206 and body == answers[0][2][10:20]


def test_copies_on_the_disk_end_with_the_server(make_server, bad, tmp_path):
    server, video = shown(make_server, bad, tmp_path)
    server.get(listed(server, video)[0])
    matinee.until(lambda: list((server.data / 'copies').glob('*.object')), 10, 'a copy on the disk')
    assert server.stop() == 0
    assert not list((server.data / 'copies').glob('*.object'))


def test_a_missing_object_is_404_and_counted(make_server, bad, tmp_path):
    server, video = shown(make_server, bad, tmp_path)
    name = listed(server, video)[0]
    del bad.objects[name.replace('/v/', 'shows/v/')]
    before = server.metric('matinee_store_missing_total')
    assert server.request('GET', name)[0] == 404
    assert server.metric('matinee_store_missing_total') == before + 1


def test_a_store_that_hangs_holds_up_nobody_who_wants_nothing_of_it(make_server, bad, tmp_path):
    server, video = shown(make_server, bad, tmp_path)
    names = listed(server, video)
    bad.fault = OUTAGES['hangs']
    with concurrent.futures.ThreadPoolExecutor(60) as crowd:
        waiting = [crowd.submit(server.request, 'GET', names[i % len(names)], timeout=60) for i in range(60)]
        matinee.until(lambda: bad.count('GET') >= min(8, len(names)), 20, 'reads that hang')
        begun = time.monotonic()
        for _ in range(20):
            assert server.request('GET', '/api/v1/events')[0] == 200
            assert server.request('GET', f'/v/{video}/master.m3u8')[0] == 200
        assert time.monotonic() - begun < 3
        assert server.make_event('made meanwhile')['id']
        bad.fault = None
        statuses = {w.result()[0] for w in waiting}
    assert statuses <= {200, 503}, statuses
    matinee.until(lambda: server.request('GET', names[0])[0] == 200, 40, 'the store being asked again')


def test_the_ladder_and_the_filters_work_over_s3(make_server, bad, tmp_path):
    server = make_server('--segment', '2', '--grace', '1', '--ladder', '144p', '--workers', '1', '--storage', bad.url(),
                         environment=bad.environment)
    event = server.make_event()
    assert matinee.publish(matinee.clip(tmp_path / 'clip.mp4', 6, size='640x360'), event['url'], '--speed', 'max').wait(40) == 0
    video = server.video(event)
    server.end(event)
    count = server.json(f'/api/v1/videos/{video}')['segments']
    matinee.until(lambda: sum(k.startswith(f'shows/v/{video}/144p/') and k.endswith('.m4s') for k in bad.objects) == count, 60,
                  'every made segment in the store')
    assert '144p' in server.get(f'/v/{video}/master.m3u8').decode()
    status, _, lines = server.request('GET', f'/api/v1/videos/{video}/renditions/240p/tasks', admin=True)
    assert status == 200 and lines, 'the tasks of a rendition that nobody has made'
    assert server.stop() == 0
    mapped = subprocess.run([matinee.MATINEE, 'map', '--storage', bad.url()], input=lines, capture_output=True,
                            env={**server.environment}, timeout=120)
    assert mapped.returncode == 0, mapped.stderr
    made = subprocess.run([matinee.MATINEE, 'reduce', '--storage', bad.url()], input=b''.join(sorted(mapped.stdout.splitlines(True))),
                          capture_output=True, env={**server.environment}, timeout=120)
    assert made.returncode == 0 and made.stdout, made.stderr
    assert sum(k.startswith(f'shows/v/{video}/240p/') and k.endswith('.m4s') for k in bad.objects) == count

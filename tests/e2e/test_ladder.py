"""The ladder: every segment in every rendition, exactly once, whatever happens to whoever makes it."""
import os
import pathlib
import random
import signal
import subprocess

import ladder
import matinee
import pytest

LADDER = '240p,144p'


def test_a_live_stream_is_laddered_and_every_rendition_has_the_sources_times(make_server):
    server = make_server('--segment', '2', '--ladder', LADDER)
    event = server.make_event()
    publisher = matinee.ffmpeg(*matinee.drawn(12, size='640x360', gop=30), event['url'])
    video = matinee.until(lambda: server.video(event), what='the video')

    def live():
        made = ladder.renditions(server, video)
        return all(made.get(n, {}).get('state') == 'live' for n in ('240p', '144p'))
    matinee.until(live, 40, 'renditions while it is live')
    master = server.get(f'/v/{video}/master.m3u8').decode()
    assert 'RESOLUTION=426x240' in master and 'RESOLUTION=256x144' in master
    assert '#EXT-X-ENDLIST' not in ladder.listed(server, video, '240p')[1]
    assert publisher.wait(60) == 0, publisher.stderr.read()
    server.end(event)
    ladder.whole(server, video, ('240p', '144p'))
    ladder.same_everywhere(server, video, ('240p', '144p'))
    assert '#EXT-X-ENDLIST' in ladder.listed(server, video, '240p')[1]
    for path in ('master.m3u8', 'manifest.mpd'):
        done = subprocess.run(['ffmpeg', '-nostdin', '-v', 'warning', '-i', f'{server.http}/v/{video}/{path}', '-map', '0:v',
                               '-f', 'null', '-'], capture_output=True, timeout=120)
        assert done.returncode == 0 and done.stderr == b'', done.stderr
    assert server.metric('matinee_ladder_gaps_total') == 0
    segments = len(ladder.listed(server, video, 'source')[0])
    for name in ('240p', '144p'):
        age = 'matinee_ladder_capture_to_published_milliseconds_%s{rendition="' + name + '"%s}'
        assert server.metric(age % ('count', '')) == server.metric(age % ('bucket', ',le="+Inf"')) == segments
        assert server.metric(age % ('bucket', ',le="30000"')) == segments
    assert 23_000 <= server.metric('matinee_ladder_encoded_milliseconds_total') <= 25_000  # 12 s of two
    assert server.metric('matinee_ladder_encode_cpu_milliseconds_total') > 0


def test_the_device_picks_the_rendition(make_server):
    server = make_server('--segment', '2', '--ladder', '1080p,720p,480p,240p')
    video = ladder.show(server, 4, size='1280x720')
    ladder.whole(server, video, ('480p', '240p'))
    assert '720p' not in ladder.renditions(server, video)  # the source stands for it
    for query, rendition, height in (('device=tv', 'source', 720), ('device=tablet', 'source', 720),
                                     ('device=phone', '480p', 480), ('rendition=240p', '240p', 240)):
        status, headers, body = server.request('GET', f'/api/v1/videos/{video}/data?{query}&offset=1')
        assert status == 200 and headers['Matinee-Rendition'] == rendition, (query, status, body[:200])
        probe = subprocess.run(['ffprobe', '-v', 'warning', '-show_entries', 'stream=codec_type,height', '-of', 'csv=p=0', '-'],
                               input=body, capture_output=True, check=True)
        assert sorted(probe.stdout.split()) == [b'audio', b'video,%d' % height], (query, probe.stdout)
    status, _, body = server.request('GET', f'/api/v1/videos/{video}/data?rendition=1080p')
    assert status == 404 and b'480p' in body, body


@pytest.mark.long
def test_a_worker_killed_again_and_again_leaves_every_segment_published_once(make_server):
    seed = int(os.environ.get('MATINEE_SEED', random.randrange(1 << 30)))
    print('seed', seed)
    draw = random.Random(seed)
    server = make_server('--segment', '2', '--ladder', LADDER, '--workers', '2')
    event = server.make_event()
    publisher = matinee.ffmpeg(*matinee.drawn(14, size='1280x720', gop=30), event['url'])
    killed = 0
    while publisher.poll() is None and killed < 4:
        children = matinee.until(lambda: ladder.workers_of(server.process.pid) or [None] * (publisher.poll() is not None), 30, 'a worker at work')
        try:
            if children[0] is not None:
                os.kill(draw.choice(children), signal.SIGKILL)
                killed += 1
        except ProcessLookupError:
            pass  # it had just done its work
    assert publisher.wait(60) == 0, publisher.stderr.read()
    server.end(event)
    video = server.video(event)
    ladder.whole(server, video, ('240p', '144p'))
    ladder.same_everywhere(server, video, ('240p', '144p'))
    assert killed > 0
    assert server.metric('matinee_ladder_gaps_total') == 0
    objects = sorted(p.name for p in (server.data / 'store' / 'v' / video / '240p').iterdir())
    assert objects == ladder.listed(server, video, '240p')[0]  # nothing of what was begun is left


def test_a_server_killed_in_the_middle_finishes_the_ladder_when_it_is_back(make_server):
    server = make_server('--segment', '2', '--ladder', LADDER, '--grace', '1')
    event = server.make_event()
    publisher = matinee.ffmpeg(*matinee.drawn(16, size='1280x720', gop=60, realtime=False), event['url'])
    assert publisher.wait(90) == 0, publisher.stderr.read()
    video = matinee.until(lambda: server.video(event), what='the video')
    matinee.until(lambda: '240p' in ladder.renditions(server, video), what='the ladder being begun')
    server.kill()
    server.start()
    matinee.until(lambda: server.event(event)['state'] == 'ended', 30, 'the video ending')
    ladder.whole(server, video, ('240p', '144p'))
    ladder.same_everywhere(server, video, ('240p', '144p'))


def test_a_stopped_worker_is_backed_up_by_another(make_server):
    server = make_server('--segment', '2', '--ladder', '144p', '--workers', '2')
    ladder.show(server, 8, size='640x360')  # so that it is known how long a task takes
    matinee.until(lambda: server.metric('matinee_ladder_segments_published_total') >= 4, 60, 'the first show being made')
    event = server.make_event()
    publisher = matinee.ffmpeg(*matinee.drawn(20, size='1280x720', gop=60, realtime=False), event['url'])
    stopped = matinee.until(lambda: ladder.workers_of(server.process.pid), 30, 'a worker at work')[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        assert publisher.wait(90) == 0
        server.end(event)
        video = server.video(event)
        ladder.whole(server, video, ('144p',))
    finally:
        try:
            os.kill(stopped, signal.SIGKILL)
        except ProcessLookupError:
            pass  # the server had killed the loser itself
    ladder.same_everywhere(server, video, ('144p',))
    assert server.metric('matinee_ladder_backups_total') > 0


def test_a_rendition_added_by_the_queue_and_by_a_shell_has_the_same_bytes(make_server):
    one = make_server('--segment', '2', data='one')
    video = ladder.show(one, 7, size='640x360')
    one.stop()
    subprocess.run(['cp', '-a', str(one.data), str(one.data) + '-copy'], check=True)
    one.start()
    status, _, body = one.request('POST', f'/api/v1/videos/{video}/renditions', {'name': '240p'}, admin=True)
    assert status == 202, body
    ladder.whole(one, video, ('240p',))

    two = make_server('--segment', '2', '--workers', '0', data='one-copy')
    status, _, tasks = two.request('GET', f'/api/v1/videos/{video}/renditions/240p/tasks', admin=True)
    assert status == 200 and tasks.count(b'\n') >= 4, tasks
    storage = f'file:{two.data}/store'
    lines = subprocess.run(f'"{matinee.MATINEE}" map --storage "{storage}" | sort | "{matinee.MATINEE}" reduce --storage "{storage}"',
                           shell=True, input=tasks, capture_output=True, check=True, timeout=120)
    assert lines.stderr == b'', lines.stderr
    status, _, body = two.request('POST', f'/api/v1/videos/{video}/renditions/240p/segments',
                                  {'lines': lines.stdout.decode()}, admin=True)
    assert status == 204, body
    ladder.whole(two, video, ('240p',))
    ladder.same_everywhere(two, video, ('240p',))
    for name in ladder.listed(one, video, '240p')[0]:
        assert one.get(f'/v/{video}/240p/{name}') == two.get(f'/v/{video}/240p/{name}'), name
    assert one.get(f'/v/{video}/240p/init-0.mp4') == two.get(f'/v/{video}/240p/init-0.mp4')


def test_a_rendition_asked_for_as_the_show_ends_gets_every_segment(make_server):
    server = make_server('--segment', '2', '--ladder', 'none')
    video = ladder.show(server, 6, size='640x360')
    for name in ('240p', '144p'):
        assert server.request('POST', f'/api/v1/videos/{video}/renditions', {'name': name}, admin=True)[0] == 202
    ladder.published_once(server, video, ('240p', '144p'))


def test_a_damaged_chunk_becomes_a_gap_with_its_reason(make_server):
    server = make_server('--segment', '2', '--ladder', 'none')
    video = ladder.show(server, 8, size='640x360')
    damaged = server.data / 'store' / 'v' / video / 'source' / '000001.m4s'
    content = bytearray(damaged.read_bytes())
    at = content.index(b'mdat') + 4
    content[at:] = bytes(len(content) - at)
    damaged.write_bytes(content)
    server.stop()
    server.start()
    status, _, body = server.request('POST', f'/api/v1/videos/{video}/renditions', {'name': '144p'}, admin=True)
    assert status == 202, body
    made = ladder.whole(server, video, ('144p',))['144p']
    assert made['gaps'] == 1 and made['reason'], made
    _, playlist = ladder.listed(server, video, '144p')
    assert playlist.count('#EXT-X-GAP') == 1
    assert server.request('GET', f'/v/{video}/144p/000001.m4s')[0] == 404
    assert server.request('GET', f'/v/{video}/144p/000002.m4s')[0] == 200


@pytest.mark.parametrize('name, status', [('360', 422), ('361p', 422), ('9999p', 422), ('../144p', 422), ('360p', 409),
                                          ('144p:vp9', 422), ('144p,240p', 409)])
def test_a_rendition_that_cannot_be_is_refused_with_the_reason(server, name, status):
    video = ladder.show(server, 2, size='640x360')
    answer, _, body = server.request('POST', f'/api/v1/videos/{video}/renditions', {'name': name}, admin=True)
    assert answer == status and b'detail' in body, (answer, body)


def test_portrait_and_odd_sources_and_a_gop_of_one_picture(make_server):
    server = make_server('--segment', '2', '--ladder', '240p,144p')
    for size, gop, expected in (('360x640', 60, (144, 256)), ('501x401', 1, (180, 144))):
        video = ladder.show(server, 3, size=size, gop=gop, extra=('-pix_fmt', 'yuv444p' if '1' in size else 'yuv420p'))
        made = ladder.whole(server, video, ('240p', '144p'))
        assert (made['144p']['width'], made['144p']['height']) == expected, (size, made['144p'])
        ladder.same_everywhere(server, video, ('240p', '144p'))


def test_hevc_and_av1_renditions(make_server):
    server = make_server('--segment', '2', '--ladder', '240p:hevc,144p:av1')
    video = ladder.show(server, 3, size='640x360')
    made = ladder.whole(server, video, ('240p-hevc', '144p-av1'))
    assert made['240p-hevc']['codecs'].startswith('hvc1') and made['144p-av1']['codecs'].startswith('av01'), made
    ladder.same_everywhere(server, video, ('240p-hevc', '144p-av1'))
    manifest = server.get(f'/v/{video}/manifest.mpd').decode()
    assert manifest.count('contentType="video"') == 3  # players switch within a codec only


def test_a_deleted_video_takes_its_renditions_and_its_tasks_with_it(make_server):
    server = make_server('--segment', '2', '--ladder', '144p', '--workers', '1')
    video = ladder.show(server, 20, size='1280x720')
    status, _, body = server.request('DELETE', f'/api/v1/videos/{video}', admin=True)
    assert status == 204, body
    matinee.until(lambda: server.metric('matinee_ladder_tasks_waiting_live') + server.metric('matinee_ladder_tasks_held') +
                  server.metric('matinee_ladder_tasks_waiting_archive') == 0, 30, 'its tasks being dropped')
    other = ladder.show(server, 2, size='640x360')
    ladder.whole(server, other, ('144p',))


@pytest.mark.parametrize('words', [('--ladder', '720'), ('--ladder', ''), ('--ladder', '720p,720p'), ('--workers', '-1'),
                                   ('--queue', 'amqp://x')])
def test_a_wrong_option_is_said_in_one_line(tmp_path, words):
    done = subprocess.run([matinee.MATINEE, 'serve', '--data', str(tmp_path / 'd'), '--http', '127.0.0.1:0', '--rtmp',
                           '127.0.0.1:0', *words], capture_output=True, timeout=20)
    assert done.returncode in (1, 2) and done.stderr.count(b'\n') == 1, done.stderr


# --- NATS: workers of their own -------------------------------------------------------------------------

@pytest.mark.long
def test_two_workers_over_nats_make_a_ladder_while_one_is_killed_and_nats_is_restarted(make_server, nats):
    server = make_server('--segment', '2', '--ladder', LADDER, '--workers', '0', '--queue', nats.url)
    storage = f'file:{server.data}/store'
    workers = [matinee.Worker(nats.url, storage, pathlib.Path(f'{server.data}-worker{i}.log')) for i in range(2)]
    try:
        event = server.make_event()
        publisher = matinee.ffmpeg(*matinee.drawn(14, size='1280x720', gop=30), event['url'])
        matinee.until(lambda: server.metric('matinee_ladder_segments_published_total') > 0, 60, 'the first segment being made')
        workers[0].kill()
        matinee.until(lambda: server.metric('matinee_ladder_segments_published_total') > 3, 60, 'one worker going on')
        nats.kill()
        assert publisher.poll() is None  # the show is still on
        matinee.until(lambda: 'the queue is away' in server.said(), 30, 'the server saying that the queue is away')
        assert server.request('GET', '/healthz')[0] == 200
        nats.start()
        assert publisher.wait(60) == 0, publisher.stderr.read()
        server.end(event)
        video = server.video(event)
        ladder.whole(server, video, ('240p', '144p'))
        ladder.same_everywhere(server, video, ('240p', '144p'))
        assert server.metric('matinee_ladder_gaps_total') == 0
    finally:
        codes = [w.stop() for w in workers]
    assert codes[1] == 0  # SIGTERM gives back what is in hand, and ends well


def test_nats_killed_between_shows_hands_out_the_next(make_server, nats):
    """It may have forgotten how far it was, when there is nothing left in it. What it passes over is put again, but after a minute."""
    server = make_server('--segment', '2', '--ladder', '144p', '--workers', '0', '--queue', nats.url)
    worker = matinee.Worker(nats.url, f'file:{server.data}/store', pathlib.Path(f'{server.data}-worker.log'))
    try:
        for _ in range(3):
            video = ladder.show(server, 4, size='640x360')
            ladder.whole(server, video, ('144p',), seconds=30)
            nats.kill()
            nats.start()
    finally:
        assert worker.stop() == 0


@pytest.mark.parametrize('words, reason', [((), 'needed'), (('--queue', 'local:x', '--storage', 'file:s'), 'needed'),
                                           (('--queue', 'nats://', '--storage', 'file:s'), 'nats')])
def test_a_worker_called_wrongly_says_so_in_one_line(tmp_path, words, reason):
    done = subprocess.run([matinee.MATINEE, 'worker', *words], capture_output=True, timeout=20, cwd=tmp_path)
    assert done.returncode in (1, 2) and done.stderr.count(b'\n') == 1 and reason.encode() in done.stderr, done.stderr


@pytest.mark.parametrize('lines', [b'nonsense\n', b'a\tb\n', b'01ARZ3NDEKTSV4RRFFQ69G5FAV/000000/0-1/144p\tv/x 0 1 h264 zz 0 144p\n',
                                   b'\xff\xfe\n', b'x' * 100000 + b'\n'])
def test_a_filter_refuses_what_is_no_task_and_goes_on(tmp_path, lines):
    for command in ('map', 'reduce'):
        done = subprocess.run([matinee.MATINEE, command, '--storage', f'file:{tmp_path}/s'], input=lines * 2, capture_output=True,
                              timeout=20)
        assert done.returncode == 1 and done.stdout == b'' and done.stderr.count(b'\n') >= 2, (command, done.stderr[:300])

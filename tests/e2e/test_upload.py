"""Finished recordings: what goes in comes out, however it is interrupted, and what is none leaves nothing."""
import http.client
import json
import os
import random
import subprocess
import threading
import urllib.parse

import matinee
import pytest


def path_of(event):
    return f"/api/v1/events/{event['id']}/video"


def put(server, event, body=b'', content_range=None, admin=True, **more):
    headers = {'Content-Range': content_range} if content_range else {}
    return server.request('PUT', path_of(event), body, headers, admin=admin, timeout=60, **more)


def video_of(answer):
    status, _, body = answer
    assert status == 201, (status, body)
    return json.loads(body)['video']


def imported(server, video, seconds=60):
    """Waits until the video is whole; its description."""
    def whole():
        description = server.json(f'/api/v1/videos/{video}')
        return description if description['state'] == 'ended' else None
    description = matinee.until(whole, seconds, 'the import')
    matinee.until(lambda: uploads(server) == [], 5, 'the file being removed')
    return description


def uploads(server):
    return sorted(p.name for p in (server.data / 'uploads').iterdir())


def nothing_is_left(server, event):
    description = server.event(event)
    assert uploads(server) == [] and description['videos'] == [] and description['state'] == 'scheduled', description
    assert server.json('/api/v1/videos')['items'] == []
    assert not [p for p in (server.data / 'store').rglob('*') if p.is_file()]


def ffmpeg(*words):
    subprocess.run(['ffmpeg', '-nostdin', '-v', 'error', '-y', *map(str, words)], check=True, timeout=120)
    return words[-1]


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Seven seconds with B-frames, and the same over and over for a few minutes."""
    folder = tmp_path_factory.mktemp('files')
    clip = matinee.clip(folder / 'clip.mp4', 7, more=('-preset', 'veryfast', '-bf', '3'))
    return {'folder': folder, 'clip': clip, 'long': ffmpeg('-stream_loop', 60, '-i', clip, '-c', 'copy', folder / 'long.mkv')}


def decoded(url, stream):
    """The MD5 of every decoded frame: for containers that store the same pictures in other bytes."""
    done = subprocess.run(['ffmpeg', '-nostdin', '-v', 'error', '-i', str(url), '-map', f'0:{stream}', '-f', 'framemd5', '-'],
                          capture_output=True, check=True, timeout=120)
    return [line.split(',')[5].strip() for line in done.stdout.decode().splitlines() if not line.startswith('#')]


def same_media(server, video, file, tolerance, audio=True):
    """Every packet is there with its bytes, at its distance from the others, and the tracks at theirs from each other."""
    url = f'{server.http}/v/{video}/master.m3u8'
    starts = []
    for stream in 'va' if audio else 'v':
        came, sent = matinee.packets(url, stream), matinee.packets(str(file), stream)
        assert [p[2] for p in came] == [p[2] for p in sent], stream
        shift = came[0][0] - sent[0][0]
        assert all(abs(c[0] - s[0] - shift) <= tolerance for c, s in zip(came, sent)), stream
        starts.append(shift)
    assert max(starts) - min(starts) <= tolerance, starts
    assert min(matinee.packets(url, stream)[0][0] for stream in ('va' if audio else 'v')) < 0.2


@pytest.mark.parametrize('name, words, tolerance', [
    ('mp4', (), 0.0001), ('faststart.mp4', ('-movflags', '+faststart'), 0.0001),
    ('fragmented.mp4', ('-movflags', '+frag_keyframe+empty_moov'), 0.0001), ('mov', (), 0.0001), ('mkv', (), 0.002), ('flv', (), 0.002),
    ('offset.mkv', ('-output_ts_offset', '100'), 0.002)])
def test_what_goes_in_comes_out(server, files, name, words, tolerance):
    file = ffmpeg('-i', files['clip'], '-c', 'copy', *words, files['folder'] / f'in.{name}')
    event = server.make_event()
    video = video_of(put(server, event, file.read_bytes()))
    description = imported(server, video)
    assert abs(description['duration'] - 7) < 0.15 and description['segments'] == 4, description
    same_media(server, video, file, tolerance)
    seen = server.event(event)
    assert seen['state'] == 'ended' and seen['video'] == video and seen['upload'] is None, seen
    assert '#EXT-X-ENDLIST' in server.get(f'/v/{video}/source/playlist.m3u8').decode()


def test_mpeg_ts_from_its_first_keyframe_with_sound_and_picture_together(server, files):
    file = ffmpeg('-i', files['clip'], '-c', 'copy', files['folder'] / 'in.ts')
    video = video_of(put(server, server.make_event(), file.read_bytes()))
    imported(server, video)
    url = f'{server.http}/v/{video}/master.m3u8'
    assert decoded(url, 'v') == decoded(file, 'v')
    shifts = [matinee.packets(url, s)[0][0] - matinee.packets(str(file), s)[0][0] for s in 'va']
    assert abs(shifts[0] - shifts[1]) < 0.002, shifts
    content = file.read_bytes()
    video = video_of(put(server, server.make_event(), content[len(content) // 4 // 188 * 188:]))  # begins within a GOP
    assert 3 < imported(server, video)['duration'] < 7
    assert matinee.count_frames(f'{server.http}/v/{video}/master.m3u8')[1] == ''


def test_a_clock_that_is_reset_goes_on(server, files):
    ts = ffmpeg('-i', files['clip'], '-c', 'copy', files['folder'] / 'one.ts').read_bytes()
    video = video_of(put(server, server.make_event(), ts + ts))
    assert abs(imported(server, video)['duration'] - 14) < 0.3
    times = sorted(p[0] for p in matinee.packets(f'{server.http}/v/{video}/master.m3u8', 'v'))
    assert max(b - a for a, b in zip(times, times[1:])) < 0.2


@pytest.mark.parametrize('name, words', [
    ('hevc.mp4', ('-c:v', 'libx265', '-x265-params', 'log-level=none', '-tag:v', 'hvc1', '-c:a', 'copy')),
    ('av1.mkv', ('-c:v', 'libsvtav1', '-preset', '12', '-c:a', 'libopus')), ('silent.mp4', ('-c:v', 'copy', '-an'))])
def test_other_codecs_and_missing_tracks(server, files, name, words):
    file = ffmpeg('-i', files['clip'], '-t', 3, *words, files['folder'] / name)
    video = video_of(put(server, server.make_event(), file.read_bytes()))
    imported(server, video)
    same_media(server, video, file, 0.002, audio='-an' not in words)


def test_sound_alone(server, files):
    file = ffmpeg('-i', files['clip'], '-c:a', 'copy', '-vn', files['folder'] / 'sound.m4a')
    video = video_of(put(server, server.make_event(), file.read_bytes()))
    assert [r['name'] for r in imported(server, video)['renditions']] == ['audio']
    came = matinee.packets(f'{server.http}/v/{video}/master.m3u8', 'a')
    assert [p[2] for p in came] == [p[2] for p in matinee.packets(str(file), 'a')]


def test_a_file_with_all_its_sound_at_the_end_is_merged_by_time(server, files):
    """ffmpeg can be told not to interleave; the segments must come out as if it had."""
    folder = files['folder']
    for track in 'va':
        ffmpeg('-i', files['clip'], '-map', f'0:{track}', '-c', 'copy', folder / f'{track}.mp4')
    file = ffmpeg('-i', folder / 'v.mp4', '-i', folder / 'a.mp4', '-c', 'copy', '-max_interleave_delta', 1, '-muxdelay', 0, '-flush_packets', 0,
                  folder / 'apart.mkv')
    video = video_of(put(server, server.make_event(), file.read_bytes()))
    imported(server, video)
    same_media(server, video, file, 0.002)


# --- interruptions --------------------------------------------------------------------------------------------------------


def range_of(headers):
    return int(headers['Range'].split('-')[1]) + 1 if 'Range' in headers else 0


def how_far(server, event, total):
    """Asks until no other connection has the place."""
    def answer():
        status, headers, body = put(server, event, content_range=f'bytes */{total}')
        return (status, headers, body) if status != 409 else None
    return matinee.until(answer, 10, 'the place being free')


def send_some(server, event, content, at, cut):
    """Announces everything from `at` on, sends up to `cut`, and breaks the connection."""
    url = urllib.parse.urlsplit(server.http)
    connection = http.client.HTTPConnection(url.netloc, timeout=20)
    connection.putrequest('PUT', path_of(event))
    for name, value in (('Authorization', 'Bearer ' + server.token), ('Content-Length', str(len(content) - at)),
                        ('Content-Range', f'bytes {at}-{len(content) - 1}/{len(content)}')):
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(content[at:cut])
    return connection


def test_an_upload_broken_at_random_places_is_gone_on_with(make_server, files):
    seed = int(os.environ.get('MATINEE_SEED', random.randrange(1 << 30)))
    print('seed', seed)
    draw = random.Random(seed)
    server = make_server('--segment', '2')
    event = server.make_event()
    content = files['clip'].read_bytes()
    at = sent = 0
    for kill in (False, False, True, False):
        cut = draw.randrange(at + 1, len(content))
        sent = max(sent, cut)  # what a broken connection had sent may still come in after we were told how far it got
        connection = send_some(server, event, content, at, cut)
        if kill:
            server.kill()
            server.start()
        connection.close()
        status, headers, _ = how_far(server, event, len(content))
        assert status == 308, status
        assert at <= range_of(headers) <= sent, (at, range_of(headers), sent)
        at = range_of(headers)
    status, headers, _ = put(server, event, content[at + 1:], f'bytes {at + 1}-{len(content) - 1}/{len(content)}')
    assert status == 308 and range_of(headers) == at, 'a wrong start is told how far it got'
    status, _, body = put(server, event, b'x', f'bytes {at}-{at}/{len(content) + 1}')
    assert status == 409 and b'whole, without Content-Range' in body, body
    middle = draw.randrange(at + 1, len(content))
    status, headers, _ = put(server, event, content[at:middle], f'bytes {at}-{middle - 1}/{len(content)}')
    assert status == 308 and range_of(headers) == middle
    video = video_of(put(server, event, content[middle:], f'bytes {middle}-{len(content) - 1}/{len(content)}'))
    assert video_of(put(server, event, content_range=f'bytes */{len(content)}')) == video, 'who did not hear the answer asks again'
    imported(server, video)
    same_media(server, video, files['clip'], 0.0001)
    assert server.event(event)['videos'] == [video]


def test_the_whole_file_once_more_begins_anew(server, files):
    event, content = server.make_event(), files['clip'].read_bytes()
    put(server, event, b'x' * 1000, 'bytes 0-999/123456')
    video = video_of(put(server, event, content))
    imported(server, video)
    same_media(server, video, files['clip'], 0.0001)


def test_a_server_killed_while_it_imports_goes_on_without_doubling(make_server, files):
    seed = int(os.environ.get('MATINEE_SEED', random.randrange(1 << 30)))
    print('seed', seed)
    draw = random.Random(seed)
    server = make_server('--segment', '1')
    event = server.make_event()
    video = video_of(put(server, event, files['long'].read_bytes()))
    killed, at = 0, 0
    while killed < 4:
        at += draw.randrange(1, 60)
        description = matinee.until(lambda: (d := server.json(f'/api/v1/videos/{video}'))['segments'] > at and d, 60, 'segments')
        if description['state'] == 'ended':
            break
        assert server.event(event)['state'] != 'live' and server.event(event)['upload'] == {'state': 'importing', 'video': video}
        server.kill()
        server.options[server.options.index('--segment') + 1] = draw.choice(('1', '2'))  # what began goes on as it began
        server.start()
        killed += 1
    assert killed > 0
    description = imported(server, video, 120)
    same_media(server, video, files['long'], 0.002)
    names = [line for line in server.get(f'/v/{video}/source/playlist.m3u8').decode().splitlines() if line.endswith('.m4s')]
    assert len(names) == len(set(names)) == description['segments']
    assert sorted(p.name for p in (server.data / 'store' / 'v' / video / 'source').glob('*.m4s')) == sorted(names)


def test_a_server_that_closes_goes_on_at_its_next_start(make_server, files):
    server = make_server('--segment', '1')
    video = video_of(put(server, server.make_event(), files['long'].read_bytes()))
    assert server.stop() == 0
    server.start()
    imported(server, video, 120)
    same_media(server, video, files['long'], 0.002)


def test_a_reader_that_is_killed_is_started_again(make_server, files):
    server = make_server('--segment', '1')
    video = video_of(put(server, server.make_event(), files['long'].read_bytes()))
    done = subprocess.run(['pkill', '-9', '-P', str(server.process.pid), '-f', 'read-recording'], check=False)
    assert done.returncode == 0
    imported(server, video, 120)
    same_media(server, video, files['long'], 0.002)


# --- refusals --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name, words, said', [
    ('vp9.mkv', ('-c:v', 'libvpx-vp9', '-c:a', 'copy'), b'vp9'), ('mp3.mkv', ('-c:v', 'copy', '-c:a', 'libmp3lame'), b'mp3'),
    ('mpeg2.ts', ('-c:v', 'mpeg2video', '-c:a', 'copy'), b'mpeg2video')])
def test_a_codec_that_is_not_taken_is_named_and_leaves_nothing(server, files, name, words, said):
    file = ffmpeg('-i', files['clip'], '-t', 1, *words, files['folder'] / name)
    event = server.make_event()
    status, _, body = put(server, event, file.read_bytes())
    assert status == 422 and said in body, (status, body)
    nothing_is_left(server, event)


@pytest.mark.parametrize('what', ['text', 'random', 'empty', 'cut', 'cut behind its index', 'html', 'wav'])
def test_what_is_no_recording_leaves_nothing(server, files, what):
    whole = ffmpeg('-i', files['clip'], '-c', 'copy', '-movflags', '+faststart', files['folder'] / 'fast.mp4').read_bytes()
    content = {'text': b'hello\n' * 1000, 'random': random.Random(1).randbytes(200000), 'empty': b'', 'html': b'<html></html>',
               'cut': files['clip'].read_bytes()[:300000], 'cut behind its index': whole[:len(whole) // 2],
               'wav': b'RIFF\x24\x10\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\xbb\0\0\0\x77\1\0\2\0\x10\0data\0\x10\0\0' + bytes(4096)}[what]
    event = server.make_event()
    status, headers, body = put(server, event, content)
    assert status == 422 and headers['Content-Type'] == 'application/problem+json', (status, body)
    if what == 'cut behind its index':
        assert b'cut short' in body
    nothing_is_left(server, event)


def test_a_matroska_that_was_cut_short_is_taken_as_far_as_it_goes(server, files):
    content = ffmpeg('-i', files['clip'], '-c', 'copy', files['folder'] / 'whole.mkv').read_bytes()
    video = video_of(put(server, server.make_event(), content[:len(content) // 2]))
    assert 2 < imported(server, video)['duration'] < 5
    assert matinee.count_frames(f'{server.http}/v/{video}/master.m3u8')[1] == ''


def test_a_file_that_breaks_in_the_middle_is_said_on_its_event_and_leaves_no_video(server, files):
    """Its configuration changes: that shows only when it is read."""
    folder = files['folder']
    other = matinee.clip(folder / 'other.mp4', 7, size='640x360')
    one, two = (ffmpeg('-i', f, '-c', 'copy', folder / f'{i}.flv') for i, f in enumerate((files['clip'], other)))
    content = one.read_bytes() + two.read_bytes()[13:]
    event = server.make_event()
    video = video_of(put(server, event, content))
    failed = matinee.until(lambda: (u := server.event(event)['upload']) and u['state'] == 'failed' and u, 20, 'the failure')
    assert 'changes in the middle' in failed['problem'], failed
    matinee.until(lambda: server.request('GET', f'/api/v1/videos/{video}')[0] == 404, 10, 'the video being gone')
    matinee.until(lambda: uploads(server) == [], 10, 'the file being gone')
    nothing_is_left(server, event)
    server.stop()
    server.start()
    assert server.event(event)['upload'] == failed
    video = video_of(put(server, event, files['clip'].read_bytes()))
    imported(server, video)
    assert server.event(event)['upload'] is None


def test_who_may_not_or_asks_wrongly(server, files):
    event = server.make_event()
    assert put(server, event, b'abc', admin=False)[0] == 401
    assert put(server, {'id': '01J00000000000000000000000'}, files['clip'].read_bytes())[0] == 404
    assert put(server, {'id': 'nonsense'}, b'abc')[0] == 404
    for wrong in ('bytes 0-9/5', 'bytes 5-4/10', 'bytes 0-9/10', 'bytes 0-2/*', 'lines 0-2/3', 'bytes */0', 'bytes 0-2/99999999999999999999'):
        assert put(server, event, b'abc', wrong)[0] == 400, wrong
    assert put(server, event, b'abc', f'bytes 0-2/{1 << 50}')[0] == 413
    said = matinee.raw(server, f'PUT {path_of(event)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n'
                               'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'.encode())
    assert b' 411 ' in said.split(b'\r\n')[0], said
    nothing_is_left(server, event)


def test_a_live_event_takes_no_upload(server, files):
    event = server.make_event()
    publisher = matinee.ffmpeg(*matinee.drawn(20), event['url'])
    matinee.until(lambda: server.event(event)['state'] == 'live', 20, 'the event being live')
    status, _, body = put(server, event, files['clip'].read_bytes())
    assert status == 409 and b'live' in body, body
    matinee.end_process(publisher)
    server.end(event)
    video_of(put(server, event, files['clip'].read_bytes()))


def test_of_two_uploads_at_once_the_second_is_refused(server, files):
    event, content = server.make_event(), files['clip'].read_bytes()
    connection = send_some(server, event, content, 0, 1000)
    matinee.until(lambda: server.event(event)['upload'], 10, 'the first being there')
    status, _, body = put(server, event, content)
    assert status == 409 and b'Another upload' in body, body
    assert server.event(event)['upload'] == {'state': 'receiving', 'received': 0, 'total': len(content)}
    connection.send(content[1000:])
    answer = connection.getresponse()
    assert answer.status == 201, answer.read()


def test_somebody_publishes_while_a_recording_is_imported(make_server, files):
    server = make_server('--segment', '1', '--grace', '1')
    event = server.make_event()
    upload = video_of(put(server, event, files['long'].read_bytes()))
    publisher = matinee.ffmpeg(*matinee.drawn(3), event['url'])
    live = matinee.until(lambda: (v := server.video(event)) != upload and v, 20, 'the live video')
    assert publisher.wait(30) == 0
    imported(server, upload, 120)
    same_media(server, upload, files['long'], 0.002)
    matinee.until(lambda: server.event(event)['state'] == 'ended', 20, 'the end')
    assert server.event(event)['videos'] == [live, upload]


@pytest.mark.parametrize('what', ['video', 'event'])
def test_deleted_while_it_is_imported(make_server, files, what):
    server = make_server('--segment', '1')
    event = server.make_event()
    videos = [video_of(put(server, event, files['long'].read_bytes())) for _ in range(2)]  # one in hand, one waits
    path = {'video': f'/api/v1/videos/{videos[0]}', 'event': f"/api/v1/events/{event['id']}"}[what]
    assert server.request('DELETE', path, admin=True)[0] == 204
    if what == 'video':
        assert server.request('DELETE', f'/api/v1/videos/{videos[1]}', admin=True)[0] == 204
    assert uploads(server) == []
    assert not [p for p in (server.data / 'store').rglob('*') if p.is_file()]
    server.stop()
    server.start()
    assert server.json('/api/v1/videos')['items'] == []


def test_a_disk_that_is_too_small_is_said_and_costs_nothing_else(make_server, files, tmp_path):
    disk = tmp_path / 'disk'
    disk.mkdir()
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', str(disk)], capture_output=True)
    if done.returncode != 0:
        pytest.skip('no right to mount')
    try:
        server = make_server('--segment', '2', data='disk/data')
        event = server.make_event()
        status, _, body = put(server, event, bytes(1 << 24), f'bytes 0-{(1 << 24) - 1}/{1 << 24}')
        assert status == 507 and b'disk is full' in body, (status, body)
        status, _, _ = put(server, server.make_event(), files['clip'].read_bytes())
        assert status == 201
        server.close()
    finally:
        subprocess.run(['umount', '-l', str(disk)], check=True)


def test_memory_stays_bounded_whatever_the_size(make_server, files):
    server = make_server('--segment', '2')
    content = files['long'].read_bytes()
    video = video_of(put(server, server.make_event(), content))
    imported(server, video, 120)
    peak = next(int(line.split()[1]) for line in open(f'/proc/{server.process.pid}/status') if line.startswith('VmHWM'))
    print('peak', peak, 'KB for', len(content) >> 10, 'KB')
    assert peak < 300_000


def test_the_ladder_is_made_of_what_was_uploaded(make_server, files):
    server = make_server('--segment', '2', '--ladder', '144p')
    video = video_of(put(server, server.make_event(), files['clip'].read_bytes()))
    imported(server, video)

    def ready():
        return [r for r in server.json(f'/api/v1/videos/{video}')['renditions'] if r['name'] == '144p' and r['state'] == 'ready']
    made = matinee.until(ready, 60, 'the rendition')[0]
    assert made['gaps'] == 0, made
    times = [sorted(p[0] for p in matinee.packets(f'{server.http}/v/{video}/{name}/playlist.m3u8', 'v')) for name in ('source', '144p')]
    assert len(times[0]) == len(times[1]) and all(abs(a - b) < 0.001 for a, b in zip(*times))

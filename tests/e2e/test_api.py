"""The HTTP API as docs/api.md has it: right answers, and clear ones to wrong questions."""
import json
import socket
import subprocess
import time
import urllib.parse

import matinee
import pytest


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
    """One server with one ended video of 9 seconds in segments of 2, and a live-less event."""
    folder = tmp_path_factory.mktemp('recorded')
    server = matinee.Server(folder / 'data', '--segment', '2', '--grace', '2').start()
    clip = matinee.clip(folder / 'clip.mp4', 9)
    event = server.make_event('A <b>night</b>', startsAt='2026-12-24T20:00:00+01:00')
    assert matinee.publish(clip, event['url'], '--speed', 'max').wait(60) == 0
    server.end(event)
    server.clip, server.shown, server.film = clip, event, server.video(event)
    yield server
    server.close()


def problem(answer, status, slug=None):
    got, headers, body = answer
    assert got == status, (got, body)
    assert headers['Content-Type'] == 'application/problem+json'
    document = json.loads(body)
    assert document['status'] == status and document['detail'] and document['type']
    if slug:
        assert document['type'].endswith('/' + slug), document
    return document


def test_an_event_is_made_read_changed_and_deleted(recorded):
    event = recorded.make_event('Opening')
    assert len(event['id']) == 26 and event['state'] == 'scheduled' and event['video'] is None
    assert event['publishUrl'] == recorded.rtmp and event['watchUrl'] == f"{recorded.http}/watch/{event['id']}"
    assert 'streamKey' not in recorded.event(event)
    path = f"/api/v1/events/{event['id']}"
    status, _, body = recorded.request('PATCH', path, {'title': 'Closing', 'startsAt': '2027-01-01T00:00:00Z'}, admin=True)
    assert status == 200 and json.loads(body)['title'] == 'Closing'
    assert json.loads(body)['startsAt'] == '2027-01-01T00:00:00.000Z'
    status, _, body = recorded.request('PATCH', path, {'startsAt': None}, admin=True)
    assert json.loads(body)['startsAt'] is None and json.loads(body)['title'] == 'Closing'
    assert recorded.request('DELETE', path, admin=True)[0] == 204
    problem(recorded.request('GET', path), 404)
    problem(recorded.request('DELETE', path, admin=True), 404)


@pytest.mark.parametrize('body, kind, status', [
    ('{"title":', 'application/json', 400), ('', 'application/json', 400), ('[1]', 'application/json', 422),
    ('{"title":"x"}', 'text/plain', 415), ('{}', 'application/json', 422), ('{"title":""}', 'application/json', 422),
    ('{"title":7}', 'application/json', 422), ('{"title":"x","colour":"red"}', 'application/json', 422),
    ('{"title":"x","access":"all"}', 'application/json', 422), ('{"title":"x","startsAt":"soon"}', 'application/json', 422),
    ('{"title":"x\\u0000y"}', 'application/json', 400), ('{"title":"x","title":"y"}', 'application/json', 400),
    (json.dumps({'title': 'é' * 201}), 'application/json', 422), ('[' * 100000, 'application/json', 400)])
def test_a_wrong_body_is_refused_with_a_reason(recorded, body, kind, status):
    problem(recorded.request('POST', '/api/v1/events', body.encode(), {'Content-Type': kind}, admin=True), status)


def test_a_field_whose_name_is_cut_within_a_letter_is_refused_like_any_other(recorded):
    problem(recorded.request('POST', '/api/v1/events', {'x' + 'é' * 300: 1}, admin=True), 422, 'unknown-field')
    assert recorded.get('/healthz') == b'ok\n'


def test_a_body_beyond_the_limit_is_413(recorded):
    body = json.dumps({'title': 'x' * (2 << 20)})
    status, _, _ = recorded.request('POST', '/api/v1/events', body, {'Content-Type': 'application/json'}, admin=True)
    assert status == 413


def test_admin_calls_want_the_token(recorded):
    for headers in ({}, {'Authorization': 'Bearer wrong'}, {'Authorization': 'Basic eDp5'}):
        answer = recorded.request('POST', '/api/v1/events', {'title': 'x'}, headers)
        problem(answer, 401, 'admin-token-needed')
        assert answer[1]['WWW-Authenticate'] == 'Bearer'


def test_lists_are_paged(recorded):
    made = [recorded.make_event(f'page {i}')['id'] for i in range(5)]
    seen, path = [], '/api/v1/events?limit=2'
    while path:
        status, headers, body = recorded.request('GET', path)
        assert status == 200
        items = json.loads(body)['items']
        assert 0 < len(items) <= 2
        seen += [item['id'] for item in items]
        link = headers['Link']
        path = link.split('<')[1].split('>')[0] if link else None
    assert seen == sorted(seen, reverse=True) and set(made) <= set(seen)
    for wrong in ('limit=0', 'limit=501', 'limit=x', 'after=x', 'limit='):
        problem(recorded.request('GET', '/api/v1/events?' + wrong), 400, 'bad-parameter')


def test_methods_and_paths_that_are_not_there(recorded):
    answer = recorded.request('PUT', '/api/v1/events')
    problem(answer, 405)
    assert answer[1]['Allow'] == 'POST, GET, HEAD'
    problem(recorded.request('GET', '/api/v1/nothing'), 404)
    problem(recorded.request('GET', '/api/v1/events/not-an-id'), 404)
    problem(recorded.request('BREW', '/api/v1/events'), 501)
    assert recorded.request('GET', '/no-such-page')[0] == 404


def test_get_video_data_covers_the_whole_video(recorded):
    offset, count = 0.0, 0
    while True:
        status, headers, body = recorded.request('GET', f'/api/v1/videos/{recorded.film}/data?device=tv&offset={offset}')
        assert status == 200 and headers['Content-Type'] == 'video/mp4'
        assert float(headers['Matinee-Start']) == pytest.approx(offset, abs=1e-3)
        assert headers['Matinee-Rendition'] == 'source'
        done = subprocess.run(['ffprobe', '-v', 'warning', '-count_frames', '-show_entries', 'stream=nb_read_frames,codec_type',
                               '-of', 'json', '-'], input=body, capture_output=True, check=True)
        assert not done.stderr
        assert {s['codec_type'] for s in json.loads(done.stdout)['streams']} == {'video', 'audio'}
        count += sum(int(s['nb_read_frames']) for s in json.loads(done.stdout)['streams'] if s['codec_type'] == 'video')
        link = headers['Link']
        if not link:
            break
        offset = float(headers['Matinee-Start']) + float(headers['Matinee-Duration'])
        assert f'offset={offset:.6f}' in link
    assert count == 270
    problem(recorded.request('GET', f'/api/v1/videos/{recorded.film}/data?offset=10'), 404, 'past-the-end')


def test_get_video_data_as_ts(recorded):
    status, headers, body = recorded.request('GET', f'/api/v1/videos/{recorded.film}/data?offset=3&format=ts')
    assert status == 200 and headers['Content-Type'] == 'video/mp2t' and body[0] == 0x47 and body[188] == 0x47


@pytest.mark.parametrize('query', ['device=fridge', 'offset=-1', 'offset=x', 'offset=NaN', 'offset=1e9', 'offset=', 'offset=0x10',
                                   'offset=inf', 'format=avi', 'rendition=../x', 'device='])
def test_parameters_that_cannot_be_read_are_400(recorded, query):
    problem(recorded.request('GET', f'/api/v1/videos/{recorded.film}/data?{query}'), 400, 'bad-parameter')


def test_segments_are_immutable_and_come_in_ranges(recorded):
    path = f'/v/{recorded.film}/source/000001.m4s'
    status, headers, whole = recorded.request('GET', path)
    assert status == 200 and headers['Cache-Control'] == 'public, max-age=31536000, immutable'
    assert headers['Access-Control-Allow-Origin'] == '*'
    assert recorded.request('GET', path, headers={'If-None-Match': headers['ETag']})[0] == 304
    status, part, body = recorded.request('GET', path, headers={'Range': 'bytes=100-199'})
    assert status == 206 and body == whole[100:200] and part['Content-Range'] == f'bytes 100-199/{len(whole)}'
    assert recorded.request('GET', path, headers={'Range': 'bytes=-10'})[2] == whole[-10:]
    assert recorded.request('GET', path, headers={'Range': f'bytes={len(whole)}-'})[0] == 416
    assert recorded.request('GET', path, headers={'Range': 'bytes=0-9', 'If-Range': '"other"'})[0] == 200
    status, head, body = recorded.request('HEAD', path)
    assert status == 200 and int(head['Content-Length']) == len(whole) and body == b''
    for wrong in ('source/1.m4s', 'source/000099.m4s', 'source/init-9.mp4', 'audio/../source/000001.m4s', 'x/000001.m4s',
                  'source/', '', 'source/000001.m4s/x', 'source/00000%31.m4s/'):
        assert recorded.request('GET', f'/v/{recorded.film}/{wrong}')[0] in (404, 400), wrong


def test_stored_files_are_whole_after_a_restart(make_server, tmp_path):
    server = make_server('--segment', '2', '--grace', '1')
    event = server.make_event('again')
    assert matinee.publish(matinee.clip(tmp_path / 'c.mp4', 5), event['url'], '--speed', 'max').wait(30) == 0
    server.end(event)
    video = server.video(event)
    before = {path: server.get(f'/v/{video}/{path}') for path in ('manifest.mpd', 'master.m3u8', 'source/playlist.m3u8',
                                                                 'source/000001.m4s', 'audio/init-0.mp4')}
    assert server.stop() == 0
    server.start()
    for path, content in before.items():
        assert server.get(f'/v/{video}/{path}') == content, path


def test_the_download_is_one_playable_file(recorded, tmp_path):
    status, headers, body = recorded.request('GET', f'/api/v1/videos/{recorded.film}/download')
    assert status == 200 and f'{recorded.film}.mp4' in headers['Content-Disposition']
    (tmp_path / 'all.mp4').write_bytes(body)
    frames, warnings = matinee.count_frames(str(tmp_path / 'all.mp4'))
    assert frames['h264'] == 270 and warnings == ''


def test_thumbnails_are_pictures_where_the_track_says(recorded):
    text = recorded.get(f'/api/v1/videos/{recorded.film}/thumbnails.vtt').decode()
    assert text.startswith('WEBVTT\n')
    names = [line for line in text.splitlines() if line.endswith('.jpg')]
    assert len(names) == recorded.json(f'/api/v1/videos/{recorded.film}')['segments']
    picture = recorded.get(f'/api/v1/videos/{recorded.film}/{names[1]}')
    size = subprocess.run(['ffprobe', '-v', 'error', '-show_entries', 'stream=width,height', '-of', 'csv=p=0', '-'],
                          input=picture, capture_output=True, check=True).stdout.decode().strip()
    assert size == '320,180'
    assert recorded.request('GET', f'/api/v1/videos/{recorded.film}/thumbnails/99.jpg')[0] == 404


def test_a_deleted_video_is_gone_from_list_and_disk(make_server, tmp_path):
    server = make_server('--segment', '2', '--grace', '1')
    event = server.make_event('gone')
    clip = matinee.clip(tmp_path / 'c.mp4', 5)
    assert matinee.publish(clip, event['url'], '--speed', 'max').wait(30) == 0
    video = server.video(event)
    problem(server.request('DELETE', f'/api/v1/videos/{video}', admin=True), 409)
    server.end(event)
    assert list((server.data / 'store').rglob('*.m4s'))
    assert server.request('DELETE', f'/api/v1/videos/{video}', admin=True)[0] == 204
    problem(server.request('GET', f'/api/v1/videos/{video}'), 404)
    assert server.request('GET', f'/v/{video}/master.m3u8')[0] == 404
    assert not list((server.data / 'store').rglob('*.m4s'))
    assert server.event(event)['video'] is None
    server.kill()  # nothing brings it back
    server.start()
    assert server.json('/api/v1/videos')['items'] == []


def test_a_live_video_is_played_from_its_first_second(make_server):
    server = make_server('--segment', '2')
    event = server.make_event('live')
    publisher = matinee.publish('demo', event['url'], '--size', '320x180')
    try:
        started = time.monotonic()
        video = matinee.until(lambda: server.video(event), 5, 'the video')
        assert time.monotonic() - started < 3, 'within 2 s of the first keyframe'
        matinee.until(lambda: server.json(f'/api/v1/videos/{video}')['segments'] >= 3, what='three segments')
        playlist = server.get(f'/v/{video}/source/playlist.m3u8').decode()
        assert '#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES' in playlist and '000000.m4s' in playlist and 'ENDLIST' not in playlist
        manifest = server.get(f'/v/{video}/manifest.mpd').decode()
        assert 'type="dynamic"' in manifest
        status, headers, _ = server.request('GET', f'/api/v1/videos/{video}/data?offset=3600')
        assert status == 404 and int(headers['Retry-After']) > 0
        health = matinee.until(lambda: (server.event(event)['health'] or {}).get('fps', 0) > 20 and
                               server.event(event)['health'], what='a health report')
        assert health['videoCodec'] == 'H.264' and health['audioCodec'] == 'AAC' and health['height'] == 180
        assert 0 < health['keyframeInterval'] <= 2.1
    finally:
        matinee.end_process(publisher)


def test_a_ticket_event_is_closed_to_those_without(make_server, tmp_path):
    server = make_server('--segment', '2', '--grace', '1')
    event = server.make_event('paid', access='ticket')
    assert matinee.publish(matinee.clip(tmp_path / 'c.mp4', 4), event['url'], '--speed', 'max').wait(30) == 0
    server.end(event)
    video = server.video(event)
    for path in (f'/v/{video}/master.m3u8', f'/v/{video}/source/000000.m4s', f'/api/v1/videos/{video}/data?offset=0',
                 f'/api/v1/videos/{video}/download', f'/api/v1/videos/{video}/thumbnails.vtt'):
        problem(server.request('GET', path), 401)
        problem(server.request('GET', path, headers={'Authorization': 'Bearer x'}), 403)
        status, headers, _ = server.request('GET', path, admin=True)
        assert status == 200 and 'public' not in headers['Cache-Control'], path


def test_operations_answer(recorded):
    assert recorded.get('/healthz') == b'ok\n'
    assert recorded.get('/readyz') == b'ready\n'
    assert recorded.metric('matinee_segments_stored_total') > 0
    assert json.loads(recorded.get('/api/v1/openapi.json'))['openapi'].startswith('3.')
    for page in ('/', '/studio', f"/watch/{recorded.shown['id']}"):
        status, headers, body = recorded.request('GET', page)
        assert status == 200 and headers['Content-Type'].startswith('text/html') and b'<html' in body
        assert "default-src 'self'" in headers['Content-Security-Policy']
        packed = recorded.request('GET', page, headers={'Accept-Encoding': 'gzip'})
        assert packed[1]['Content-Encoding'] == 'gzip' and packed[1]['ETag'] != headers['ETag']
        for answer, accepted in ((headers, 'identity'), (packed[1], 'gzip')):
            again = {'Accept-Encoding': accepted, 'If-None-Match': answer['ETag']}
            assert recorded.request('GET', page, headers=again)[0] == 304


@pytest.mark.parametrize('request_text', [
    b'GET / HTTP/1.1\r\n\r\n', b'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
    b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd',
    b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc', b'GET / HTTP/1.1\r\nHost : a\r\n\r\n',
    b'GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n', b'GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n',
    b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n', b'\x16\x03\x01\x02\x00\x01'])
def test_shapes_of_smuggling_are_refused_and_the_connection_closed(recorded, request_text):
    answer = matinee.raw(recorded, request_text + b'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n')
    assert answer.startswith(b'HTTP/1.1 400'), answer[:80]
    assert answer.count(b'HTTP/1.1 ') == 1, 'what follows is never taken for a request'


def test_who_sends_a_head_slowly_is_let_go(recorded):
    url = urllib.parse.urlsplit(recorded.http)
    with socket.create_connection((url.hostname, url.port), timeout=20) as s:
        s.sendall(b'GET /healthz HTTP/1.1\r\nHost: a\r\nX: ')
        began = time.monotonic()
        answer = s.recv(4096)  # 408, or the end
        assert time.monotonic() - began < 15
        assert answer == b'' or b' 408 ' in answer.split(b'\r\n')[0]


def test_pipelined_requests_are_answered_in_order(recorded):
    answer = matinee.raw(recorded, b''.join(f'GET /api/v1/videos/{recorded.film}/data?offset={i} HTTP/1.1\r\nHost: a\r\n\r\n'.encode()
                                            if i % 2 else b'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n' for i in range(8)))
    assert answer.count(b'HTTP/1.1 200 OK') == 8
    kinds = [part.split(b'\r\n')[0] for part in answer.split(b'Content-Type: ')[1:]]
    assert kinds == [b'text/plain; charset=utf-8', b'video/mp4'] * 4


def test_garbage_on_the_rtmp_port_costs_nothing(recorded):
    url = urllib.parse.urlsplit(recorded.rtmp)
    for garbage in (b'\x00' * 4000, b'\x03' + b'\xff' * 5000, b'GET / HTTP/1.1\r\n\r\n', b'\x03'):
        with socket.create_connection((url.hostname, url.port), timeout=20) as s:
            s.sendall(garbage)
    assert recorded.get('/healthz') == b'ok\n'

"""The door of a ticketed show: who has a ticket gets in by every way there is, and nobody else by any."""
import base64
import hashlib
import hmac
import json
import re
import select
import threading
import time

import matinee
import pytest

SOURCES = matinee.ROOT / 'src' / 'api'
# What says of a ticketed video only that there is one. Everything else with a video in its path wants a token.
OPEN = {('GET', '/api/v1/videos/{videoId}'), ('PATCH', '/v/{videoId}/whep/{session}'), ('DELETE', '/v/{videoId}/whep/{session}')}


def call(house, method, path, body=None, headers=None, expect=200):
    status, answered, content = house.request(method, path, body, headers=headers)
    assert status == expect, content
    return json.loads(content) if content else None


def buy(house, inventory, key):
    path = f'/api/v1/inventories/{inventory}'
    held = call(house, 'POST', f'{path}/reservations', {'customer': 'Ada', 'quantity': 1}, {'Idempotency-Key': key}, 201)
    return call(house, 'POST', f"/api/v1/reservations/{held['id']}/confirm")


def show(server, tmp_path, title):
    """An event with a recording and an inventory of its own; its id, its video and its inventory."""
    event = server.make_event(title, access='ticket', inventory={'name': title, 'pool': 100})
    assert matinee.publish(matinee.clip(tmp_path / 'c.mp4', 4), event['url'], '--speed', 'max').wait(30) == 0
    server.end(event)
    return event, server.video(event), event['inventory']


@pytest.fixture
def house(make_server, tmp_path):
    server = make_server('--segment', '2', '--grace', '1')
    server.event_made, server.video_made, server.inventory = show(server, tmp_path, 'Opening night')
    return server


def bearer(token):
    return {'Authorization': f'Bearer {token}'}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def with_header(token, header):
    return '.'.join([b64(json.dumps(header).encode()), *token.split('.')[1:]])


def forged(token):
    """Tokens that an attacker could make of one."""
    head, claims, signature = token.split('.')
    yield 'no algorithm', with_header(token, {'alg': 'none', 'typ': 'JWT'})
    yield 'no algorithm, no signature', with_header(token, {'alg': 'none', 'typ': 'JWT'}).rsplit('.', 1)[0] + '.'
    yield 'another algorithm', with_header(token, {'alg': 'RS256', 'typ': 'JWT'})
    yield 'another key', '.'.join([head, claims, b64(hmac.new(b'guess', f'{head}.{claims}'.encode(), hashlib.sha256).digest())])
    said = json.loads(base64.urlsafe_b64decode(claims + '=='))
    later = b64(json.dumps({**said, 'exp': said['exp'] + 9999}, separators=(',', ':')).encode())
    yield 'a later end', '.'.join([head, later, signature])
    yield 'nothing', 'x'
    yield 'too long', token + 'A' * 1000


ROLES = {'ADMIN': 'admin', 'PRODUCER': 'producer', 'MODERATOR': 'moderator', 'BOX_OFFICE': 'box-office'}


def routes():
    """{(method, pattern): the roles that it is for} of every route of the API, out of its source; open to all where there are none."""
    return {(method, pattern): [role for flag, role in ROLES.items() if re.search(rf'\bROUTE_{flag}\b', flags)]
            for method, pattern, flags in rows()}


def rows():
    for file in sorted(SOURCES.glob('*.c')):
        text = file.read_text()
        words = dict(re.findall(r'^#define (\w+)\s+(".*")$', text, re.M))
        for table in re.findall(r'^const struct route \w+\[\] = \{(.*?)^\};', text, re.M | re.S):
            for method, pattern, flags in re.findall(r'\{HTTP_(\w+),\s*([^,]+?),\s*([^,]+?),', table):
                for word in sorted(words, key=len, reverse=True):
                    pattern = re.sub(rf'\b{word}\b', lambda _: words[word], pattern)
                yield method, ''.join(re.findall(r'"(.*?)"', pattern)), flags


def documented():
    paths = json.loads((matinee.ROOT / 'web' / 'openapi.json').read_text())['paths']
    return {(method.upper(), path) for path, what in paths.items() for method in what if method != 'parameters'}


def test_every_route_is_documented_and_so_is_in_the_matrix():
    known = {(method, re.sub(r'\{\w+\}', '{}', path)) for method, path in documented()}
    known |= {(method, path.replace('{}.jpg', '{}')) for method, path in known}
    found = set(routes())
    assert len(found) > 40
    assert found - known == set()


def private(video):
    """(method, path) of everything that is about one video."""
    fill = {'videoId': video, 'number': '0', 'window': '0', 'rendition': 'source', 'file': '000000.m4s', 'commentId': 'x', 'name': '360p'}
    for method, path in sorted(documented() - OPEN):
        if '{videoId}' not in path:
            continue
        yield method, re.sub(r'\{(\w+)\}', lambda m: fill[m[1]], path) + ('?offset=0' if path.endswith('/data') else '')


def send(house, method, path, headers):
    body, headers = None, dict(headers)
    if method == 'POST' and path.split('?')[0].endswith('/comments'):
        body = {'id': 'x', 'authorId': 'somebody', 'data': 'hello'}
    if path.split('?')[0].endswith('/whep'):
        body, headers = b'v=0\r\n', {**headers, 'Content-Type': 'application/sdp'}
    return house.request(method, path, body, headers=headers)[0]


def test_nobody_gets_in_by_any_way_without_a_good_token(house, make_server, tmp_path):
    _, other_video, other_inventory = show(house, tmp_path, 'Another night')
    good, cancelled, other = (buy(house, i, k)['ticket']['token'] for i, k in
                              ((house.inventory, 'good'), (house.inventory, 'cancelled'), (other_inventory, 'other')))
    reservation = json.loads(base64.urlsafe_b64decode(cancelled.split('.')[1] + '=='))['sub']
    assert house.request('DELETE', f'/api/v1/reservations/{reservation}')[0] == 204
    bad = [('revoked', cancelled), ('another event', other), *forged(good)]
    for attempt in ('at once', 'after a restart'):
        tried = 0
        for method, path in private(house.video_made):
            assert send(house, method, path, {}) == 401, (method, path)
            for name, token in bad:
                status = send(house, method, path, bearer(token))
                assert status == 403 or status == 401 and (method, path) in admin_only(house.video_made), (method, path, name, status)
                joined = path + ('&' if '?' in path else '?') + 'token=' + token
                assert send(house, method, joined, {}) in (401, 403), (method, path, name)
                assert send(house, method, path, {'Cookie': f'a=b; matinee-ticket={token}'}) in (401, 403), (method, path, name)
                tried += 1
        assert tried > 100
        for method, path in private(other_video):
            assert send(house, method, path, bearer(good)) in (401, 403), (method, path)
        house.kill()
        house.start()
    assert good not in house.said() and cancelled not in house.said()


def admin_only(video):
    """What a viewer may not do with a ticket either."""
    return {(m, p) for m, p in private(video) if m == 'DELETE' or '/renditions' in p or p.endswith(('/approve', '/export', '/import', '/webrtc'))}


def test_a_ticket_opens_every_way_in(house):
    video = house.video_made
    ticket = buy(house, house.inventory, 'k')['ticket']
    assert ticket['eventId'] == house.event_made['id']
    assert ticket['watchUrl'] == f"{house.http}/watch/{house.event_made['id']}#ticket={ticket['token']}"
    for method, path in private(video):
        if (method, path) in admin_only(video) or path.endswith('/comments/live'):
            continue
        joined = path + ('&' if '?' in path else '?') + 'token=' + ticket['token']
        assert send(house, method, path, bearer(ticket['token'])) not in (401, 403), (method, path)
        assert send(house, method, joined, {}) not in (401, 403), (method, path)
    status, headers, body = house.request('GET', f"/v/{video}/master.m3u8?token={ticket['token']}")
    cookie = headers['Set-Cookie']
    assert status == 200 and ticket['token'] not in body.decode() and 'private' in headers['Cache-Control']
    assert cookie.endswith('; HttpOnly; SameSite=Lax') and f'; Path=/v/{video}/; ' in cookie
    for file in ('master.m3u8', 'manifest.mpd', 'source/playlist.m3u8', 'source/000000.m4s', 'audio/000000.m4s'):
        status, headers, body = house.request('GET', f'/v/{video}/{file}', headers={'Cookie': f"x=y; {cookie.split(';')[0]}"})
        assert status == 200 and 'Set-Cookie' not in headers and ticket['token'].encode() not in body, file


def test_a_fresh_token_keeps_the_screen_and_ends_with_the_reservation(house):
    bought = buy(house, house.inventory, 'k')
    path = f"/api/v1/reservations/{bought['id']}"

    def said(token):
        return json.loads(base64.urlsafe_b64decode(token.split('.')[1] + '=='))

    first = bought['ticket']['token']
    same = call(house, 'POST', f'{path}/token', headers=bearer(first))['token']
    another = call(house, 'GET', path)['ticket']['token']
    assert said(same)['sid'] == said(first)['sid'] != said(another)['sid']
    assert said(same)['sub'] == bought['id'] and said(same)['event'] == house.event_made['id']
    began = time.monotonic()
    assert house.request('DELETE', path)[0] == 204
    for token in (first, same, another):
        assert house.request('GET', f'/v/{house.video_made}/master.m3u8', headers=bearer(token))[0] == 403
    print(f'refused {time.monotonic() - began:.3f} s after the cancellation was asked for')
    call(house, 'POST', f'{path}/token', expect=409)
    call(house, 'POST', f'{path}/confirm', expect=409)
    held = call(house, 'POST', f'/api/v1/inventories/{house.inventory}/reservations', {'customer': 'Bo', 'quantity': 1},
                {'Idempotency-Key': 'held'}, 201)
    call(house, 'POST', f"/api/v1/reservations/{held['id']}/token", expect=409)  # not yet a ticket
    call(house, 'POST', f"/api/v1/reservations/{'0' * 26}/token", expect=404)


def test_a_cancellation_that_is_refused_takes_no_ticket(house):
    bought = buy(house, house.inventory, 'k')
    path = f"/api/v1/reservations/{bought['id']}"
    assert house.request('DELETE', path, headers={'If-Match': '"999"'})[0] == 412
    assert house.request('GET', f'/v/{house.video_made}/master.m3u8', headers=bearer(bought['ticket']['token']))[0] == 200


def test_who_asks_for_tokens_while_a_ticket_is_given_back_has_none_that_opens(house):
    """Whatever the clock shows: a token is as old as the call that asked for it, and its end reaches a little ahead."""
    playlist, given = f'/v/{house.video_made}/master.m3u8', []

    def ask(path, ended):
        while not ended.is_set():
            status, _, body = house.request('POST', f'{path}/token')
            if status == 200:
                given.append(json.loads(body)['token'])

    for i in range(12):
        ended, path = threading.Event(), f"/api/v1/reservations/{buy(house, house.inventory, f'k{i}')['id']}"
        threads = [threading.Thread(target=ask, args=(path, ended)) for _ in range(3)]
        for thread in threads:
            thread.start()
        select.select([], [], [], 1 - (time.time() + .003) % 1)  # a token is as old as its second: the end of one is the moment to try
        assert house.request('DELETE', path)[0] == 204
        ended.set()
        for thread in threads:
            thread.join()
    refused = [house.request('GET', playlist, headers=bearer(token))[0] for token in given]
    assert len(given) > 12 and set(refused) == {403}


def test_an_inventory_without_an_event_gives_no_ticket(house):
    made = json.loads(house.request('POST', '/api/v1/inventories', {'name': 'x', 'locking': 'combining', 'holdSeconds': 60, 'pool': 5},
                                    admin=True)[2])
    bought = buy(house, made['id'], 'k')
    assert 'ticket' not in bought
    call(house, 'POST', f"/api/v1/reservations/{bought['id']}/token", expect=409)

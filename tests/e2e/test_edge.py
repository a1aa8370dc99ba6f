"""An edge in front of a live show: one copy for all viewers, nothing without a ticket, and a checker that finds each broken rule."""
import concurrent.futures
import http.client
import json
import os
import re
import subprocess

import edge
import matinee
import pytest

from low_latency import Fetch, check_hls
from test_tickets import bearer, buy

EDGES = {'nginx': edge.Nginx, 'varnish': edge.Varnish}


@pytest.fixture(scope='module')
def house(tmp_path_factory):
    """A public live show with half a minute behind it, and a ticketed recording."""
    folder = tmp_path_factory.mktemp('edge')
    server = matinee.Server(folder / 'data', '--segment', '2', '--edge-key', edge.KEY).start()
    event = server.make_event('live')
    assert matinee.publish('demo', event['url'], '--size', '320x180', '--duration', 30, '--speed', 'max').wait(60) == 0
    publisher = matinee.publish('demo', event['url'], '--size', '320x180')
    try:
        server.live = server.video(event)
        server.before = server.json(f'/api/v1/videos/{server.live}')['segments']
        matinee.until(lambda: server.json(f'/api/v1/videos/{server.live}')['segments'] > server.before, what='the second publisher')
        server.clip = matinee.clip(folder / 'c.mp4', 4)
        server.ticketed, server.inventory = show(server, access='ticket', inventory={'name': 'x', 'pool': 100})
        yield server
    finally:
        matinee.end_process(publisher)
        server.close()


def show(server, **more):
    """A recording, and the inventory of its event."""
    event = server.make_event('show', **more)
    assert matinee.publish(server.clip, event['url'], '--speed', 'max').wait(30) == 0
    server.end(event)
    return server.video(event), event.get('inventory')


@pytest.fixture
def front(house, tmp_path):
    """Starts edges; ends them all."""
    edges = []

    def make(kind, changes=(), **more):
        edges.append(EDGES[kind](tmp_path / f'edge{len(edges)}', more.pop('origin', house.http), changes, **more))
        return edges[-1]

    yield make
    for one in edges:
        one.close()


def check(front, video, *options, token=None):
    """{rule: verdict} and the exit status."""
    done = subprocess.run([matinee.MATINEE, 'edge-check', f'{front.http}/v/{video}/master.m3u8', '--json', *options],
                          capture_output=True, text=True, timeout=120, env={**os.environ, 'MATINEE_TOKEN': token or ''})
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    for rule in said['rules']:
        print(rule['verdict'], rule['rule'], rule['found'])
    return {rule['rule']: rule['verdict'] for rule in said['rules']}, done.returncode


def failed(verdicts):
    return {rule for rule, verdict in verdicts.items() if verdict == 'fail'}


# --- the edges as they are ------------------------------------------------------------------------------------------

@pytest.mark.parametrize('kind', EDGES)
def test_an_edge_keeps_every_rule_for_a_live_show(house, front, kind):
    doomed, _ = show(house)
    verdicts, status = check(front(kind), house.live, '--doomed', doomed, '--origin', house.http, token=house.token)
    assert failed(verdicts) == set() and status == 0
    assert {rule for rule, verdict in verdicts.items() if verdict == 'skip'} == {'tls', 'tickets'}


@pytest.mark.parametrize('kind', EDGES)
def test_an_edge_keeps_every_rule_for_a_ticketed_show(house, front, kind):
    token = buy(house, house.inventory, f'rules-{kind}')['ticket']['token']
    verdicts, status = check(front(kind), house.ticketed, '--ticket', token)
    assert failed(verdicts) == set() and status == 0
    assert verdicts['tickets'] == 'pass' and verdicts['hits'] == 'pass'


def test_nginx_speaks_http_2_over_tls(house, front):
    nginx = front('nginx', tls=True)
    verdicts, status = check(nginx, house.live, '--cacert', str(nginx.folder / 'cert.pem'))
    assert verdicts['tls'] == 'pass' and failed(verdicts) == set() and status == 0


@pytest.mark.long
@pytest.mark.alone
def test_a_low_latency_player_finds_every_rule_kept_behind_varnish(house, front):
    """Not behind nginx: who waits there for what another has asked for looks again every half second."""
    base = f"{front('varnish').http}/v/{house.live}"
    verdicts = check_hls(lambda: Fetch(base), 8)
    print(verdicts)
    assert verdicts.failures() == {}


def open_segment(house):
    """A path that grows for a second at least."""
    text = matinee.until(lambda: re.search(r'HINT:TYPE=PART,URI="(\d+)\.[0-3]\.m4s"', house.get(f'/v/{house.live}/source/playlist.m3u8').decode()),
                         what='a segment that has just begun')
    return f'/v/{house.live}/source/{text[1]}.m4s'


@pytest.mark.alone
def test_varnish_shares_a_segment_while_it_grows(house, front):
    """Low-latency DASH: all who follow it read one answer of the origin, and before it is whole."""
    varnish = front('varnish')
    path = open_segment(house)
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        got = list(pool.map(lambda _: Fetch(varnish.http)(path), range(10)))
    assert {answer.status for answer in got} == {200}
    assert len({answer.headers['Matinee-Answer'] for answer in got}) == 1
    assert len({answer.body for answer in got}) == 1
    assert all(answer.ended - answer.pieces[0][0] > .1 for answer in got)


def test_nginx_gives_who_follows_a_growing_segment_a_stream_of_his_own(house, front):
    nginx = front('nginx')
    path = open_segment(house)
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        got = list(pool.map(lambda _: Fetch(nginx.http)(path), range(5)))
    assert {answer.status for answer in got} == {200}
    assert len({answer.body for answer in got}) == 1


def test_a_dash_player_behind_nginx_reads_a_live_show(house, front):
    url = f"{front('nginx').http}/v/{house.live}/manifest.mpd"
    done = subprocess.run(['ffmpeg', '-nostdin', '-v', 'error', '-i', url, '-t', '4', '-f', 'null', '-'], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('kind', EDGES)
def test_a_crowd_at_two_tiers_is_one_request_at_the_origin(house, front, kind):
    """Shield and edges: a part that comes is asked for once, whoever waits for it."""
    shield = front(kind)
    edges = [front(kind, origin=shield.http) for _ in range(3)]
    path = f'/v/{house.live}/source/playlist.m3u8'
    hint = matinee.until(lambda: re.search(r'HINT:TYPE=PART,URI="(\d+)\.(\d+)\.m4s"', house.get(path).decode()), what='a hint')
    wanted = f'{path}?_HLS_msn={int(hint[1]) + 1}&_HLS_part=0'
    with concurrent.futures.ThreadPoolExecutor(60) as pool:
        got = list(pool.map(lambda i: house.request('GET', edges[i % 3].http + wanted), range(60)))
    assert {status for status, _, _ in got} == {200}
    assert len({headers['Matinee-Answer'] for _, headers, _ in got}) == 1


@pytest.mark.parametrize('kind', EDGES)
def test_one_copy_serves_all_ticket_holders_and_nobody_else(house, front, kind):
    url = f'{front(kind).http}/v/{house.ticketed}/source/000000.m4s'
    tokens = [buy(house, house.inventory, f'{kind}-{i}')['ticket']['token'] for i in range(3)]
    ways = [lambda t: (url, bearer(t)), lambda t: (f'{url}?token={t}', {}), lambda t: (url, {'Cookie': f'a=b; matinee-ticket={t}'})]
    got = [house.request('GET', *[path], headers=headers) for t in tokens for path, headers in (way(t) for way in ways)]
    assert {status for status, _, _ in got} == {200}
    assert len({headers['Matinee-Answer'] for _, headers, _ in got}) == 1
    assert all(headers['Cache-Control'].startswith('private') for _, headers, _ in got)
    cookies = [headers['Set-Cookie'] for _, headers, _ in got]
    assert [c is not None for c in cookies] == [False, True, False] * 3  # only who sent it in the query, and his own
    assert [c.split('=')[1].split(';')[0] for c in cookies if c] == tokens
    assert house.request('GET', url)[0] == 401
    assert house.request('GET', url, headers=bearer(tokens[0] + 'x'))[0] == 403


@pytest.mark.parametrize('kind', EDGES)
def test_a_cancelled_ticket_is_refused_at_the_edge_within_a_segment(house, front, kind):
    url = f'{front(kind).http}/v/{house.ticketed}/source/000000.m4s'
    reservation = buy(house, house.inventory, f'cancel-{kind}')
    headers = bearer(reservation['ticket']['token'])
    assert house.request('GET', url, headers=headers)[0] == 200
    assert house.request('DELETE', f"/api/v1/reservations/{reservation['id']}")[0] == 204
    matinee.until(lambda: house.request('GET', url, headers=headers)[0] == 403, 10, 'the refusal')


@pytest.mark.parametrize('kind', EDGES)
def test_who_only_says_that_he_is_an_edge_is_told_private(house, front, kind):
    token = buy(house, house.inventory, f'claims-{kind}')['ticket']['token']
    for claim in ('guess', edge.KEY + 'x', edge.KEY[:-1], ''):
        for base in (house.http, front(kind).http):
            _, headers, _ = house.request('GET', f'{base}/v/{house.ticketed}/master.m3u8', headers={**bearer(token), 'Matinee-Edge': claim})
            assert headers['Cache-Control'].startswith('private'), (claim, base)


@pytest.mark.parametrize('kind', EDGES)
def test_nobody_puts_an_answer_under_another_question_s_key(house, front, kind):
    """A name that an edge and the origin read differently: what the one keeps by is what the other answers to."""
    base = front(kind).http
    data, playlist = f'/api/v1/videos/{house.live}/data', f'/v/{house.live}/source/playlist.m3u8'
    for i, spelling in enumerate(('OFFSET={0}&%6Fffset=20', '%6Fffset=20&offset={0}', 'offset={0}&offset=20', 'offset=20&offset={0}',
                                  'offset={0}&Offset=20', 'x=%26offset=20&offset={0}')):
        said = spelling.format(2 * i)
        house.request('GET', f'{base}{data}?{said}')
        status, headers, _ = house.request('GET', f'{base}{data}?offset={2 * i}')
        assert status == 200 and headers['Matinee-Start'] == told(house, f'{data}?offset={2 * i}')['Matinee-Start'], said
    last = max(map(int, re.findall(r'^(\d+)\.m4s', house.get(playlist).decode(), re.M)))
    wanted = last + 2
    house.request('GET', f'{base}{playlist}?_HLS_MSN={wanted}&_hls_part=0')
    status, _, body = house.request('GET', f'{base}{playlist}?_HLS_msn={wanted}&_HLS_part=0', timeout=40)
    assert status == 200 and f'{wanted:06d}.0.m4s' in re.findall(r'PART:.*URI="([^"]+)"', body.decode())


@pytest.mark.parametrize('kind', EDGES)
def test_who_calls_through_a_shield_and_an_edge_is_counted_by_his_own_address(front, kind, make_server):
    origin = make_server('--limits', 'requests=36', '--limit-loopback', '--trusted-proxy', '127.0.0.1', '--edge-key', edge.KEY)
    outer = front(kind, origin=front(kind, origin=origin.http).http).http.split('//')[1]

    def call(source, **headers):
        connection = http.client.HTTPConnection(outer, timeout=20, source_address=(source, 0))
        try:
            connection.request('GET', '/api/v1/time', headers={'Connection': 'close', **headers})
            return connection.getresponse().status
        finally:
            connection.close()

    assert [call('127.0.0.2', **{'X-Forwarded-For': f'203.0.113.{i}'}) for i in range(7)] == [200] * 6 + [429]
    assert call('127.0.0.3') == 200


def test_what_nginx_logs_has_no_token(house, tmp_path):
    gone = edge.Nginx(tmp_path / 'gone', f'http://127.0.0.1:{matinee.free_port()}')
    try:
        token = buy(house, house.inventory, 'logged')['ticket']['token']
        assert house.request('GET', f'{gone.http}/v/{house.ticketed}/master.m3u8?token={token}')[0] in (502, 504)
    finally:
        gone.close()
    for file in gone.folder.rglob('*'):
        assert not file.is_file() or token.encode() not in file.read_bytes(), file


def test_varnish_forgets_by_surrogate_key(house, front):
    varnish = front('varnish')
    url = f'{varnish.http}/v/{house.live}/source/000000.m4s'
    number = lambda: house.request('GET', url)[1]['Matinee-Answer']  # noqa: E731
    before = number()
    assert number() == before
    assert house.request('BAN', varnish.http + '/', headers={'Surrogate-Key': '.*'})[0] == 400
    assert house.request('BAN', varnish.http + '/', headers={'Surrogate-Key': f'video-{house.live}'})[0] == 200
    assert number() != before


# --- what the origin says -------------------------------------------------------------------------------------------

def told(house, path, **headers):
    _, answered, _ = house.request('GET', path, headers={name.replace('_', '-'): value for name, value in headers.items()})
    return answered


def test_the_origin_tells_caches_how_long_and_by_which_name(house, front):
    base = f'/v/{house.live}/source'
    event = house.json(f'/api/v1/videos/{house.live}')['eventId']
    segment, text = told(house, f'{base}/000000.m4s'), told(house, f'{base}/playlist.m3u8')
    assert segment['Cache-Control'] == 'public, max-age=31536000, immutable'
    assert text['Cache-Control'] == 'public, max-age=1'
    assert text['CDN-Cache-Control'] == 'public, max-age=1, stale-while-revalidate=3'
    assert told(house, f'{base}/playlist.m3u8', Matinee_Edge=edge.KEY)['Cache-Control'] == text['CDN-Cache-Control']
    for answer in (segment, text):
        assert answer['Surrogate-Key'] == f'video-{house.live} event-{event}'
        assert answer['Cache-Tag'] == f'video-{house.live},event-{event}'
        assert answer['Access-Control-Allow-Origin'] == '*' and answer['ETag']
    assert text['Vary'] == 'Accept-Encoding'
    numbers = [told(house, f'{base}/000000.m4s')['Matinee-Answer'] for _ in range(5)]
    assert len(set(numbers)) == 5
    for kind in EDGES:  # browsers would be a poll behind with it
        assert told(house, f'{front(kind).http}{base}/playlist.m3u8')['Cache-Control'] == 'public, max-age=1'


def test_a_ticketed_show_is_the_viewer_s_own_but_to_an_edge_with_the_key(house):
    token = buy(house, house.inventory, 'own')['ticket']['token']
    for file in ('master.m3u8', 'source/playlist.m3u8', 'source/000000.m4s'):
        path = f'/v/{house.ticketed}/{file}'
        own, shared = (told(house, path, Authorization=f'Bearer {token}', Matinee_Edge=key) for key in ('', edge.KEY))
        assert own['Cache-Control'].startswith('private') and own['CDN-Cache-Control'] is None
        assert shared['Cache-Control'].startswith('public') and shared['Matinee-Access'] == 'ticket'
        assert told(house, f'{path}?token={token}')['Set-Cookie'] and told(house, f'{path}?token={token}', Matinee_Edge=edge.KEY)['Set-Cookie'] is None


def test_admission_is_the_door_s_word(house):
    path = f'/api/v1/videos/{house.ticketed}/admission'
    token = buy(house, house.inventory, 'word')['ticket']['token']
    asked = lambda path, **headers: house.request('GET', path, headers=headers)[0]  # noqa: E731
    assert asked(path) == 401 and asked(path, Authorization='Bearer x') == 403
    assert asked(path, Authorization=f'Bearer {token}') == asked(f'{path}?token={token}') == asked(path, Cookie=f'matinee-ticket={token}') == 204
    assert asked(f'/api/v1/videos/{house.live}/admission') == 204
    assert asked('/api/v1/videos/01ARZ3NDEKTSV4RRFFQ69G5FAV/admission') == 404
    assert told(house, path, Authorization=f'Bearer {token}')['Cache-Control'] == 'private, max-age=5'
    assert told(house, path)['Cache-Control'] == 'no-store'


# --- what is broken on purpose is found -----------------------------------------------------------------------------

ORIGIN_KEY = r'proxy_cache_key "\$uri";'
LIST_KEY = r'proxy_cache_key "\$uri\|\$arg__HLS_msn\|\$arg__HLS_part\|\$arg__HLS_skip\|\$edge_encoding";'
BROKEN = {
    'hits': [(r'^proxy_cache \$edge_zone;', 'proxy_cache off;')],
    'coalescing': [(r'^proxy_cache_lock on;', 'proxy_cache_lock off;')],
    'query': [(ORIGIN_KEY, 'proxy_cache_key "$uri$is_args$args";')],
    'cookie': [(ORIGIN_KEY, 'proxy_cache_key "$uri|$http_cookie";')],
    'reload-key': [(LIST_KEY, 'proxy_cache_key "$uri|$edge_encoding";')],
    'lifetimes': [(r'^add_header Cache-Control .*', 'add_header Cache-Control "public, max-age=3600" always;')],
    'freshness': [(LIST_KEY, r'proxy_cache_key "$uri|$arg__HLS_msn|$arg__HLS_part|$arg__HLS_skip|$edge_encoding";'
                             '\n    proxy_ignore_headers Cache-Control Vary;\n    proxy_cache_valid 200 1h;')],
    'refusals': [(r'^proxy_cache_revalidate on;', 'proxy_cache_revalidate on;\nproxy_ignore_headers Cache-Control;\n'
                                                  'proxy_cache_valid 200 1s;\nproxy_cache_valid any 1m;')],
    'ranges': [(r'^proxy_cache_revalidate on;', 'proxy_cache_revalidate on;\nmax_ranges 0;')],
    'conditional': [(r'^proxy_hide_header Cache-Control;', 'proxy_hide_header Cache-Control;\nproxy_hide_header ETag;\netag off;')],
    'cors': [(r'^proxy_hide_header Cache-Control;', 'proxy_hide_header Cache-Control;\nproxy_hide_header Access-Control-Allow-Origin;')],
    'compression': [(LIST_KEY, 'proxy_cache_key "$uri|$arg__HLS_msn|$arg__HLS_part|$arg__HLS_skip";')],
    'purge': [(r'^ +auth_request /_admission;', '')],
}


@pytest.mark.long
@pytest.mark.parametrize('rule', BROKEN)
def test_a_broken_rule_is_found(house, front, rule):
    more = ('--doomed', show(house)[0], '--origin', house.http) if rule == 'purge' else ()
    verdicts, status = check(front('nginx', BROKEN[rule]), house.live, *more, token=house.token)
    assert rule in failed(verdicts) and status == 1


def test_an_edge_that_lets_everybody_in_is_found(house, front):
    token = buy(house, house.inventory, 'open-door')['ticket']['token']
    verdicts, status = check(front('nginx', [(r'^ +auth_request /_admission;', '')]), house.ticketed, '--ticket', token)
    assert 'tickets' in failed(verdicts) and status == 1


def test_a_ticketed_show_without_the_edge_s_key_is_kept_by_nobody(house, front):
    token = buy(house, house.inventory, 'no-key')['ticket']['token']
    verdicts, status = check(front('nginx', [(r'Matinee-Edge \$edge_key', 'Matinee-Edge ""')]), house.ticketed, '--ticket', token)
    assert 'hits' in failed(verdicts) and verdicts['tickets'] == 'pass' and status == 1


def test_tls_without_http_2_is_found(house, front):
    nginx = front('nginx', tls=True)
    (nginx.folder / 'nginx.conf').write_text((nginx.folder / 'nginx.conf').read_text().replace(' ssl http2;', ' ssl;'))
    nginx.reload()
    verdicts, status = check(nginx, house.live, '--cacert', str(nginx.folder / 'cert.pem'))
    assert failed(verdicts) == {'tls'} and status == 1


def test_the_checker_says_what_keeps_it_from_trying(house):
    run = lambda *words: subprocess.run([matinee.MATINEE, 'edge-check', *words], capture_output=True, text=True)  # noqa: E731
    for words, status, said in (((), 2, 'wants one address'), (('http://127.0.0.1:1/',), 2, 'address of a video'),
                                ((f'http://127.0.0.1:{matinee.free_port()}/v/{house.live}/',), 1, 'connect'),
                                ((f'{house.http}/v/{house.ticketed}/',), 1, '--ticket')):
        done = run(*words)
        assert done.returncode == status and said in done.stderr, (words, done)

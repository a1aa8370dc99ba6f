"""Who may do what: every route that is not for all, by every kind of token, out of the source, so that no route can be forgotten."""
import json
import re
import subprocess

import matinee
import pytest
import test_tickets

NOBODYS = 'a' * 32


def protected():
    """Those that are not for all; what takes away what others are about comes last."""
    found = {key: roles for key, roles in test_tickets.routes().items() if roles}
    return dict(sorted(found.items(), key=lambda r: (r[0][0] == 'DELETE', -len(r[0][1]), 'events' in r[0][1], r[0])))


def fill(pattern, event):
    first = {'events': event['id'], 'videos': event['video'], 'inventories': event['inventory'], 'tokens': '0' * 26}
    noun = pattern.split('/')[3]
    return pattern.replace('{}', first.get(noun, 'x'), 1).replace('{}', 'x')


def call(house, method, path, token=None, body=None):
    """A call that changes nothing but by DELETE: its body is wrong, or none."""
    headers = {'Authorization': f'Bearer {token}'} if token else {}
    if body is None and method in ('POST', 'PATCH'):
        body = {'nothing': 1}
    status, _, content = house.request(method, path, body, headers=headers)
    return status, json.loads(content) if content[:1] == b'{' else None


def make_token(house, name, role, **more):
    status, _, body = house.request('POST', '/api/v1/tokens', {'name': name, 'role': role, **more}, admin=True)
    assert status == 201, body
    return json.loads(body)


@pytest.fixture(scope='module')
def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp('roles')
    server = matinee.Server(folder / 'data', '--segment', '2', '--grace', '1', '--webrtc', '127.0.0.1:0')
    server.start()
    clip = matinee.clip(folder / 'c.mp4', 3)
    yield server, clip
    server.close()


def show(server, clip, title):
    event = server.make_event(title, access='ticket', inventory={'name': title, 'pool': 10})
    assert matinee.publish(clip, event['url'], '--speed', 'max').wait(30) == 0
    server.end(event)
    return server.event(event)


def test_every_protected_route_is_for_its_roles_and_for_nobody_else(house):
    server, clip = house
    own, other = show(server, clip, 'own'), show(server, clip, 'other')
    tokens = {name: make_token(server, name, role, **more) for name, role, more in (
        ('admin', 'admin', {}), ('producer', 'producer', {'events': [own['id']]}), ('moderator', 'moderator', {'events': [own['id']]}),
        ('any moderator', 'moderator', {}), ('box-office', 'box-office', {'events': [own['id']]}), ('any box-office', 'box-office', {}),
        ('revoked', 'admin', {}))}
    assert server.request('DELETE', f"/api/v1/tokens/{tokens['revoked']['id']}", admin=True)[0] == 204
    routes = protected()
    assert len(routes) >= 29
    tried = 0
    for (method, pattern), roles in routes.items():
        for event in (other, own):
            path = fill(pattern, event)
            assert call(server, method, path)[0] == 401, (method, path)
            for nobody in (NOBODYS, tokens['revoked']['token']):
                assert call(server, method, path, nobody)[0] == 401, (method, path)
            for name, token in tokens.items():
                if name in ('admin', 'revoked') or name in roles and event is own or name.removeprefix('any ') in roles and 'any' in name:
                    continue
                if name == 'producer' and name in roles and '{}' not in pattern:
                    continue  # it makes something of its own
                status, said = call(server, method, path, token['token'])
                assert (status, said['title']) == (403, 'role-needed'), (name, method, path, status, said)
                assert 'Ask the admin' in said['detail'] and role_of(token) in said['detail']
                tried += 1
    assert tried > 150
    for (method, pattern), roles in routes.items():
        for name in ('producer', 'moderator', 'any moderator', 'box-office', 'any box-office', 'admin'):
            if name.removeprefix('any ') not in roles or name == 'box-office' and '{}' not in pattern:
                continue
            status, said = call(server, method, fill(pattern, own), tokens[name]['token'])
            assert status not in (401, 403), (name, method, pattern, status, said)


def role_of(token):
    return f"'{token['role']}'"


def test_the_description_says_which_roles_a_call_is_for():
    paths = json.loads((matinee.ROOT / 'web' / 'openapi.json').read_text())['paths']
    said = {(method.upper(), re.sub(r'\{\w+\}', '{}', path)): what['x-roles'] for path, verbs in paths.items()
            for method, what in verbs.items() if method != 'parameters' and 'x-roles' in what}
    assert said == protected()
    page = (matinee.ROOT / 'docs' / 'security.md').read_text()
    for (method, pattern), roles in protected().items():
        line = f"| `{method} {pattern}` | {', '.join(roles)} |"
        assert line in page, line


def test_what_a_producers_token_makes_is_its_own_and_others_tickets_stay_theirs(house):
    server, clip = house
    other = show(server, clip, 'other')
    ann, bob = (make_token(server, name, 'producer')['token'] for name in ('Ann', 'Bob'))
    status, event = call(server, 'POST', '/api/v1/events', ann, {'title': "Ann's", 'access': 'ticket'})
    assert status == 201
    path = f"/api/v1/events/{event['id']}"
    assert call(server, 'PATCH', path, ann, {'title': 'Ann’s own'})[0] == 200
    assert call(server, 'PATCH', path, bob, {'title': 'Bob’s'})[0] == 403
    status, said = call(server, 'PATCH', path, ann, {'inventory': other['inventory']})
    assert status == 403 and "another producer's" in said['detail']
    nobodys = json.loads(server.request('POST', '/api/v1/inventories', {'name': 'x', 'pool': 5}, admin=True)[2])['id']
    for method, at, more in (('PATCH', path, {}), ('POST', '/api/v1/events', {'title': 'x'})):
        assert call(server, method, at, ann, {**more, 'inventory': nobodys})[0] == 403
    assert call(server, 'PATCH', f'/api/v1/inventories/{nobodys}', ann, {'holdSeconds': 60})[0] == 403
    status, made = call(server, 'PATCH', path, ann, {'inventory': {'name': 'x', 'pool': 5}})
    assert status == 200
    assert call(server, 'PATCH', f"/api/v1/inventories/{made['inventory']}", ann, {'holdSeconds': 60})[0] == 200
    assert call(server, 'PATCH', f"/api/v1/inventories/{made['inventory']}", bob, {'holdSeconds': 60})[0] == 403
    server.kill()
    server.start()
    assert call(server, 'PATCH', path, ann, {'title': 'still'})[0] == 200


def test_a_producer_and_a_moderator_watch_their_show_without_a_ticket(house):
    server, clip = house
    own, other = show(server, clip, 'own'), show(server, clip, 'other')
    for role, status in (('producer', 200), ('moderator', 200), ('box-office', 403)):
        token = make_token(server, role, role, events=[own['id']])['token']
        headers = {'Authorization': f'Bearer {token}'}
        for path in ('/v/{}/master.m3u8', '/v/{}/source/000000.m4s', '/api/v1/videos/{}/data', '/api/v1/videos/{}/comments'):
            assert server.request('GET', path.format(own['video']), headers=headers)[0] == status, (role, path)
            assert server.request('GET', path.format(other['video']), headers=headers)[0] == 403, (role, path)


def test_a_token_is_shown_once_kept_as_a_hash_and_says_when_it_was_used(house):
    server, _ = house
    made = make_token(server, 'Käthe', 'moderator')
    assert made['lastUsedAt'] is None and made['events'] is None and len(made['token']) == 32
    assert call(server, 'GET', '/api/v1/spool', made['token'])[0] == 403
    listed = matinee.until(lambda: next((t for t in json.loads(server.request('GET', '/api/v1/tokens?limit=500', admin=True)[2])['items']
                                         if t['id'] == made['id'] and t['lastUsedAt']), None), 5, 'the last use')
    assert 'token' not in listed and listed['name'] == 'Käthe' and listed['lastUsedAt'] >= made['createdAt']
    assert server.stop() == 0
    for file in server.data.rglob('*'):
        assert not file.is_file() or made['token'].encode() not in file.read_bytes(), file
    server.start()
    again = json.loads(server.request('GET', '/api/v1/tokens?limit=500', admin=True)[2])['items']
    assert listed['lastUsedAt'] == next(t['lastUsedAt'] for t in again if t['id'] == made['id'])


def test_a_box_office_sees_who_has_booked_with_it_and_nobody_elses(house):
    server, clip = house
    own, other = show(server, clip, 'own'), show(server, clip, 'other')
    desk = make_token(server, 'desk', 'box-office', events=[own['id']])['token']
    path = f"/api/v1/inventories/{own['inventory']}/reservations"
    made = []
    for i, name in enumerate(('Ada Lovelace', 'Grace Hopper', 'ada', '50% _ off', 'Käthe & Söhne')):
        status, _, body = server.request('POST', path, {'customer': name, 'quantity': 1}, headers={'Idempotency-Key': str(i)})
        assert status == 201
        made.append(json.loads(body))
    for i, act in ((0, 'POST'), (1, 'DELETE')):
        assert server.request(act, f"/api/v1/reservations/{made[i]['id']}" + ('/confirm' if act == 'POST' else ''))[0] in (200, 204)

    def listed(query='', expect=200):
        status, said = call(server, 'GET', path + query, desk)
        assert status == expect, said
        return [r['customer'] for r in said['items']] if status == 200 else said['title']

    everybody = [r['customer'] for r in sorted(made, key=lambda r: r['id'], reverse=True)]  # in one millisecond, in any order
    assert listed() == everybody
    whole = next(r for r in call(server, 'GET', path, desk)[1]['items'] if r['id'] == made[0]['id'])
    assert whole == {k: v for k, v in call(server, 'GET', f"/api/v1/reservations/{made[0]['id']}")[1].items() if k != 'ticket'}
    assert listed('?state=confirmed') == ['Ada Lovelace'] and listed('?state=cancelled') == ['Grace Hopper'] and listed('?state=expired') == []
    assert sorted(listed('?customer=ADA')) == ['Ada Lovelace', 'ada'] and listed('?customer=%25%20_') == ['50% _ off'] and listed('?customer=%25a') == []
    assert listed('?state=held&customer=ada') == ['ada']
    for wrong in ('state=king', 'state=', 'customer=', 'limit=0', 'after=x', 'customer=' + 'x' * 900):
        assert listed('?' + wrong, 400) == 'bad-parameter'
    seen, after = [], path + '?limit=2'
    while after:
        status, headers, body = server.request('GET', after, headers={'Authorization': f'Bearer {desk}'})
        assert status == 200 and headers['Cache-Control'] == 'no-store'
        seen += [r['customer'] for r in json.loads(body)['items']]
        after = headers['Link'] and headers['Link'].split('>')[0].lstrip('<')
    assert seen == everybody
    assert call(server, 'GET', f"/api/v1/inventories/{other['inventory']}/reservations", desk)[0] == 403
    assert call(server, 'GET', f"/api/v1/inventories/{'0' * 26}/reservations", server.token)[0] == 404


def test_a_list_that_is_narrowed_stays_so_on_its_next_page(house):
    server, clip = house
    own = show(server, clip, 'own')
    path = f"/api/v1/inventories/{own['inventory']}/reservations"
    for i, name in enumerate(('A & B 1', 'C', 'A & B 2', 'A & B 3')):
        assert server.request('POST', path, {'customer': name, 'quantity': 1}, headers={'Idempotency-Key': str(i)})[0] == 201
    _, first, body = server.request('GET', path + '?limit=2&state=held&customer=a%20%26%20b', admin=True)
    _, second, rest = server.request('GET', first['Link'].split('>')[0].lstrip('<'), admin=True)
    pages = [[r['customer'] for r in json.loads(page)['items']] for page in (body, rest)]
    assert [len(page) for page in pages] == [2, 1] and second['Link'] is None
    assert sorted(sum(pages, [])) == ['A & B 1', 'A & B 2', 'A & B 3']
    done = subprocess.run([matinee.MATINEE, 'inventory', 'reservations', own['inventory'], '--customer', 'a & b', '--state', 'held', '--server', server.http,
                           '--token-file', server.data / 'admin.token'], capture_output=True, text=True)
    assert done.returncode == 0 and re.findall(r'A & B \d', done.stdout) == sum(pages, []), done


@pytest.mark.parametrize('wrong', [{}, {'name': 'x'}, {'name': 'x', 'role': 'king'}, {'name': '', 'role': 'admin'},
                                   {'name': 'x', 'role': 'moderator', 'events': ['0' * 26]}, {'name': 'x', 'role': 'moderator', 'events': []},
                                   {'name': 'x', 'role': 'admin', 'events': []}, {'name': 'x', 'role': 'producer', 'events': 'all'},
                                   {'name': 'x', 'role': 'admin', 'more': 1}])
def test_a_token_that_makes_no_sense_is_refused(house, wrong):
    assert house[0].request('POST', '/api/v1/tokens', wrong, admin=True)[0] == 422


def test_tokens_from_a_shell(house):
    server, _ = house

    def run(*words):
        done = subprocess.run([matinee.MATINEE, 'token', *words, '--server', server.http, '--token-file', server.data / 'admin.token'],
                              capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    status, said, _ = run('create', 'Front desk', '--role', 'box-office', '--json')
    made = json.loads(said)
    assert status == 0 and call(server, 'GET', '/api/v1/inventories', made['token'])[0] == 200
    status, said, _ = run('list')
    assert status == 0 and re.search(rf"{made['id']}  box-office  all  .*Front desk", said)
    assert run('revoke', made['id'])[0] == 0
    assert call(server, 'GET', '/api/v1/inventories', made['token'])[0] == 401
    assert run('create', 'x')[0] == 2 and run('create', 'x', '--role', 'king')[0] == 1

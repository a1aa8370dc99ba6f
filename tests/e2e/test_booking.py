"""The box office's calls as docs/api.md has them: right answers, and clear ones to wrong questions."""
import concurrent.futures
import datetime
import http.client
import itertools
import json
import re
import socket
import urllib.parse

import matinee
import pytest

KEYS = (f'key-{n}' for n in itertools.count())


@pytest.fixture(scope='module')
def house(tmp_path_factory):
    server = matinee.Server(tmp_path_factory.mktemp('office') / 'data').start()
    yield server
    server.close()


def make(server, admin=True, **plan):
    plan = {'name': 'Hall', **plan}
    status, headers, body = server.request('POST', '/api/v1/inventories', plan, admin=admin)
    assert status == 201, body
    inventory = json.loads(body)
    assert headers['Location'] == f"/api/v1/inventories/{inventory['id']}"
    return f"/api/v1/inventories/{inventory['id']}"


def reserve(server, inventory, key=None, match=None, **wanted):
    headers = {'Idempotency-Key': key or next(KEYS), **({'If-Match': match} if match else {})}
    status, fields, body = server.request('POST', inventory + '/reservations', {'customer': 'Ann', **wanted}, headers)
    return status, fields, json.loads(body)


def held(server, inventory, **wanted):
    status, fields, answer = reserve(server, inventory, **wanted)
    assert status == 201, answer
    assert fields['Location'] == f"/api/v1/reservations/{answer['id']}" and fields['ETag'] == f'"{answer["version"]}"'
    return answer


def call(server, method, path, body=None, **headers):
    status, fields, text = server.request(method, path, body, {k.replace('_', '-'): v for k, v in headers.items()})
    return status, fields, json.loads(text) if text else None


def problem(answer, status, slug):
    got, fields, document = answer
    assert (got, document['title']) == (status, slug), answer
    assert fields['Content-Type'] == 'application/problem+json' and document['detail']
    return document


def units(server, inventory):
    return {u['key']: u for u in server.json(inventory + '/units?limit=500')['items']}


def test_an_inventory_of_each_kind(house):
    seats = house.json(make(house, seats={'rows': 28, 'perRow': 2}, locking='combining', holdSeconds=60))
    assert seats['capacity'] == 56 and seats['held'] == seats['sold'] == 0 and seats['locking'] == 'combining'
    assert seats['seats'] == {'rows': 28, 'perRow': 2} and seats['holdSeconds'] == 60
    assert 'AB-2' in units(house, f"/api/v1/inventories/{seats['id']}")
    nights = make(house, nights={'from': '2028-02-27', 'to': '2028-03-02', 'rooms': 3})
    assert list(units(house, nights)) == ['2028-02-27', '2028-02-28', '2028-02-29', '2028-03-01']
    assert units(house, make(house, pool=500))['pool']['capacity'] == 500
    assert list(units(house, make(house, units=[{'key': 'Loge é', 'capacity': 4}, {'key': 'A', 'capacity': 1}]))) == ['A', 'Loge é']
    listed = house.request('GET', '/api/v1/inventories?limit=2', admin=True)
    assert len(json.loads(listed[2])['items']) == 2 and 'rel="next"' in listed[1]['Link']


def test_units_come_in_pages(house):
    inventory, seen, path = make(house, units=[{'key': f'{n:03d} %&/ü', 'capacity': 1} for n in range(7)]), [], '/units?limit=3'
    path = inventory + path
    while path:
        status, headers, body = house.request('GET', path)
        seen += [u['key'] for u in json.loads(body)['items']]
        path = re.match(r'<([^>]+)>; rel="next"', headers.get('Link', ''))
        path = path and path[1]
    assert seen == [f'{n:03d} %&/ü' for n in range(7)]


@pytest.mark.parametrize('plan', [
    {}, {'pool': 0}, {'pool': -1}, {'pool': 1.5}, {'pool': 'many'}, {'pool': 2 ** 63}, {'pool': 10 ** 9 + 1}, {'pool': 1, 'seats': {}},
    {'seats': {'rows': 0, 'perRow': 5}}, {'seats': {'rows': 1001, 'perRow': 1000}}, {'seats': {'rows': 1, 'perRow': 1, 'x': 1}},
    {'seats': 5}, {'units': []}, {'units': [{'key': 'a', 'capacity': 0}]}, {'units': [{'key': 'a'}]}, {'units': [{'capacity': 1}]},
    {'units': [{'key': 'a', 'capacity': 1}, {'key': 'a', 'capacity': 1}]}, {'units': [{'key': 'x' * 65, 'capacity': 1}]},
    {'units': [{'key': '', 'capacity': 1}]}, {'units': [{'key': 'a\tb', 'capacity': 1}]}, {'units': 'A-1'},
    {'nights': {'from': '2026-12-24', 'to': '2026-12-24', 'rooms': 1}}, {'nights': {'from': '2026-02-30', 'to': '2026-03-05', 'rooms': 1}},
    {'nights': {'from': '2026-12-24', 'to': '2026-12-26'}}, {'nights': {'from': 'x', 'to': 'y', 'rooms': 1}},
    {'pool': 1, 'locking': 'hopeful'}, {'pool': 1, 'holdSeconds': 0}, {'pool': 1, 'holdSeconds': 86401}, {'pool': 1, 'colour': 'red'},
    {'pool': 1, 'name': ''}, {'pool': 1, 'name': 'x' * 201}])
def test_an_impossible_inventory_is_refused(house, plan):
    status, fields, body = house.request('POST', '/api/v1/inventories', {'name': 'Hall', **plan}, admin=True)
    assert status == 422 and json.loads(body)['detail'], body


def test_inventories_are_the_producers(house):
    assert house.request('POST', '/api/v1/inventories', {'name': 'x', 'pool': 1})[0] == 401
    path = make(house, pool=5)
    assert house.request('PATCH', path, {'name': 'y'})[0] == 401
    status, headers, body = house.request('PATCH', path, {'name': 'New', 'locking': 'optimistic', 'holdSeconds': 5}, admin=True)
    changed = json.loads(body)
    assert status == 200 and (changed['name'], changed['locking'], changed['holdSeconds']) == ('New', 'optimistic', 5)
    assert house.request('GET', path, headers={'If-None-Match': headers['ETag']})[0] == 304
    assert house.request('PATCH', path, {'pool': 7}, admin=True)[0] == 422
    assert house.request('PATCH', '/api/v1/inventories/' + '0' * 26, {'name': 'y'}, admin=True)[0] == 404


def test_a_reservation_is_held_confirmed_and_cancelled(house):
    path = make(house, seats={'rows': 2, 'perRow': 3}, holdSeconds=120)
    r = held(house, path, units=[{'key': 'B-2', 'quantity': 1}, {'key': 'A-1', 'quantity': 1}])
    assert r['state'] == 'held' and r['customer'] == 'Ann' and r['version'] == 1 and r['inventoryId'] in path
    assert r['units'] == [{'key': 'A-1', 'quantity': 1}, {'key': 'B-2', 'quantity': 1}]
    moments = [datetime.datetime.fromisoformat(r[m].replace('Z', '+00:00')) for m in ('createdAt', 'expiresAt')]
    assert moments[1] - moments[0] == datetime.timedelta(seconds=120)
    mine = f"/api/v1/reservations/{r['id']}"
    assert house.json(mine) == r and units(house, path)['A-1']['held'] == 1
    status, fields, confirmed = call(house, 'POST', mine + '/confirm')
    assert status == 200 and confirmed['state'] == 'confirmed' and fields['ETag'] == '"2"'
    assert call(house, 'POST', mine + '/confirm')[2] == confirmed
    assert units(house, path)['A-1']['sold'] == 1 and house.json(path)['sold'] == 2
    for _ in range(2):
        assert call(house, 'DELETE', mine)[0] == 204
    problem(call(house, 'POST', mine + '/confirm'), 409, 'cancelled')
    assert house.json(mine)['state'] == 'cancelled' and house.json(path)['sold'] == 0
    for method, tail in (('GET', ''), ('DELETE', ''), ('POST', '/confirm')):
        assert call(house, method, '/api/v1/reservations/' + '0' * 26 + tail)[0] == 404
        assert call(house, method, '/api/v1/reservations/not-an-id' + tail)[0] == 404


def test_nights_and_pools(house):
    hotel = make(house, nights={'from': '2026-12-20', 'to': '2026-12-31', 'rooms': 2})
    r = held(house, hotel, **{'from': '2026-12-24', 'to': '2026-12-27', 'rooms': 2})
    assert r['units'] == [{'key': f'2026-12-{day}', 'quantity': 2} for day in (24, 25, 26)]
    refused = problem(reserve(house, hotel, **{'from': '2026-12-26', 'to': '2026-12-28'}), 409, 'sold-out')
    assert refused['left'] == [{'key': '2026-12-26', 'left': 0}]
    for nights in ({'from': '2026-12-27', 'to': '2026-12-27'}, {'from': '2026-12-28', 'to': '2026-12-25'}, {'from': '2026-12-24'},
                   {'from': '2026-12-30', 'to': '2027-01-02'}, {'from': '24.12.2026', 'to': '26.12.2026'},
                   {'from': '2026-12-20', 'to': '2026-12-21', 'rooms': 0}, {'from': '2026-12-20', 'to': '2026-12-21', 'rooms': 3},
                   {'quantity': 1}):
        assert reserve(house, hotel, **nights)[0] == 422, nights
    pool = make(house, pool=10)
    held(house, pool, quantity=7)
    assert problem(reserve(house, pool, quantity=4), 409, 'sold-out')['left'] == [{'key': 'pool', 'left': 3}]
    assert reserve(house, pool, **{'from': '2026-12-24', 'to': '2026-12-25'})[0] == 422


@pytest.mark.parametrize('wanted', [
    {'units': [{'key': 'A-9', 'quantity': 1}]}, {'units': [{'key': 'A-1', 'quantity': 0}]}, {'units': [{'key': 'A-1', 'quantity': -1}]},
    {'units': [{'key': 'A-1', 'quantity': 2}]}, {'units': [{'key': 'A-1', 'quantity': 2 ** 63}]}, {'units': []}, {'units': 'A-1'},
    {'units': [{'key': 'A-1', 'quantity': 2 ** 63 - 1}]}, {'units': [{'key': 'A-1', 'quantity': 1}] * 2}, {'units': [{'key': 'A-1'}]},
    {'units': [{'key': 'A-1', 'quantity': 1.0}]}, {'units': [{'key': 7, 'quantity': 1}]}, {'units': [['A-1', 1]]}, {},
    {'units': [{'key': f'A-{n}', 'quantity': 1} for n in range(1, 10001)]}, {'quantity': 0}, {'quantity': -3}, {'quantity': 7},
    {'quantity': '1'}, {'quantity': 1, 'units': [{'key': 'A-1', 'quantity': 1}]}, {'quantity': 1, 'colour': 'red'},
    {'quantity': 1, 'customer': ''}, {'quantity': 1, 'customer': 'x' * 201}, {'quantity': 1, 'customer': None},
    {'units': [{'key': "A-1' OR '1'='1", 'quantity': 1}]}, {'units': [{'key': 'A-1', 'quantity': 1, 'x': 1}]}])
def test_an_impossible_wish_is_refused_and_takes_nothing(house, wanted):
    path = make(house, seats={'rows': 2, 'perRow': 3})
    status, fields, answer = reserve(house, path, **wanted)
    assert status == 422 and answer['detail'], answer
    assert house.json(path)['held'] == 0


def test_sql_in_every_text_is_text(house):
    evil = "'); DROP TABLE units; --"
    path = make(house, name=evil, units=[{'key': evil, 'capacity': 2}])
    r = held(house, path, customer=evil, key='\'";--', units=[{'key': evil, 'quantity': 1}])
    assert house.json(f"/api/v1/reservations/{r['id']}")['customer'] == evil
    assert units(house, path)[evil]['held'] == 1 and house.json(path)['name'] == evil


def test_an_idempotency_key_has_one_effect_and_one_answer(house):
    path = make(house, pool=3)
    first = held(house, path, key='once', quantity=2)
    mine = f"/api/v1/reservations/{first['id']}"
    assert call(house, 'PATCH', mine, {'units': [{'key': 'pool', 'quantity': 1}]}, If_Match='"1"')[0] == 200
    assert call(house, 'DELETE', mine)[0] == 204
    held(house, path, quantity=3)
    status, fields, again = reserve(house, path, key='once', quantity=2)
    assert status == 201 and again == first and fields['ETag'] == '"1"'
    # The same request in another spelling, and another request.
    body = '{ "quantity" : 2,\n"customer":"\\u0041nn"}'
    assert house.request('POST', path + '/reservations', body, {'Idempotency-Key': 'once', 'Content-Type': 'application/json'})[0] == 201
    problem(reserve(house, path, key='once', quantity=1), 422, 'key-reused')
    assert held(house, make(house, pool=3), key='once', quantity=1)['id'] != first['id']  # another inventory, another scope
    # Refusals are not kept: the key may be tried again.
    problem(reserve(house, path, key='later', quantity=1), 409, 'sold-out')
    assert reserve(house, path, key='later', quantity=4)[0] == 422


@pytest.mark.parametrize('key', [None, '', ' ', 'x' * 256, 'a b', 'k\u00e9y'])
def test_a_bad_idempotency_key_is_400(house, key):
    headers = {} if key is None else {'Idempotency-Key': key.encode('latin-1').decode('latin-1')}
    status, _, body = house.request('POST', make(house, pool=1) + '/reservations', {'customer': 'Ann', 'quantity': 1}, headers)
    assert status == 400 and 'Idempotency-Key' in json.loads(body)['detail']


def test_the_longest_key_is_a_key(house):
    held(house, make(house, pool=1), key='~' * 255, quantity=1)


def test_a_change_is_whole_or_nothing(house):
    path = make(house, seats={'rows': 1, 'perRow': 4})
    r = held(house, path, units=[{'key': 'A-1', 'quantity': 1}, {'key': 'A-2', 'quantity': 1}])
    held(house, path, units=[{'key': 'A-4', 'quantity': 1}])
    mine = f"/api/v1/reservations/{r['id']}"
    wish = {'units': [{'key': 'A-2', 'quantity': 1}, {'key': 'A-3', 'quantity': 1}]}
    problem(call(house, 'PATCH', mine, wish), 428, 'if-match-needed')
    problem(call(house, 'PATCH', mine, wish, If_Match='"7"'), 412, 'changed')
    for malformed in ('7', '"7', 'x"7"', '"1", "2"'):
        assert call(house, 'PATCH', mine, wish, If_Match=malformed)[0] == 400, malformed
    problem(call(house, 'PATCH', mine, wish, If_Match='W/"1"'), 412, 'changed')
    problem(call(house, 'PATCH', mine, {'units': [{'key': 'A-3', 'quantity': 1}, {'key': 'A-4', 'quantity': 1}]}, If_Match='"1"'), 409, 'sold-out')
    assert house.json(mine) == r
    status, fields, moved = call(house, 'PATCH', mine, wish, If_Match='"1"')
    assert status == 200 and fields['ETag'] == '"2"' and moved['units'] == wish['units'] and moved['expiresAt'] == r['expiresAt']
    assert call(house, 'PATCH', mine, wish, If_Match='"1"')[0] == 200  # the same once more, after a lost answer
    problem(call(house, 'PATCH', mine, {'units': [{'key': 'A-1', 'quantity': 1}]}, If_Match='"1"'), 412, 'changed')
    assert {k: u['held'] for k, u in units(house, path).items()} == {'A-1': 0, 'A-2': 1, 'A-3': 1, 'A-4': 1}
    assert call(house, 'PATCH', mine, {'units': []}, If_Match='"2"')[0] == 422
    problem(call(house, 'POST', mine + '/confirm', If_Match='"9"'), 412, 'changed')
    for _ in range(2):
        assert call(house, 'POST', mine + '/confirm', If_Match='"2"')[0] == 200


def test_reserve_may_insist_on_what_it_saw(house):
    path = make(house, pool=5)
    tag = house.request('GET', path)[1]['ETag']
    held(house, path, match=tag, quantity=1)
    problem(reserve(house, path, match=tag, quantity=1), 412, 'changed')
    held(house, path, match=house.request('GET', path)[1]['ETag'], quantity=1)


def test_a_hold_ends_by_itself(house):
    path = make(house, pool=1, holdSeconds=1)
    r = held(house, path, quantity=1)
    mine = f"/api/v1/reservations/{r['id']}"
    problem(reserve(house, path, quantity=1), 409, 'sold-out')
    matinee.until(lambda: house.json(path)['held'] == 0, 3, 'the hold to end')
    assert datetime.datetime.now(datetime.timezone.utc) >= datetime.datetime.fromisoformat(r['expiresAt'].replace('Z', '+00:00'))
    assert house.json(mine)['state'] == 'expired'
    problem(call(house, 'POST', mine + '/confirm'), 409, 'expired')
    assert call(house, 'DELETE', mine)[0] == 204 and house.json(mine)['state'] == 'expired'
    held(house, path, quantity=1)


def test_the_line_gets_what_is_freed(house):
    path = make(house, seats={'rows': 1, 'perRow': 3})
    r = held(house, path, quantity=3)
    line = []
    for n, wish in enumerate(({'quantity': 2}, {'units': [{'key': 'A-3', 'quantity': 1}]})):
        status, fields, place = call(house, 'POST', path + '/waitlist', {'customer': f'c{n}', **wish})
        assert status == 201 and place['state'] == 'waiting' and place['position'] == n + 1
        line.append(fields['Location'])
    assert call(house, 'DELETE', f"/api/v1/reservations/{r['id']}")[0] == 204
    first, second = (house.json(place) for place in line)
    assert first['state'] == 'offered' and house.json(f"/api/v1/reservations/{first['reservation']}")['customer'] == 'c0'
    assert {u['key'] for u in house.json(f"/api/v1/reservations/{first['reservation']}")['units']} < {'A-1', 'A-2', 'A-3'}
    assert call(house, 'POST', f"/api/v1/reservations/{first['reservation']}/confirm")[0] == 200
    if second['state'] == 'waiting':
        assert call(house, 'DELETE', line[1])[0] == 204 and house.json(line[1])['state'] == 'left'
    assert call(house, 'GET', '/api/v1/waitlist/' + '0' * 26)[0] == 404
    assert call(house, 'POST', path + '/waitlist', {'customer': 'x', 'quantity': 4})[0] == 422


def test_a_second_call_with_a_key_that_is_running_never_books_twice(house):
    path = make(house, pool=100)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: reserve(house, path, key='same', quantity=1), range(64)))
    assert {a[0] for a in answers} <= {201, 409} and any(a[0] == 201 for a in answers)
    assert len({a[2]['id'] for a in answers if a[0] == 201}) == 1 and house.json(path)['held'] == 1
    for status, fields, document in answers:
        if status == 409:
            assert document['title'] == 'in-flight' and fields['Retry-After'] == '1'


def test_the_feed_tells_every_change(house):
    path = make(house, seats={'rows': 1, 'perRow': 2})
    url = urllib.parse.urlsplit(house.http)
    connection = http.client.HTTPConnection(url.netloc, timeout=10)
    connection.request('GET', path + '/units/live')
    feed = connection.getresponse()
    assert feed.getheader('Content-Type') == 'text/event-stream'

    def event():
        lines = iter(lambda: feed.readline().decode().rstrip('\n'), '')
        fields = dict(line.split(': ', 1) for line in lines if ': ' in line)
        return fields['event'], json.loads(fields['data'])

    assert event() == ('ready', {})
    r = held(house, path, units=[{'key': 'A-2', 'quantity': 1}])
    assert event() == ('unit', {'key': 'A-2', 'capacity': 1, 'held': 1, 'sold': 0, 'version': 2})
    call(house, 'POST', f"/api/v1/reservations/{r['id']}/confirm")
    assert event() == ('unit', {'key': 'A-2', 'capacity': 1, 'held': 0, 'sold': 1, 'version': 3})
    call(house, 'DELETE', f"/api/v1/reservations/{r['id']}")
    assert event()[1]['sold'] == 0
    connection.close()
    assert house.request('GET', '/api/v1/inventories/' + '0' * 26 + '/units/live')[0] == 404


def test_an_event_has_an_inventory(house):
    path = make(house, pool=5)
    event = house.make_event('With tickets', inventory=path.split('/')[-1])
    assert event['inventory'] == path.split('/')[-1]
    made = house.make_event('With seats', inventory={'name': 'Its own', 'seats': {'rows': 2, 'perRow': 2}})
    assert house.json(f"/api/v1/inventories/{made['inventory']}")['capacity'] == 4
    status, _, body = house.request('PATCH', f"/api/v1/events/{event['id']}", {'inventory': None}, admin=True)
    assert status == 200 and json.loads(body)['inventory'] is None
    for wrong in ('0' * 26, 'x', 5, {'name': 'x'}, {'name': 'x', 'pool': 0}):
        status, _, body = house.request('POST', '/api/v1/events', {'title': 'x', 'inventory': wrong}, admin=True)
        assert status == 422, body


def test_everything_survives_kill_9(make_server):
    server = make_server()
    path = make(server, seats={'rows': 3, 'perRow': 3})
    kept = [held(server, path, key=f'k{n}', quantity=1) for n in range(4)]
    call(server, 'POST', f"/api/v1/reservations/{kept[0]['id']}/confirm")
    server.kill()
    server.start()
    assert server.json(path)['held'] == 3 and server.json(path)['sold'] == 1
    for n, r in enumerate(kept):
        assert reserve(server, path, key=f'k{n}', quantity=1)[2] == r


def test_a_cancellation_honours_if_match(house):
    path = make(house, pool=3)
    mine = f"/api/v1/reservations/{held(house, path, quantity=1)['id']}"
    assert call(house, 'POST', mine + '/confirm')[0] == 200
    assert house.request('DELETE', mine, headers={'If-Match': '"1"'})[0] == 412
    assert house.json(mine)['state'] == 'confirmed'
    assert house.request('DELETE', mine, headers={'If-Match': '"2"'})[0] == 204
    assert house.request('DELETE', mine, headers={'If-Match': '"2"'})[0] == 204  # the answer may have been lost


def test_the_head_of_a_feed_ends(house):
    path = make(house, pool=3)
    status, headers, body = house.request('HEAD', path + '/units/live')
    assert status == 200 and headers['Content-Type'].startswith('text/event-stream') and not body

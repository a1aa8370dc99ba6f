"""One ticket, one screen, or as many as the event says; and what runs ends with its ticket."""
import asyncio
import base64
import http.client
import json
import threading
import time
import urllib.parse

import matinee
import pytest

SEGMENT_S = 2


def call(house, method, path, body=None, headers=None, expect=200):
    status, _, content = house.request(method, path, body, headers=headers)
    assert status == expect, (method, path, status, content)
    return json.loads(content) if content else None


def problem(answer):
    return answer['type'].removeprefix('/problems/')


def bearer(token):
    return {'Authorization': f'Bearer {token}'}


def said(token):
    return json.loads(base64.urlsafe_b64decode(token.split('.')[1] + '=='))


def buy(house, inventory, key, quantity=1):
    path = f'/api/v1/inventories/{inventory}'
    held = call(house, 'POST', f'{path}/reservations', {'customer': 'Ada', 'quantity': quantity}, {'Idempotency-Key': key}, 201)
    return call(house, 'POST', f"/api/v1/reservations/{held['id']}/confirm")


def show(server, tmp_path, **rule):
    """A ticketed event with a recording; its id, video and inventory."""
    event = server.make_event('Night', access='ticket', inventory={'name': 'Night', 'pool': 100}, **rule)
    assert matinee.publish(matinee.clip(tmp_path / 'c.mp4', 3), event['url'], '--speed', 'max').wait(30) == 0
    server.end(event)
    return event, server.video(event)


def token(house, bought, held=None, expect=200):
    return call(house, 'POST', f"/api/v1/reservations/{bought['id']}/token", headers=bearer(held) if held else None, expect=expect)


def opens(house, video, key):
    status, _, body = house.request('GET', f'/v/{video}/master.m3u8', headers=bearer(key))
    return 'open' if status == 200 else problem(json.loads(body))


@pytest.fixture
def house(make_server):
    return make_server('--segment', str(SEGMENT_S), '--grace', '1', '--webrtc', '127.0.0.1:0')


def test_a_second_screen_takes_the_place_of_the_first(house, tmp_path):
    event, video = show(house, tmp_path, screens=1)
    assert (event['screens'], event['newScreen']) == (1, 'takeover')
    bought = buy(house, event['inventory'], 'k')
    link = bought['ticket']['token']
    assert opens(house, video, link) == 'screen-needed'  # who copies the link is a screen of their own
    first = token(house, bought, link)
    assert first['renewSeconds'] == 60 and opens(house, video, first['token']) == 'open'
    assert 'sid' in said(first['token']) and opens(house, video, first['watchUrl'].split('#ticket=')[1]) == 'screen-needed'
    again = token(house, bought, first['token'])  # another network, the same screen
    assert said(again['token'])['sid'] == said(first['token'])['sid']
    second = token(house, bought, link)
    assert opens(house, video, second['token']) == 'open'
    assert opens(house, video, first['token']) == opens(house, video, again['token']) == 'taken-over'
    refused = token(house, bought, first['token'], expect=409)  # it does not take its place back by itself
    assert problem(refused) == 'taken-over' and 'another screen' in refused['detail']
    third = token(house, bought)  # but when its viewer asks for that
    assert opens(house, video, third['token']) == 'open' and opens(house, video, second['token']) == 'taken-over'
    house.kill()
    house.start()
    assert opens(house, video, third['token']) == 'open' and opens(house, video, second['token']) == 'taken-over'


def test_a_second_screen_is_refused_where_the_event_says_so(house, tmp_path):
    event, video = show(house, tmp_path, screens=2, newScreen='refuse')
    bought = buy(house, event['inventory'], 'k')
    first, second = token(house, bought), token(house, bought)
    refused = token(house, bought, expect=409)
    assert problem(refused) == 'screens-full' and 'on 2 screens' in refused['detail'] and 'Close the show there' in refused['detail']
    assert opens(house, video, first['token']) == opens(house, video, second['token']) == 'open'
    assert opens(house, video, token(house, bought, second['token'])['token']) == 'open'
    other = buy(house, event['inventory'], 'other')  # another ticket has places of its own
    assert opens(house, video, token(house, other)['token']) == 'open'
    changed = json.loads(house.request('PATCH', f"/api/v1/events/{event['id']}", {'screens': None}, admin=True)[2])
    assert changed['screens'] is None
    assert opens(house, video, token(house, bought)['token']) == 'open'


def test_many_screens_at_once_get_as_many_places_as_there_are(house, tmp_path):
    event, video = show(house, tmp_path, screens=3, newScreen='refuse')
    bought = buy(house, event['inventory'], 'k')
    answers = []

    def ask():
        answers.append(house.request('POST', f"/api/v1/reservations/{bought['id']}/token"))

    threads = [threading.Thread(target=ask) for _ in range(24)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    given = [json.loads(body)['token'] for status, _, body in answers if status == 200]
    assert sorted({status for status, _, _ in answers}) == [200, 409] and len(given) == 3
    assert len({said(t)['sid'] for t in given}) == 3 and all(opens(house, video, t) == 'open' for t in given)


def test_servers_over_one_database_count_together(make_server, tmp_path):
    database = matinee.MariaDB(tmp_path / 'db').start()
    try:
        options = ('--segment', '2', '--grace', '1', '--database', database.url)
        one = make_server(*options)
        event, video = show(one, tmp_path, screens=1)
        two = make_server(*options, data='two')
        bought = buy(one, event['inventory'], 'k')
        here = token(one, bought)['token']
        there = token(two, bought)['token']
        took = time.monotonic()
        matinee.until(lambda: opens(one, video, here) == 'taken-over', 4, 'the other server to know of the takeover')
        print(f'known on the other server after {time.monotonic() - took:.1f} s')
        assert opens(one, video, there) == 'open'
    finally:
        database.close()


@pytest.mark.parametrize('wrong', [0, 101, 1.5, '1', True])
def test_a_number_of_screens_that_is_none_is_refused(house, wrong):
    status, _, body = house.request('POST', '/api/v1/events', {'title': 'x', 'screens': wrong}, admin=True)
    assert status == 422 and 'screens' in json.loads(body)['detail']


# --- what runs -----------------------------------------------------------------------------------------------------


class Feed:
    """A feed of comments that is being read; `over` is set when the server has ended it."""

    def __init__(self, house, video, key):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(house.http).netloc, timeout=20)
        self.connection.request('GET', f'/api/v1/videos/{video}/comments/live', headers=bearer(key))
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        try:
            while self.answer.read1(4096):
                pass
        except http.client.IncompleteRead:
            pass  # the house was closed
        self.over.set()

    def close(self):
        assert self.over.wait(20)
        self.thread.join()
        self.connection.close()


def ways_to_end(house, event):
    """Each is (a name, what makes a ticket's token, what ends it)."""
    bought = buy(house, event['inventory'], 'cancelled', 2)
    yield 'cancelled', token(house, bought)['token'], lambda: house.request('DELETE', f"/api/v1/reservations/{bought['id']}")
    moved = buy(house, event['inventory'], 'moved')
    yield 'taken over', token(house, moved)['token'], lambda: token(house, moved)
    group = buy(house, event['inventory'], 'group', 2)
    link = call(house, 'POST', f"/api/v1/reservations/{group['id']}/links", {'name': 'Bo'}, expect=201)['id']
    given = call(house, 'POST', f'/api/v1/links/{link}/token')['token']
    yield 'taken back', given, lambda: call(house, 'DELETE', f"/api/v1/reservations/{group['id']}/links/{link}", expect=204)


def test_feeds_end_with_their_ticket_and_others_go_on(house, tmp_path):
    event, video = show(house, tmp_path, screens=1)
    other = Feed(house, video, token(house, buy(house, event['inventory'], 'other'))['token'])
    for name, key, end in ways_to_end(house, event):
        feed = Feed(house, video, key)
        assert not feed.over.wait(2 * SEGMENT_S), name
        end()
        began = time.monotonic()
        assert feed.over.wait(10), name
        took = time.monotonic() - began
        print(f'{name}: the feed ended {took:.1f} s later')
        assert took < 10, name  # a segment
        feed.close()
    assert not other.over.is_set()
    assert house.stop() == 0
    other.close()  # with the house


@pytest.mark.alone
def test_webrtc_sessions_end_with_their_ticket(house):
    webrtc = pytest.importorskip('test_webrtc')
    event = house.make_event('Live', access='ticket', inventory={'name': 'Live', 'pool': 10}, screens=1)
    publisher = matinee.publish('demo', event['url'], '--size', '320x180', '--bitrate', '300k')
    path = webrtc.whep_of(house, event)

    async def scenario():
        ways = list(await asyncio.to_thread(lambda: list(ways_to_end(house, event))))
        for n, (name, key, end) in enumerate(ways):
            viewer = await webrtc.Viewer().watch(house, f'{path}?token={key}')
            await viewer.until(lambda v=viewer: v.frames['video'] > 75, 'the picture')  # longer than it takes to look
            assert house.metric('matinee_webrtc_turned_out_total') == n
            await asyncio.to_thread(end)
            began = time.monotonic()
            await asyncio.to_thread(matinee.until, lambda n=n: house.metric('matinee_webrtc_turned_out_total') == n + 1, 10, name)
            print(f'{name}: the session ended {time.monotonic() - began:.1f} s later')
            await viewer.close()

    try:
        webrtc.play(scenario)
    finally:
        matinee.end_process(publisher)


# --- links ---------------------------------------------------------------------------------------------------------


def test_a_group_ticket_hands_out_as_many_named_links_as_it_has_people(house, tmp_path):
    event, video = show(house, tmp_path, screens=1)
    bought = buy(house, event['inventory'], 'k', 3)
    at = f"/api/v1/reservations/{bought['id']}/links"
    bo, cy = (call(house, 'POST', at, {'name': name}, expect=201) for name in ('Bo', 'Cý'))
    assert bo['watchUrl'] == f"{house.http}/watch/{event['id']}#link={bo['id']}"
    full = call(house, 'POST', at, {'name': 'Di'}, expect=409)
    assert problem(full) == 'no-more-links' and 'for 3' in full['detail']
    assert [(i['name'], i['id']) for i in call(house, 'GET', at)['items']] == [('Bo', bo['id']), ('Cý', cy['id'])]
    keys = [token(house, bought)['token'], *(call(house, 'POST', f"/api/v1/links/{i['id']}/token")['token'] for i in (bo, cy))]
    assert [opens(house, video, k) for k in keys] == ['open'] * 3  # each has a screen of its own
    assert bought['id'] not in json.dumps([said(k) for k in keys[1:]])  # and can't give the booking back
    call(house, 'DELETE', f"{at}/{bo['id']}", expect=204)
    call(house, 'DELETE', f"{at}/{bo['id']}", expect=404)
    assert [opens(house, video, k) for k in keys] == ['open', 'ticket-revoked', 'open']
    ended = call(house, 'POST', f"/api/v1/links/{bo['id']}/token", expect=404)
    assert 'ask who gave it to you' in ended['detail']
    di = call(house, 'POST', at, {'name': 'Di'}, expect=201)
    smaller = {'units': [{'key': 'pool', 'quantity': 2}]}
    call(house, 'PATCH', at.removesuffix('/links'), smaller, {'If-Match': '*'})
    call(house, 'POST', f"/api/v1/links/{cy['id']}/token")  # the oldest stays
    assert problem(call(house, 'POST', f"/api/v1/links/{di['id']}/token", expect=409)) == 'no-more-links'
    call(house, 'DELETE', at.removesuffix('/links'), expect=204)
    assert [opens(house, video, k) for k in keys] == ['ticket-revoked'] * 3
    call(house, 'POST', f"/api/v1/links/{cy['id']}/token", expect=409)


def test_who_was_given_a_link_may_comment_where_only_ticket_holders_may(house, tmp_path):
    event, video = show(house, tmp_path)
    assert house.request('PATCH', f"/api/v1/events/{event['id']}/comments", {'audience': 'tickets'}, admin=True)[0] == 200
    bought = buy(house, event['inventory'], 'k', 2)
    link = call(house, 'POST', f"/api/v1/reservations/{bought['id']}/links", {'name': 'Bo'}, expect=201)['id']
    key = call(house, 'POST', f'/api/v1/links/{link}/token')['token']
    said_it = {'id': 'a', 'authorId': 'Bo', 'data': 'bravo'}
    call(house, 'POST', f'/api/v1/videos/{video}/comments', said_it, bearer(key), expect=201)
    call(house, 'PATCH', f"/api/v1/events/{event['id']}", {'access': 'public'}, bearer(house.token))
    refused = call(house, 'POST', f'/api/v1/videos/{video}/comments', {**said_it, 'id': 'b'}, expect=403)
    assert problem(refused) == 'tickets-only'
    call(house, 'POST', f'/api/v1/videos/{video}/comments', {**said_it, 'id': 'b'}, bearer(key), expect=201)


def test_one_persons_ticket_gives_no_links_and_names_are_wanted(house, tmp_path):
    event, _ = show(house, tmp_path)
    at = f"/api/v1/reservations/{buy(house, event['inventory'], 'k')['id']}/links"
    assert problem(call(house, 'POST', at, {'name': 'Bo'}, expect=409)) == 'no-more-links'
    assert 'name' in call(house, 'POST', at, {}, expect=422)['detail']
    call(house, 'POST', f"/api/v1/links/{'0' * 26}/token", expect=404)


def leave(house, path, held=None):
    return house.request('DELETE', path, headers=bearer(held) if held else None)[0]


def test_a_screen_that_says_goodbye_frees_its_place_at_once_and_watches_no_more(house, tmp_path):
    event, video = show(house, tmp_path, screens=1, newScreen='refuse')
    bought, other = buy(house, event['inventory'], 'k', 2), buy(house, event['inventory'], 'other')
    link = call(house, 'POST', f"/api/v1/reservations/{bought['id']}/links", {'name': 'Bo'}, expect=201)['id']
    given = f'/api/v1/links/{link}/token'
    for path, ask in ((f"/api/v1/reservations/{bought['id']}/token", lambda expect: token(house, bought, expect=expect)),
                      (given, lambda expect: call(house, 'POST', given, expect=expect))):
        first = ask(200)['token']
        assert problem(ask(409)) == 'screens-full'
        assert leave(house, path) == 401 and leave(house, path, 'x.y.z') == 403
        assert leave(house, path, token(house, other)['token']) == 403
        leave(house, f"/api/v1/reservations/{other['id']}/token", other['ticket']['token'])
        assert opens(house, video, first) == 'open'
        assert leave(house, path, first) == 204
        assert opens(house, video, first) == 'taken-over'
        second = ask(200)['token']
        assert leave(house, path, first) == 204  # once more: it is nobody's place
        assert opens(house, video, second) == 'open'
        fresh = call(house, 'POST', path, headers=bearer(second))['token']
        assert said(fresh)['sid'] == said(second)['sid']
        assert leave(house, path, fresh) == 204
        other = buy(house, event['inventory'], f'other-{path}')


def test_where_screens_are_not_counted_a_goodbye_is_nothing(house, tmp_path):
    event, video = show(house, tmp_path)
    bought = buy(house, event['inventory'], 'k')
    assert leave(house, f"/api/v1/reservations/{bought['id']}/token", bought['ticket']['token']) == 204
    assert opens(house, video, bought['ticket']['token']) == 'open'


def test_two_who_take_over_at_once_leave_one_screen(house, tmp_path):
    """And those that lost are refused, though they were given their token at the same moment."""
    event, video = show(house, tmp_path, screens=1)
    bought = buy(house, event['inventory'], 'k')
    given = []

    def ask():
        for _ in range(10):
            given.append(token(house, bought)['token'])

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == 60
    assert [opens(house, video, key) for key in given].count('open') == 1

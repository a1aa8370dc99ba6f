"""How often one address and one token may call: 429 in words, and what is left told before it comes to that."""
import json

import matinee
import pytest
import test_roles

TIME = '/api/v1/time'


def ask(server, path=TIME, address=None, token=None, more=None):
    headers = {**({'X-Forwarded-For': address} if address else {}), **({'Authorization': f'Bearer {token}'} if token else {}), **(more or {})}
    return server.request('GET', path, headers=headers)


def refused(answer):
    status, headers, body = answer
    if status != 429:
        return None
    problem = json.loads(body)
    assert int(headers['Retry-After']) >= 1 and f"Try again in {headers['Retry-After']} s." in problem['detail']
    return problem['title']


@pytest.fixture
def house(make_server):
    """Six calls of an address at once, three with a token, two wrong tokens; behind a proxy on this machine."""
    return make_server('--limits', 'requests=36,token=18,refused=12', '--trusted-proxy', '127.0.0.1,192.0.2.0/24', '--webrtc', '127.0.0.1:0')


def test_an_address_has_its_calls_and_is_told_what_is_left(house):
    for left in range(5, -1, -1):
        status, headers, _ = ask(house, address='203.0.113.7')
        assert status == 200 and headers['RateLimit-Policy'] == '"address";q=6;w=10'
        assert headers['RateLimit'].startswith(f'"address";r={left};t=')
    over = ask(house, address='203.0.113.7')
    assert refused(over) == 'too-many' and over[1]['RateLimit'].startswith('"address";r=0;')
    assert ask(house, address='203.0.113.8')[0] == 200
    assert refused(ask(house, address='203.0.113.7', token=house.token)) is None  # nothing binds the admin
    assert ask(house, '/healthz', address='203.0.113.7')[0] == 200
    assert ask(house, '/', address='203.0.113.7')[0] == 200


def test_only_what_a_trusted_proxy_says_is_believed(house, make_server):
    for n in range(6):  # what a client sends itself stands before what the proxy adds
        assert ask(house, address=f'198.51.100.{n}, 203.0.113.7, 192.0.2.9')[0] == 200
    assert refused(ask(house, address='198.51.100.99, 203.0.113.7')) == 'too-many'
    assert refused(ask(house, address='203.0.113.7:5000')) == 'too-many'
    assert ask(house, address='nonsense')[0] == 200 and 'RateLimit' not in ask(house, address='nonsense')[1]  # the proxy itself, on loopback
    for n in range(8):  # an IPv6 network is one, however many addresses it has
        last = ask(house, address=f'[2001:db8::{n}]:99')
    assert refused(last) == 'too-many' and ask(house, address='2001:db9::1')[0] == 200
    alone = make_server('--limits', 'requests=36', data='alone')
    for _ in range(10):
        status, headers, _ = ask(alone, address='203.0.113.7')
        assert status == 200 and 'RateLimit' not in headers


def test_a_token_has_its_calls_wherever_they_come_from(house):
    token = test_roles.make_token(house, 'x', 'moderator')['token']
    other = test_roles.make_token(house, 'y', 'moderator')['token']
    for n in range(3):
        status, headers, _ = ask(house, address=f'203.0.113.{n}', token=token)
        assert status == 200 and f'"token";r={2 - n};t=' in headers['RateLimit'] and '"token";q=3;w=10' in headers['RateLimit-Policy']
    over = ask(house, address='203.0.113.9', token=token)
    assert refused(over) == 'too-many' and 'with this token' in json.loads(over[2])['detail']
    assert ask(house, address='203.0.113.9', token=other)[0] == 200


def test_who_guesses_tokens_is_stopped_and_the_right_one_is_not_told_apart_then(house):
    spool = '/api/v1/spool'
    for n in range(2):
        assert ask(house, spool, '203.0.113.7', 'x' * 32)[0] == 401
    for token in ('x' * 32, house.token):
        over = ask(house, spool, '203.0.113.7', token)
        assert refused(over) == 'too-many-refused' and 'wrong tokens' in json.loads(over[2])['detail']
    assert ask(house, spool, '203.0.113.8', house.token)[0] == 200


@pytest.mark.parametrize('words', [('--limits', 'calls=3'), ('--limits', 'requests=many'), ('--trusted-proxy', 'localhost'),
                                   ('--trusted-proxy', '10.0.0.0/33'), ('--trusted-proxy', '10.0.0.1,')])
def test_limits_that_make_no_sense_are_said_at_the_start(make_server, words):
    server = make_server(*words, start=False)
    if words[1].endswith(','):
        server.start()  # an empty entry at the end is none
        return
    with pytest.raises(AssertionError):
        server.start()
    assert words[0] in server.said()


def test_an_edge_that_shows_its_key_asks_for_its_viewers_as_often_as_they_play(make_server):
    server = make_server('--limits', 'requests=36', '--limit-loopback', '--edge-key', 'k' * 20)
    path = f"/api/v1/videos/{'0' * 26}/admission"
    assert {ask(server, path, more={'Matinee-Edge': 'k' * 20})[0] for _ in range(30)} == {404}
    assert ask(server, TIME, more={'Matinee-Edge': 'k' * 20})[0] == 200  # nothing was counted; but nothing else is free
    assert [refused(ask(server, path, more={'Matinee-Edge': 'guess'})) for _ in range(6)][-1] == 'too-many'
    assert refused(ask(server, TIME, more={'Matinee-Edge': 'k' * 20})) == 'too-many'

"""Histories of a crowd at the box office, checked from outside (box_office.py): on every locking over each database, with kills of
the server and of the database in mid load, repeated keys, and holds that end."""
import asyncio
import contextlib
import json
import os
import sqlite3
import urllib.request

import box_office
import matinee
import pytest

LOCKINGS = ['optimistic', 'pessimistic', 'adaptive', 'combining']


class Sqlite:
    """The embedded database of a server, as the tests of MariaDB see theirs."""

    options = []

    def query(self, sql):
        with contextlib.closing(sqlite3.connect(f'file:{self.server.data}/matinee.db?mode=ro', uri=True)) as db:
            return db.execute(sql).fetchall()

    def close(self):
        pass


@pytest.fixture(scope='module')
def mariadb(tmp_path_factory):
    server = matinee.MariaDB(tmp_path_factory.mktemp('mariadb') / 'db')
    server.start()
    server.options = ['--database', server.url]
    yield server
    server.close()


@pytest.fixture(params=['sqlite', 'mariadb'])
def database(request):
    return Sqlite() if request.param == 'sqlite' else request.getfixturevalue('mariadb')


def open_house(make_server, database, **more):
    server = make_server(*database.options, **more)
    if isinstance(database, Sqlite):
        database.server = server
    return server


def make(server, locking, hold=600, **what):
    status, _, body = server.request('POST', '/api/v1/inventories',
                                     {'name': 'Hall', 'locking': locking, 'holdSeconds': hold, **what}, admin=True)
    assert status == 201, body
    return json.loads(body)['id']


def seats(rows, per_row):
    return [f'{chr(65 + row)}-{place + 1}' for row in range(rows) for place in range(per_row)]


def some_units(count):
    return [{'key': f'u{i}', 'capacity': 1 + i % 5} for i in range(count)]


def crowd_at(where, inventory, units, clients, calls):
    seed = int.from_bytes(os.urandom(4), 'big')
    print('seed', seed)
    return box_office.Crowd(where, inventory, units, clients, calls, seed)


def judge(crowd, database, inventory, *servers, **how):
    """Over the rows of servers that have ended: while they run, holds end between two looks at the tables."""
    for server in servers:
        assert server.stop() == 0
    return box_office.Checker(crowd.calls, box_office.rows_of(database.query, inventory), **how).check()


async def after(crowd, part, work):
    """Does what blocks, once that part of the calls has been made."""
    goal = crowd.left * part
    while crowd.left > goal and not crowd.stop:
        await crowd.news()
    await asyncio.get_running_loop().run_in_executor(None, work)


@pytest.mark.parametrize('locking', LOCKINGS)
def test_a_crowd_is_sold_every_seat_once(make_server, database, locking):
    server = open_house(make_server, database)
    inventory = make(server, locking, hold=1, seats={'rows': 6, 'perRow': 10})
    crowd = crowd_at(lambda: server.http, inventory, seats(6, 10), 40, 6000)
    asyncio.run(crowd.run())
    told = judge(crowd, database, inventory, server)
    assert told['unknown'] == 0 and told['refused'] > 100 and told['reservations'] > 50, told


@pytest.mark.parametrize('locking', LOCKINGS)
def test_kill_9_of_the_server_loses_no_answer(make_server, database, locking):
    server = open_house(make_server, database)
    inventory = make(server, locking, hold=2, units=some_units(12))
    crowd = crowd_at(lambda: server.http, inventory, [f'u{i}' for i in range(12)], 30, 4000)

    def kill():
        server.kill()
        server.start()

    asyncio.run(crowd.run(after(crowd, 0.7, kill), after(crowd, 0.3, kill)))
    told = judge(crowd, database, inventory, server)
    assert told['reservations'] > 20 and told['refused'] > 20, told


@pytest.mark.parametrize('locking', LOCKINGS)
def test_kill_9_of_the_database_loses_no_answer(make_server, mariadb, locking):
    server = open_house(make_server, mariadb)
    inventory = make(server, locking, hold=2, units=some_units(12))
    crowd = crowd_at(lambda: server.http, inventory, [f'u{i}' for i in range(12)], 30, 4000)

    def kill():
        mariadb.kill()
        mariadb.start()

    asyncio.run(crowd.run(after(crowd, 0.5, kill)))
    told = judge(crowd, mariadb, inventory, server)
    assert told['reservations'] > 20 and told['refused'] > 20, told


@pytest.mark.parametrize('locking', LOCKINGS)
def test_two_servers_share_one_inventory(make_server, mariadb, locking):
    one = open_house(make_server, mariadb)
    two = open_house(make_server, mariadb, data='other')
    inventory = make(one, locking, hold=1, seats={'rows': 5, 'perRow': 8})
    turn = iter(range(1 << 30))
    crowd = crowd_at(lambda: (one, two)[next(turn) % 2].http, inventory, seats(5, 8), 30, 4000)
    asyncio.run(crowd.run())
    told = judge(crowd, mariadb, inventory, one, two)
    assert told['unknown'] == 0 and told['refused'] > 100 and told['reservations'] > 40, told


def test_lockings_are_exchanged_while_it_sells(make_server, database):
    server = open_house(make_server, database)
    inventory = make(server, 'optimistic', hold=1, seats={'rows': 4, 'perRow': 8})
    crowd = crowd_at(lambda: server.http, inventory, seats(4, 8), 40, 6000)

    async def exchange():
        changes = 0
        while not crowd.stop:
            body = {'locking': LOCKINGS[changes % 4]}
            await asyncio.get_running_loop().run_in_executor(
                None, lambda: server.request('PATCH', f'/api/v1/inventories/{inventory}', body, admin=True))
            changes += 1
        assert changes > 8

    asyncio.run(crowd.run(exchange()))
    told = judge(crowd, database, inventory, server)
    assert told['unknown'] == 0 and told['reservations'] > 40, told


def test_followers_of_one_server_see_what_another_sells(make_server, mariadb):
    one = open_house(make_server, mariadb)
    two = open_house(make_server, mariadb, data='other')
    inventory = make(one, 'adaptive', seats={'rows': 1, 'perRow': 3})
    with urllib.request.urlopen(f'{two.http}/api/v1/inventories/{inventory}/units/live', timeout=10) as feed:
        assert feed.readline() == b'event: ready\n'
        one.request('POST', f'/api/v1/inventories/{inventory}/reservations',
                    {'customer': 'ann', 'units': [{'key': 'A-2', 'quantity': 1}]}, headers={'Idempotency-Key': 'k'})
        while (line := feed.readline()) != b'event: unit\n':
            assert line, 'the feed has ended'
        assert json.loads(feed.readline()[6:])['key'] == 'A-2'


@pytest.mark.long
def test_many_large_reservations_at_once_fit_into_the_packets_of_the_database(make_server, mariadb):
    allowed = mariadb.run('SELECT @@GLOBAL.max_allowed_packet')[0][0]
    mariadb.run('SET GLOBAL max_allowed_packet = 524288')
    try:
        server = open_house(make_server, mariadb)
        keys = [f'u{i}' for i in range(4000)]
        inventory = make(server, 'combining', units=[{'key': key, 'capacity': 1000} for key in keys])
        body = {'customer': 'ann', 'units': [{'key': key, 'quantity': 1} for key in keys]}

        async def reserve(number):
            connection = box_office.Connection(lambda: server.http)
            for _ in range(5):  # 503 on a busy machine is asked again; a packet that is too large would be so each time
                status, _, _ = await connection.call('POST', f'/api/v1/inventories/{inventory}/reservations', body,
                                                     [f'Idempotency-Key: {number}'], timeout=30)
                if status != 503:
                    break
            connection.close()
            return status

        async def all_at_once():
            return await asyncio.gather(*(reserve(i) for i in range(80)))

        assert set(asyncio.run(all_at_once())) == {201}
    finally:
        mariadb.run(f'SET GLOBAL max_allowed_packet = {allowed}')

"""Histories of a crowd at the box office, checked from outside (box_office.py): on every locking, over kills and repeats."""
import asyncio
import contextlib
import os
import sqlite3

import box_office
import pytest

LOCKINGS = ['optimistic', 'pessimistic', 'adaptive', 'combining']


def make(server, locking, hold=600, **what):
    import json
    status, _, body = server.request('POST', '/api/v1/inventories',
                                     {'name': 'Hall', 'locking': locking, 'holdSeconds': hold, **what}, admin=True)
    assert status == 201, body
    return json.loads(body)['id']


def sqlite_rows(server, inventory):
    with contextlib.closing(sqlite3.connect(f'file:{server.data}/matinee.db?mode=ro', uri=True)) as db:
        return box_office.rows_of(lambda sql: db.execute(sql).fetchall(), inventory)


def seats(rows, per_row):
    return [f'{chr(65 + row)}-{place + 1}' for row in range(rows) for place in range(per_row)]


@pytest.mark.parametrize('locking', LOCKINGS)
def test_a_crowd_is_sold_every_seat_once(make_server, locking):
    server, seed = make_server(), int.from_bytes(os.urandom(4), 'big')
    print('seed', seed)
    inventory = make(server, locking, seats={'rows': 6, 'perRow': 10})
    crowd = box_office.Crowd(lambda: server.http, inventory, seats(6, 10), 40, 2500, seed)
    asyncio.run(crowd.run())
    told = box_office.Checker(crowd.calls, sqlite_rows(server, inventory)).check()
    assert told['unknown'] == 0 and told['refused'] > 100 and told['reservations'] > 50, told


@pytest.mark.parametrize('locking', LOCKINGS)
def test_kill_9_in_mid_load_loses_no_answer(make_server, locking):
    server, seed = make_server(), int.from_bytes(os.urandom(4), 'big')
    print('seed', seed)
    inventory = make(server, locking, hold=2, units=[{'key': f'u{i}', 'capacity': 1 + i % 5} for i in range(12)])
    crowd = box_office.Crowd(lambda: server.http, inventory, [f'u{i}' for i in range(12)], 30, 3000, seed)

    async def kill():
        for part in (0.3, 0.6):
            while len(crowd.calls) < 3000 * part and not crowd.stop:
                await asyncio.sleep(0.01)
            server.kill()
            await asyncio.get_running_loop().run_in_executor(None, server.start)

    asyncio.run(crowd.run(kill()))
    told = box_office.Checker(crowd.calls, sqlite_rows(server, inventory)).check()
    assert told['reservations'] > 20 and told['refused'] > 20, told

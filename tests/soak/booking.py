#!/usr/bin/env python3
"""A premiere: 200 clients make 100,000 attempts on 5,000 seats, on every locking over SQLite and MariaDB. Every seat is sold, none
twice, and the checker of tests/e2e/box_office.py finds the whole history in order, for every seed.

    tests/soak/booking.py [--seeds 10] [--attempts 100000] [--seats 5000] [--clients 200]
"""
import argparse
import asyncio
import contextlib
import json
import pathlib
import sqlite3
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'e2e'))

import box_office  # noqa: E402
import matinee  # noqa: E402

LOCKINGS = ['optimistic', 'pessimistic', 'adaptive', 'combining']


def evening(server, query, locking, seed, sizes):
    """One history; what the checker says of it, and the calls a second."""
    rows = sizes.seats // 100
    status, _, body = server.request('POST', '/api/v1/inventories', {'name': f'{locking} {seed}', 'locking': locking,
                                                                     'seats': {'rows': rows, 'perRow': 100}}, admin=True)
    assert status == 201, body
    inventory = json.loads(body)['id']
    units, after = [], ''
    while True:
        page = server.json(f'/api/v1/inventories/{inventory}/units?limit=500&after={after}')['items']
        units += [u['key'] for u in page]
        if len(page) < 500:
            break
        after = page[-1]['key']
    crowd = box_office.Crowd(lambda: server.http, inventory, units, sizes.clients, sizes.attempts, seed, at_most=1, keen=True)
    began = time.monotonic()
    asyncio.run(crowd.run())
    seconds = time.monotonic() - began
    told = box_office.Checker(crowd.calls, box_office.rows_of(query, inventory)).check()
    counts = server.json(f'/api/v1/inventories/{inventory}')
    assert counts['sold'] == counts['capacity'] == rows * 100 and counts['held'] == 0, counts
    return told, round(len(crowd.calls) / seconds)


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument('--seeds', type=int, default=10)
    words.add_argument('--attempts', type=int, default=100000)
    words.add_argument('--seats', type=int, default=5000)
    words.add_argument('--clients', type=int, default=200)
    sizes = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        mariadb = matinee.MariaDB(folder / 'mariadb').start()
        houses = {'sqlite': matinee.Server(folder / 'sqlite').start(), 'mariadb': matinee.Server(folder / 'shared', '--database', mariadb.url).start()}

        def of_sqlite(sql):
            with contextlib.closing(sqlite3.connect(f'file:{folder}/sqlite/matinee.db?mode=ro', uri=True)) as db:
                return db.execute(sql).fetchall()

        try:
            for seed in range(1, sizes.seeds + 1):
                for database, server in houses.items():
                    for locking in LOCKINGS:
                        told, rate = evening(server, of_sqlite if database == 'sqlite' else mariadb.query, locking, seed, sizes)
                        print(f'seed {seed} {database} {locking}: all sold, none twice; {told}, {rate} calls/s', flush=True)
        finally:
            for server in houses.values():
                server.close()
            mariadb.close()


if __name__ == '__main__':
    main()

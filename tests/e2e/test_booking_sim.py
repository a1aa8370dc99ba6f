"""Whole histories from a seed, in one process and over a simulated database (tests/unit/booking): they hold on every locking, and
what is broken on purpose is found."""
import json
import os
import pathlib
import random
import subprocess

import box_office
import matinee
import pytest

PLAY = pathlib.Path(os.environ.get('MATINEE', matinee.MATINEE)).parent / 'tests' / 'unit' / 'booking_sim'
LOCKINGS = ['optimistic', 'pessimistic', 'adaptive', 'combining']


def play(folder, seed, locking, fault='none'):
    """(calls, rows, deadlocks) of one history; where the box office found itself broken and stopped, up to there."""
    file = folder / f'{seed}-{locking}-{fault}'
    done = subprocess.run([PLAY, file, str(seed), locking, fault], capture_output=True, timeout=120)
    assert done.returncode == (3 if b'Assertion' in done.stderr else 0) and (fault != 'none' or not done.returncode), done.stderr
    calls, rows, deadlocks = [], {'units': [], 'reservations': []}, 0
    for line in map(json.loads, file.read_text().splitlines()):
        if 'call' in line:
            call = box_office.Call(line['call'], key=line['key'], id=line['id'], units=line['units'])
            call.invoked, call.answered = line['invoked'], line['answered']
            call.status, call.answer = (None, None) if line['status'] == 503 else (line['status'], line['answer'])
            calls.append(call)
        elif 'reservation' in line:
            rows['reservations'].append({**line, 'id': line['reservation'], 'customer': 'sim'})
        elif 'unit' in line:
            rows['units'].append({**line, 'key': line['unit']})
        else:
            deadlocks = line['deadlocks']
    return calls, rows, deadlocks


@pytest.mark.parametrize('locking', LOCKINGS)
def test_histories_from_seeds_hold(tmp_path, locking):
    first = random.SystemRandom().randrange(10 ** 6)
    for seed in range(first, first + 12):
        print('seed', seed)
        calls, rows, deadlocks = play(tmp_path, seed, locking)
        told = box_office.Checker(calls, rows).check()
        assert deadlocks == 0, 'units were locked out of order'
        assert told['reservations'] > 10 and told['refused'] > 10, told


def test_a_seed_gives_the_same_history_again(tmp_path):
    histories = []
    for turn in ('a', 'b'):
        (tmp_path / turn).mkdir()
        play(tmp_path / turn, 7, 'adaptive')
        histories.append((tmp_path / turn / '7-adaptive-none').read_bytes())
    assert histories[0] == histories[1]


@pytest.mark.parametrize('locking, fault', [('optimistic', 'no-version-check'), ('pessimistic', 'unsorted-locks'),
                                            ('pessimistic', 'expiry-ignored'), ('combining', 'expiry-ignored')])
@pytest.mark.long
def test_what_is_broken_on_purpose_is_found(tmp_path, locking, fault):
    found = 0
    for seed in range(1, 11):
        calls, rows, deadlocks = play(tmp_path, seed, locking, fault)
        try:
            box_office.Checker(calls, rows).check()
            found += deadlocks > 0
        except box_office.Broken as e:
            print(seed, e)
            found += 1
    assert found > 0

"""An HDFS that fails, hangs or lies: what was confirmed is there, what was not is tried again, nothing false is read."""
import concurrent.futures
import random
import subprocess
import threading
import time

import hdfs_bad
import ladder
import matinee
import pytest
from test_store import PLAY, play

NAME = 'v/01/source/000001.m4s'
FILE = '/shows/' + NAME


@pytest.fixture
def bad():
    server = hdfs_bad.BadHdfs()
    yield server
    server.close()


def first(times, fault, op, role=None):
    """The fault for the first so many requests of an operation."""
    seen = []

    def judge(o, path, r, _):
        if o != op or role not in (None, r):
            return None
        seen.append(o)
        return fault if len(seen) <= times else None

    return judge


@pytest.mark.parametrize('op, role', [('CREATE', 'name'), ('CREATE', 'data'), ('GETFILECHECKSUM', 'data'), ('RENAME', 'name')])
@pytest.mark.parametrize('fault', ['safe', 'standby', 'io', 'not_json', 'close_early'])
def test_a_step_of_a_put_that_fails_is_done_again(bad, op, role, fault):
    bad.fault = first(2, fault, op, role)
    assert play(bad.url(), {}, f'put {NAME} 5000', 'forget', f'get {NAME} 5000') == ['ok', 'ok', 'the same']
    assert list(bad.files) == [FILE], 'nothing is left beside it'


@pytest.mark.parametrize('httpfs', [False, True])
@pytest.mark.parametrize('op, role', [('CREATE', 'data'), ('MKDIRS', 'name'), ('RENAME', 'name'), ('DELETE', 'name')])
def test_a_step_that_was_done_and_not_answered_harms_nothing(bad, op, role, httpfs):
    bad.httpfs = httpfs
    assert play(bad.url(), {}, f'put {NAME} 7') == ['ok']
    bad.fault = first(1, 'done_unsaid', op, role)
    assert play(bad.url(), {}, f'put {NAME} 5000', 'forget', f'get {NAME} 5000', 'delete v/none') == ['ok', 'ok', 'the same', 'ok']
    assert list(bad.files) == [FILE]


def test_httpfs_moves_nothing_over_what_is_there_and_the_new_one_takes_its_place_all_the_same(bad):
    bad.httpfs = True
    assert play(bad.url(), {}, f'put {NAME} 5000', f'put {NAME} 3000', 'forget', f'get {NAME} 3000') == ['ok', 'ok', 'ok', 'the same']
    assert list(bad.files) == [FILE]


@pytest.mark.parametrize('fault', ['lose_half', 'no_redirect', 'elsewhere'])
def test_a_put_that_is_not_there_whole_is_not_confirmed_and_the_old_one_stays(bad, fault):
    assert play(bad.url(), {}, f'put {NAME} 5000') == ['ok']
    bad.fault = first(10**6, fault, 'CREATE')
    assert play(bad.url(), {}, f'put {NAME} 3000')[0] != 'ok'
    bad.fault = None
    assert play(bad.url(), {}, f'get {NAME} 5000') == ['the same']
    assert list(bad.files) == [FILE], 'nothing is left beside it'


@pytest.mark.parametrize('fault', ['truncate', 'corrupt', 'io', 'close_early', 'not_json'])
def test_a_get_never_gives_other_bytes_than_were_put(bad, fault):
    assert play(bad.url(), {}, f'put {NAME} 5000') == ['ok']
    bad.fault = first(2, fault, 'OPEN', 'data')
    assert play(bad.url(), {}, f'get {NAME} 5000') == ['the same']
    bad.fault = first(10**6, fault, 'OPEN', 'data')
    assert play(bad.url(), {}, f'get {NAME} 5000')[0] not in ('the same', 'others')


def test_where_there_are_no_checksums_the_length_has_to_do(bad):
    bad.fault = first(10**6, 'no_checksum', 'GETFILECHECKSUM', 'data')
    assert play(bad.url(), {}, f'put {NAME} 5000', 'forget', f'get {NAME} 5000') == ['ok', 'ok', 'the same']
    assert bad.count('GETFILESTATUS') == 2
    bad.fault = lambda op, path, role, n: {'GETFILECHECKSUM': 'no_checksum', 'CREATE': 'lose_half'}.get(op) if role == 'data' else None
    assert play(bad.url(), {}, f'put {NAME} 3000') == ['input or output failed']


@pytest.mark.long
def test_an_hdfs_that_hangs_is_given_up_and_tried_again(bad):
    bad.fault = first(1, 'hang', 'CREATE', 'data')
    begun = time.monotonic()
    assert play(bad.url(), {}, f'put {NAME} 5000') == ['ok']
    assert 9 < time.monotonic() - begun < 25, 'after the time that a silent server gets'


def test_a_datanode_that_fails_is_left_out_the_next_time(bad):
    bad.fault = first(1, 'io', 'CREATE', 'data')
    assert play(bad.url(), {}, f'put {NAME} 5000') == ['ok']
    asked = [query.get('excludedatanodes') for op, _, role, query in bad.requests if op == 'CREATE' and role == 'name']
    assert asked == [None, f'127.0.0.1:{bad.server_address[1]}']


def test_who_is_refused_is_not_asked_again_and_again(bad):
    bad.fault = first(10**6, 'denied', 'CREATE')
    assert play(bad.url(), {}, *[f'put {NAME} 10'] * 20)[:3] == ['not allowed'] * 3
    assert bad.count('CREATE') < 8, 'the breaker asks now and then only'


def test_a_quota_is_a_full_disk(bad):
    bad.fault = first(10**6, 'quota', 'CREATE')
    assert play(bad.url(), {}, f'put {NAME} 10') == ['no room left on the disk']


def test_a_token_that_ends_is_read_anew(bad, tmp_path):
    path = tmp_path / 'token'

    def write(token):
        path.with_suffix('.new').write_text(token + '\n')
        path.with_suffix('.new').rename(path)

    write('good-token')
    renewed = threading.Event()

    def expire(op, name, role, _):
        if op == 'CREATE' and not renewed.is_set():
            bad.tokens = {'renewed'}
            write('renewed')
            renewed.set()

    bad.fault = expire
    assert play(bad.url(user=None, token=path), {}, f'put {NAME} 10', 'forget', f'get {NAME} 10') == ['ok', 'ok', 'the same']
    assert all('user.name' not in query for *_, query in bad.requests), 'the token says it'
    bad.tokens = set()
    assert subprocess.run([PLAY, bad.url(user=None, token=path)], capture_output=True).returncode == 1


def test_what_a_crash_left_is_removed_when_it_is_old_and_only_then(bad):
    old, young = '/shows/.put/' + '0' * 32, '/shows/.put/' + '1' * 32
    strange = '/shows/.put/notes'
    bad.files.update({old: b'x', young: b'x', strange: b'x', '/etc': b'x'})
    bad.age_s = {old: 3700, strange: 10**6}
    bad.foreign = [{'pathSuffix': name, 'modificationTime': 1} for name in ('../../etc', '/etc', '')] + [{}, 7, None]
    assert play(bad.url(), {}, 'forget') == ['ok']
    assert sorted(bad.files) == sorted([young, strange, '/etc'])


def test_five_hundred_traversal_strings_never_leave_their_prefix(bad):
    seed = random.randrange(10**6)
    print('seed', seed)
    chance = random.Random(seed)
    pieces = ['..', '.', '/', '\\', '%2e', '%2e%2e', '%2f', '..%2f', '//', '....', '..;/', 'a', 'v', '\n', '\r\n', ' ', '~', '?', '#', '*', 'C:',
              '\u00a0', '?op=DELETE', '&op=DELETE&recursive=true', '..\\', '_', '-', '.put']
    names = [''.join(chance.choice(pieces) for _ in range(chance.randrange(2, 8))) for _ in range(500)]
    words = [word for name in names for step in (('put', name, '3'), ('delete', name), ('clear', name)) for word in step]
    done = subprocess.run([PLAY, bad.url(), *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    asked = {path for _, path, _, _ in bad.requests} | bad.touched
    assert all(path.startswith('/shows/') for path in asked), asked
    assert not [path for path in asked if any(part in ('', '.', '..') for part in path[1:].split('/'))]
    assert done.stdout.count('malformed') > 1000, done.stdout[:300]


@pytest.mark.long
def test_a_show_on_hdfs_is_stored_and_read_by_many_at_once(make_server, bad, tmp_path):
    server = make_server('--segment', '1', '--grace', '1', '--storage', bad.url())
    event = server.make_event()
    bad.fault = first(3, 'io', 'CREATE', 'data')
    assert matinee.publish(matinee.clip(tmp_path / 'clip.mp4', 6), event['url'], '--speed', 'max').wait(40) == 0
    server.end(event)
    video = server.video(event)
    matinee.until(lambda: server.metric('matinee_segments_waiting') == 0, 30, 'all being stored')
    assert server.stop() == 0
    server.start()  # nothing is in memory now
    names = ladder.listed(server, video, 'source')[0]
    assert len(names) == 6
    with concurrent.futures.ThreadPoolExecutor(40) as crowd:
        answers = list(crowd.map(lambda i: server.request('GET', f'/v/{video}/source/{names[i % 6]}'), range(120)))
    assert {a[0] for a in answers} == {200}
    assert [a[2] for a in answers[:6]] * 20 == [a[2] for a in answers]
    assert bad.files[f'/shows/v/{video}/source/{names[0]}'] == answers[0][2]
    assert server.stop() == 0

"""Objects in other people's S3 servers: what is put is there, whole, under its own name, and nothing else is touched."""
import os
import subprocess

import matinee
import pytest
import s3_servers

PLAY = os.environ.get('STORE_PLAY', str(matinee.ROOT / 'build' / 'tests' / 'unit' / 'store_play'))


def play(url, environment, *steps, seconds=120):
    """Runs steps against a store: what each came to."""
    done = subprocess.run([PLAY, url, *' '.join(steps).split()], capture_output=True, text=True, timeout=seconds,
                          env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    print(done.stderr)
    return [line.split(': ', 1)[1] for line in done.stdout.splitlines()]


@pytest.fixture(scope='module', params=[p if p == 's3rver' else pytest.param(p, marks=pytest.mark.long) for p in s3_servers.SERVERS])
def s3(request, tmp_path_factory):
    kind = s3_servers.SERVERS[request.param]
    assert kind.is_here(), f'{request.param} is missing; tools/setup long installs it'
    server = kind(tmp_path_factory.mktemp('s3') / request.param)
    try:
        yield server.start()
    finally:
        server.close()


def test_what_is_put_is_read_whole_and_what_is_deleted_is_gone(s3):
    name = 'v/01/source/000001.m4s'
    assert play(s3.url('plain'), s3.environment, f'put {name} 100000', 'forget', f'get {name} 100000', 'get v/02 1',
                f'delete {name}', 'forget', f'get {name} 100000', f'delete {name}') == [
        'ok', 'ok', 'the same', 'does not exist', 'ok', 'ok', 'does not exist', 'ok']


def test_the_servers_own_view_is_the_same_bytes_under_the_prefix(s3):
    assert play(s3.url('deep/er'), s3.environment, 'put a/b 3') == ['ok']
    assert s3.keys('deep/') == ['deep/er/a/b']
    status, headers, body = s3.request('GET', 'deep/er/a/b')
    assert status == 200 and len(body) == 3 and len(headers['x-amz-meta-sha256']) == 64


def test_an_empty_object_is_an_object(s3):
    assert play(s3.url('empty'), s3.environment, 'put a/b 0', 'forget', 'get a/b 0') == ['ok', 'ok', 'the same']


def test_a_large_object_goes_in_parts(s3):
    assert play(s3.url('large'), s3.environment, 'put v/large 50000001', 'forget', 'get v/large 50000001') == ['ok', 'ok', 'the same']
    status, headers, _ = s3.request('HEAD', 'large/v/large')
    assert status == 200 and int(headers['Content-Length']) == 50000001
    print('ETag', headers['ETag'])


def test_a_folder_of_more_than_a_page_is_cleared_and_its_neighbours_stay(s3):
    count = 1203
    assert play(s3.url('many'), s3.environment, f'fill v/one {count}', 'put v/one2/x 1', 'put v/on 1') == ['ok'] * 3
    assert len(s3.keys('many/')) == count + 2
    assert play(s3.url('many'), s3.environment, 'clear v/one', 'forget', 'get v/one/000000.m4s 1', 'get v/one2/x 1', 'get v/on 1') == [
        'ok', 'ok', 'does not exist', 'the same', 'the same']
    assert sorted(s3.keys('many/')) == ['many/v/on', 'many/v/one2/x']


def test_wrong_keys_and_missing_buckets_are_told_in_one_line(s3):
    for url, environment, words in (
            (s3.url(), {**s3.environment, 'AWS_ACCESS_KEY_ID': 'nobody', 'AWS_SECRET_ACCESS_KEY': 'wrong'}, 'refuses'),
            (s3.url().replace('s3://matinee/', 's3://elsewhere/'), s3.environment, 'no bucket'),
            (s3.url(), {'AWS_ACCESS_KEY_ID': '', 'AWS_SECRET_ACCESS_KEY': '', 'HOME': '/nowhere'}, 'AWS_ACCESS_KEY_ID')):
        done = subprocess.run([PLAY, url], capture_output=True, text=True, env={**os.environ, **environment}, timeout=60)
        assert done.returncode == 1 and words in done.stderr.splitlines()[-1], done.stderr


def test_the_benchmark_measures_us_and_curl_on_the_same_server(s3, tmp_path):
    if ':' in s3.key:
        pytest.skip("curl's --user ends a key at its first colon, and Swift's keys have one")
    done = subprocess.run([matinee.MATINEE, 'bench', 'store', '--quick', '--bytes', '200000', '--storage', s3.url('speed'), '--peer',
                           f'http://127.0.0.1:{s3.port}/{s3_servers.BUCKET}/speed', '--out', tmp_path], capture_output=True, text=True,
                          timeout=120, env={**os.environ, **s3.environment})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'store.csv').exists() and 'ratio' in done.stdout
    assert s3.keys('speed/') == [], 'what it made is gone'

"""A store that fails, hangs, throttles or lies: what was confirmed is there, what was not is tried again, nothing false is read."""
import os
import subprocess
import threading
import time

import matinee
import pytest
import s3_bad
from test_store import PLAY, play

NAME = 'v/01/source/000001.m4s'


@pytest.fixture
def bad():
    server = s3_bad.BadS3()
    yield server
    server.close()


def first(times, fault, method=None):
    """The fault for the first so many requests (of a method) about an object."""
    seen = []

    def judge(m, key, _):
        if not key or (method and m != method):
            return None
        seen.append(m)
        return fault if len(seen) <= times else None

    return judge


@pytest.mark.parametrize('fault', ['error500', 'slow_down', 'not_xml', 'close_early', 'wrong_tag', 'lose', 'no_tag'])
def test_a_put_that_fails_is_tried_again_until_it_is_confirmed(bad, fault):
    bad.fault = first(2, fault, 'PUT')
    got = play(bad.url(), bad.environment, f'put {NAME} 300000', f'put {NAME} 300000', f'put {NAME} 300000', 'forget', f'get {NAME} 300000')
    assert got[-1] == 'the same' and got[2] == 'ok'
    if fault in ('wrong_tag', 'lose'):
        assert got[:2] == ['input or output failed'] * 2, 'a tag that names another content confirms nothing'
    else:
        assert got[0] == 'ok', 'that is retried at once'
    if fault == 'no_tag':
        assert bad.count('HEAD') > 0, 'without a tag it has to ask'


@pytest.mark.parametrize('fault', ['error500', 'slow_down', 'close_early', 'truncate', 'corrupt', 'wrong_length'])
def test_a_get_never_gives_other_bytes_than_were_put(bad, fault):
    assert play(bad.url(), bad.environment, f'put {NAME} 300000') == ['ok']
    bad.fault = first(2, fault, 'GET')
    assert play(bad.url(), bad.environment, f'get {NAME} 300000') == ['the same']
    bad.fault = first(10**6, fault, 'GET')
    assert play(bad.url(), bad.environment, f'get {NAME} 300000')[0] not in ('the same', 'others')


def test_a_store_that_hangs_is_given_up_and_tried_again(bad):
    bad.fault = first(1, 'hang', 'PUT')
    begun = time.monotonic()
    assert play(bad.url(), bad.environment, f'put {NAME} 300000') == ['ok']
    assert 9 < time.monotonic() - begun < 25, 'after the time that a silent server gets'


def test_a_clock_that_is_an_hour_wrong_is_corrected(bad):
    bad.clock_offset_s = 3600
    assert play(bad.url(), bad.environment, f'put {NAME} 10', 'forget', f'get {NAME} 10') == ['ok', 'ok', 'the same']
    bad.clock_offset_s = -7200
    assert play(bad.url(), bad.environment, f'get {NAME} 10') == ['the same']


def test_credentials_that_end_are_read_anew(bad, tmp_path):
    path = tmp_path / 'credentials'

    def write(key):
        path.with_suffix('.new').write_text(f'[default]\naws_access_key_id={key}\naws_secret_access_key=s\naws_session_token={"t" * 900}\n')
        path.with_suffix('.new').rename(path)

    write('good')
    renewed = threading.Event()

    def expire(method, key, _):
        if method == 'PUT' and not renewed.is_set():
            bad.keys = {'renewed'}
            write('renewed')
            renewed.set()

    bad.fault = expire
    assert play(bad.url(credentials=path), {}, f'put {NAME} 10', f'get {NAME} 10', 'forget') == ['ok', 'the same', 'ok']
    bad.keys = {'another'}
    assert subprocess.run([PLAY, bad.url(credentials=path)], capture_output=True).returncode == 1


def test_parts_that_fail_are_sent_again_and_an_upload_that_fails_is_taken_back(bad):
    bad.fault = first(3, 'close_early', 'PUT')
    assert play(bad.url(), bad.environment, 'put v/large 40000000', 'forget', 'get v/large 40000000') == ['ok', 'ok', 'the same']
    bad.fault = lambda method, key, _: 'complete_error' if method == 'POST' and key else None
    assert play(bad.url(), bad.environment, 'put v/other 40000000') == ['in use']
    assert not bad.uploads, 'no parts are left behind'
    assert 'shows/v/other' not in bad.objects


def test_a_list_that_names_what_is_not_ours_deletes_none_of_it(bad):
    bad.page = 3
    foreign = ['other/v/one/000000.m4s', 'shows/v/one/../../x', 'shows/v/oneself', '/etc/passwd', 'shows']
    bad.objects.update({key: (b'x', '') for key in foreign})
    assert play(bad.url(), bad.environment, 'fill v/one 20') == ['ok']
    bad.foreign = foreign
    play(bad.url(), bad.environment, 'clear v/one')
    assert sorted(bad.objects) == sorted(foreign)


def test_a_line_that_is_not_safe_is_not_used(tmp_path):
    matinee.certificate(tmp_path, 'store')
    store = s3_bad.BadS3(tls=tmp_path)
    try:
        words = f'put {NAME} 300000', f'get {NAME} 300000'
        assert play(store.url(ca=tmp_path / 'cert.pem'), store.environment, *words) == ['ok', 'the same']
        asked = store.count('PUT')
        assert asked > 0
        done = subprocess.run([PLAY, store.url(), *' '.join(words).split()], text=True, capture_output=True, timeout=60,
                              env={**os.environ, **store.environment})
        assert done.returncode != 0 and 'certificate' in done.stderr, done.stderr
        assert store.count('PUT') == asked, 'nothing was told to one that could not be known'
    finally:
        store.close()


def test_who_is_refused_is_not_asked_again_and_again(bad):
    bad.fault = first(10**6, 'denied')
    assert play(bad.url(), bad.environment, *[f'put {NAME} 10'] * 20)[:3] == ['not allowed'] * 3
    assert bad.count('PUT') < 8, 'the breaker asks now and then only'


def test_encryption_region_and_style_are_what_the_address_says(bad):
    """Of a host style address only that it is the bucket's own host can be seen here: it does not resolve."""
    assert play(bad.url(**{'sse': 'aws:kms', 'sse-key': 'k1', 'region': 'eu-central-1'}), bad.environment, f'put {NAME} 10') == ['ok']
    assert bad.last_put['x-amz-server-side-encryption'] == 'aws:kms'
    assert bad.last_put['x-amz-server-side-encryption-aws-kms-key-id'] == 'k1'
    assert '/eu-central-1/s3/aws4_request' in bad.last_put['authorization']
    done = subprocess.run([PLAY, bad.url(style='host')], capture_output=True, text=True, env={**os.environ, **bad.environment})
    assert done.returncode == 1 and 'matinee.127.0.0.1' in done.stderr

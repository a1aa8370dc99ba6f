"""TLS: HTTPS with HTTP/2, RTMPS, and a certificate that changes while the show goes on."""
import signal
import socket
import ssl
import subprocess
import urllib.parse

import matinee
import pytest


@pytest.fixture
def secure(make_server, tmp_path):
    matinee.certificate(tmp_path, 'first')
    return make_server('--tls-cert', str(tmp_path / 'cert.pem'), '--tls-key', str(tmp_path / 'key.pem'), '--rtmps',
                       '127.0.0.1:0', '--segment', '2', '--grace', '1')


def shown_certificate(server):
    url = urllib.parse.urlsplit(server.http)
    return ssl.get_server_certificate((url.hostname, url.port))


def test_https_speaks_http_2_and_1(secure, tmp_path):
    clip = matinee.clip(tmp_path / 'c.mp4', 5)
    event = secure.make_event()
    assert matinee.publish(clip, event['url'], '--speed', 'max').wait(30) == 0
    secure.end(event)
    path = f'{secure.http}/v/{secure.video(event)}/source/000000.m4s'
    bodies = []
    for version in ('--http1.1', '--http2'):
        done = subprocess.run(['curl', '-sk', version, '-w', '%{stderr}%{http_version} %{http_code}', path], capture_output=True)
        assert done.stderr.decode() == ('1.1' if version == '--http1.1' else '2') + ' 200'
        bodies.append(done.stdout)
    assert bodies[0] == bodies[1] and len(bodies[0]) > 1000


def test_rtmps_is_published_to(secure, tmp_path):
    clip = matinee.clip(tmp_path / 'c.mp4', 4)
    event = secure.make_event()
    url = f"{secure.urls['rtmps']}/{event['streamKey']}"
    publisher = matinee.ffmpeg('-re', '-i', clip, '-c', 'copy', '-tls_verify', '0', '-f', 'flv', url)
    assert publisher.wait(30) == 0, publisher.stderr.read()
    secure.end(event)
    assert secure.json(f'/api/v1/videos/{secure.video(event)}')['duration'] == pytest.approx(4, abs=0.2)


def test_sighup_takes_a_new_certificate_and_keeps_the_old_one_where_it_is_bad(secure, tmp_path):
    before = shown_certificate(secure)
    (tmp_path / 'key.pem').write_text('no key')
    secure.process.send_signal(signal.SIGHUP)
    matinee.until(lambda: 'stays as it was' in secure.said(), what='the complaint')
    assert shown_certificate(secure) == before
    matinee.certificate(tmp_path, 'second')
    secure.process.send_signal(signal.SIGHUP)
    matinee.until(lambda: shown_certificate(secure) != before, what='the new certificate')


def test_a_missing_file_is_named(make_server, tmp_path):
    done = subprocess.run([matinee.MATINEE, 'serve', '--data', str(tmp_path / 'd'), '--http', '127.0.0.1:0', '--rtmp',
                           '127.0.0.1:0', '--tls-cert', '/no/such.pem', '--tls-key', '/no/such.key'], capture_output=True, timeout=20)
    assert done.returncode == 1 and b'/no/such.pem' in done.stderr


def test_plain_http_on_the_tls_port_is_let_go(secure):
    url = urllib.parse.urlsplit(secure.http)
    with socket.create_connection((url.hostname, url.port), timeout=20) as s:
        s.sendall(b'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
        try:
            assert b'200 OK' not in s.recv(4096)
        except ConnectionResetError:
            pass
    assert secure.get('/healthz') == b'ok\n'

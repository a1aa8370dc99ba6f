"""WebRTC by WHEP: aiortc as a viewer, and what strangers send to the port."""
import asyncio
import collections
import hashlib
import hmac
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
import zlib

import matinee
import pytest

aiortc = pytest.importorskip('aiortc')
aioice = pytest.importorskip('aioice')

SDP = {'Content-Type': 'application/sdp'}
FRAGMENT = {'Content-Type': 'application/trickle-ice-sdpfrag'}

OFFER = '\r\n'.join('''v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=ice-ufrag:them
a=ice-pwd:0123456789abcdef01234567
a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF
a=setup:actpass
m=video 9 UDP/TLS/RTP/SAVPF 96
a=mid:0
a=recvonly
a=rtcp-mux
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1;profile-level-id=42e01f
'''.split('\n'))

pytestmark = pytest.mark.alone


@pytest.fixture
def house(make_server):
    return make_server('--segment', '2', '--grace', '2', '--webrtc', '127.0.0.1:0')


@pytest.fixture
def show(house):
    """A live video: (server, event, the path of its WHEP)."""
    event = house.make_event()
    publisher = matinee.publish('demo', event['url'], '--size', '320x180', '--bitrate', '300k')
    yield house, event, whep_of(house, event)
    matinee.end_process(publisher)


def whep_of(server, event):
    video = matinee.until(lambda: server.video(event), what='the video')
    return f'/v/{video}/whep'


class Viewer:
    """An aiortc viewer; counts the frames it has decoded."""

    watching = set()  # a decoder's thread that nobody ends keeps the interpreter from its end

    def __init__(self, ice_servers=()):
        self.watching.add(self)
        self.pc = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(list(ice_servers)))
        self.frames = {'video': 0, 'audio': 0}
        self.stamps, self.sizes = [], []  # of pictures; each size once for as long as it lasts
        self.pc.addTransceiver('video', 'recvonly')
        self.pc.addTransceiver('audio', 'recvonly')
        self.tasks, self.relay = [], None
        self.news = asyncio.Event()
        self.pc.on('track', lambda track: self.tasks.append(asyncio.ensure_future(self.count(track))))

    async def count(self, track):
        try:
            while True:
                frame = await track.recv()
                self.frames[track.kind] += 1
                self.news.set()
                if track.kind == 'video':
                    self.stamps.append(frame.pts)
                    if self.sizes[-1:] != [(frame.width, frame.height)]:
                        self.sizes.append((frame.width, frame.height))
        except aiortc.mediastreams.MediaStreamError:
            pass

    async def watch(self, server, path, change_offer=lambda sdp: sdp, change_answer=lambda sdp: sdp):
        await self.pc.setLocalDescription(await self.pc.createOffer())
        status, headers, body = await asyncio.to_thread(
            server.request, 'POST', path, change_offer(self.pc.localDescription.sdp), SDP)
        assert status == 201, body
        self.session, self.headers = headers['Location'], headers
        await self.pc.setRemoteDescription(aiortc.RTCSessionDescription(change_answer(body.decode()), 'answer'))
        return self

    async def until(self, good, what, seconds=30):
        async def come():
            while not good():
                self.news.clear()
                await self.news.wait()

        try:
            await asyncio.wait_for(come(), seconds)
        except TimeoutError:
            raise AssertionError(f'{what} did not come: {self.frames} {self.pc.connectionState}') from None

    async def close(self):
        self.watching.discard(self)
        await self.pc.close()
        if self.relay:
            self.relay.transport.close()
        for task in self.tasks:
            task.cancel()


def play(scenario):
    async def whole():
        try:
            await asyncio.wait_for(scenario(), 90)
        finally:
            await asyncio.gather(*[viewer.close() for viewer in Viewer.watching], return_exceptions=True)

    asyncio.run(whole())


# --- playing -----------------------------------------------------------------------------------------------------


def test_aiortc_plays_picture_and_sound_and_its_session_ends_with_delete(show):
    server, _, path = show

    async def scenario():
        viewer = await Viewer().watch(server, path)
        await viewer.until(lambda: viewer.frames['video'] > 60 and viewer.frames['audio'] > 60, 'picture and sound')
        assert viewer.headers['ETag'] == '"ice-1"'
        assert viewer.headers['Matinee-Adapts'] == 'none'
        assert 'Location' in viewer.headers['Access-Control-Expose-Headers']
        assert server.metric('matinee_webrtc_viewers') == 1
        assert (await asyncio.to_thread(server.request, 'DELETE', viewer.session))[0] == 204
        assert (await asyncio.to_thread(server.request, 'DELETE', viewer.session))[0] == 404
        assert server.metric('matinee_webrtc_viewers') == 0

    play(scenario)


@pytest.mark.parametrize('pictures', [5, 240], ids=['right after the handshake', 'when the handshake is forgotten'])
def test_who_leaves_without_delete_is_gone_at_once(show, pictures):
    server, _, path = show

    async def scenario():
        viewer = await Viewer().watch(server, path)
        await viewer.until(lambda: viewer.frames['video'] > pictures, 'the picture')
        await viewer.close()  # of the network it makes a DTLS close_notify, and nothing else
        await asyncio.to_thread(matinee.until, lambda: server.metric('matinee_webrtc_sessions') == 0, 3, 'the end of the session')
        assert server.metric('matinee_webrtc_farewells_total') == 1
        assert server.metric('matinee_webrtc_consents_expired_total') == 0

    play(scenario)


@pytest.mark.long
def test_who_says_nothing_any_more_is_sent_nothing_after_fifteen_seconds(show):
    server, _, path = show

    async def scenario():
        viewer, relay = await relayed(server, path, 0)
        await viewer.until(lambda: viewer.frames['video'] > 5, 'the picture')
        relay.black = True
        await asyncio.to_thread(matinee.until, lambda: server.metric('matinee_webrtc_sessions') == 0, 17, 'the end of the session')
        assert server.metric('matinee_webrtc_consents_expired_total') == 1

    play(scenario)


def test_the_end_of_the_event_ends_its_sessions(show):
    server, event, path = show

    async def scenario():
        viewer = await Viewer().watch(server, path)
        await viewer.until(lambda: viewer.frames['video'] > 5, 'the picture')
        await asyncio.to_thread(server.end, event)
        await asyncio.to_thread(matinee.until, lambda: server.metric('matinee_webrtc_viewers') == 0)
        assert (await asyncio.to_thread(server.request, 'DELETE', viewer.session))[0] == 404
        status, _, body = await asyncio.to_thread(server.request, 'POST', path, OFFER, SDP)
        assert status == 404, body

    play(scenario)


@pytest.mark.parametrize('frames, pyramid, adapts', [(1, 'none', 'drops-b-frames'), (3, 'normal', 'encodes')])
def test_b_frames_are_dropped_where_that_suffices_and_encoded_away_where_not(house, frames, pyramid, adapts):
    event = house.make_event()
    words = matinee.drawn(60, gop=60, extra=('-preset', 'veryfast', '-bf', frames, '-x264-params', f'b-adapt=0:b-pyramid={pyramid}'))
    publisher = matinee.ffmpeg(*words, event['url'])
    path = whep_of(house, event)
    # who asks before the first B-frame has come cannot be told yet
    matinee.until(lambda: house.json(f"/api/v1/videos/{path.split('/')[2]}")['segments'] > 0, what='a segment')

    async def scenario():
        viewer = await Viewer().watch(house, path)
        assert viewer.headers['Matinee-Adapts'] == adapts
        await viewer.until(lambda: viewer.frames['video'] > 45 and viewer.frames['audio'] > 45, 'picture and sound')
        assert viewer.stamps == sorted(set(viewer.stamps)), 'pictures come in the order they are shown'

    play(scenario)
    matinee.end_process(publisher)


@pytest.mark.parametrize('codec', ['libx265', 'libaom-av1'])
def test_what_browsers_do_not_take_over_webrtc_is_encoded_for_them(house, tmp_path, codec):
    event = house.make_event()
    more = ['-cpu-used', '8', '-usage', 'realtime'] if codec == 'libaom-av1' else ['-x265-params', 'log-level=none']
    publisher = matinee.publish(matinee.clip(tmp_path / 'c.mp4', 24, codec=codec, more=more), event['url'])
    path = whep_of(house, event)

    async def scenario():
        viewer = await Viewer().watch(house, path)
        assert viewer.headers['Matinee-Adapts'] == 'encodes'
        await viewer.until(lambda: viewer.frames['video'] > 45 and viewer.frames['audio'] > 45, 'picture and sound')
        assert viewer.stamps == sorted(set(viewer.stamps)), 'pictures come in the order they are shown'

    play(scenario)
    matinee.end_process(publisher)


# What five seconds of picture (30 a second, most of one packet) and sound (50 a second) come to, and some reports.
BLACK_DATAGRAMS = 420


class Relay(asyncio.DatagramProtocol):
    """Carries datagrams between one viewer and the server, and loses some of the server's."""

    def __init__(self, server, loss):
        self.server, self.loss, self.dice, self.viewer = server, loss, random.Random(7), None
        self.black = False
        self.swallowed, self.enough = 0, asyncio.Event()
        self.media = []  # of the server's packets, before any is lost: (when it came, payload type, timestamp)

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        if address == self.server and self.black:
            self.swallowed += 1
            if self.swallowed == BLACK_DATAGRAMS:
                self.enough.set()
        elif address == self.server:
            is_media = data[0] >= 128 and not 192 <= data[1] <= 223
            if is_media:
                self.media.append((time.monotonic(), data[1] & 127, int.from_bytes(data[4:8], 'big')))
            if self.viewer and not (is_media and self.dice.random() < self.loss):
                self.transport.sendto(data, self.viewer)
        elif not self.black:
            self.viewer = address
            self.transport.sendto(data, self.server)


async def relayed(server, path, loss):
    """A viewer whose way leads through a relay."""
    viewer, made = Viewer(), []

    def through(answer):
        host, port = re.search(r' udp \d+ (\S+) (\d+) typ host', answer).groups()
        made.append(Relay((host, int(port)), loss))
        return answer

    loop = asyncio.get_running_loop()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(('127.0.0.1', 0))
    mine = udp.getsockname()[1]

    def change(answer):
        through(answer)
        answer = re.sub(r'a=candidate:\d+ 1 tcp [^\r]*\r\n', '', answer)
        return re.sub(r'( udp \d+ 127\.0\.0\.1) \d+ typ', rf'\1 {mine} typ', answer)

    class Late(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            if made:
                made[0].datagram_received(data, address)

    transport, _ = await loop.create_datagram_endpoint(Late, sock=udp)
    await viewer.watch(server, path, change_answer=lambda a: (change(a), setattr(made[0], 'transport', transport))[0])
    viewer.relay = made[0]
    return viewer, made[0]


def test_what_is_lost_on_the_way_is_repaired(show):
    server, _, path = show

    async def scenario():
        viewer, relay = await relayed(server, path, 0.05)
        await viewer.until(lambda: viewer.frames['video'] > 150, 'the picture over a lossy way')
        assert server.metric('matinee_webrtc_packets_repaired_total') > 0

    play(scenario)


@pytest.fixture
def long_pictures(house):
    """A show with one keyframe a minute: (server, the path of its WHEP, the publisher)."""
    event = house.make_event()
    publisher = matinee.ffmpeg(*matinee.drawn(90, gop=1800, extra=('-bf', 0, '-keyint_min', 1800)), event['url'])
    yield house, whep_of(house, event), publisher
    publisher.kill()
    publisher.wait()


async def four_seconds_behind_the_keyframe(server, path):
    first = await Viewer().watch(server, path)
    await first.until(lambda: first.frames['video'] > 120, 'four seconds')
    return first


def pictures_of(viewer, relay):
    """What its relay saw: (when it came, its timestamp) of its pictures, and the timestamps of what was sent again."""
    kinds = {kind: int(number) for number, kind in re.findall(r'a=rtpmap:(\d+) (H264|rtx)/90000', viewer.pc.remoteDescription.sdp)}
    sent = [(at, stamp) for at, kind, stamp in relay.media if kind == kinds['H264']]
    ahead = [stamp - sent[0][1] & 0xffffffff for _, stamp in sent]
    assert ahead == sorted(ahead), 'timestamps go back'
    return sent, {stamp for _, kind, stamp in relay.media if kind == kinds['rtx']}


@pytest.mark.long
def test_who_comes_long_after_the_keyframe_gets_timestamps_that_go_on_as_its_pictures_come(long_pictures):
    server, path, _ = long_pictures

    async def scenario():
        await four_seconds_behind_the_keyframe(server, path)
        viewer, relay = await relayed(server, path, 0.05)
        await viewer.until(lambda: viewer.frames['video'] > 240, 'all that and four more')
        sent, again = pictures_of(viewer, relay)
        assert len({stamp for _, stamp in sent}) > 240
        assert max(abs((at - sent[0][0]) * 1000 - (stamp - sent[0][1] & 0xffffffff) / 90) for at, stamp in sent) < 500
        assert again and again <= {stamp for _, stamp in sent}

    play(scenario)


@pytest.mark.long
def test_timestamps_do_not_go_back_when_the_publisher_falls_behind_meanwhile(long_pictures):
    server, path, publisher = long_pictures

    async def scenario():
        first = await four_seconds_behind_the_keyframe(server, path)
        matinee.stop_process(publisher)
        viewer, relay = await relayed(server, path, 0)
        await viewer.until(lambda: viewer.frames['video'] >= first.frames['video'], 'all that was there')
        os.kill(publisher.pid, signal.SIGCONT)
        await viewer.until(lambda: viewer.frames['video'] > 200, 'what came after it')
        sent, _ = pictures_of(viewer, relay)
        assert len({stamp for _, stamp in sent}) > 200

    play(scenario)


def stopped_as_it_starts(server):
    """Kills what converts the sound, and stops what comes after it."""
    def converters():
        return matinee.children(server.process.pid, b'convert-live')

    old = matinee.until(converters, what='the converter')
    os.kill(old[0], signal.SIGKILL)
    new = matinee.until(lambda: [pid for pid in converters() if pid not in old], what='the next converter', every=0.001)
    os.kill(new[0], signal.SIGSTOP)
    return new[0]


@pytest.mark.long
def test_sound_that_waited_for_its_converter_is_not_sent_in_a_rush(show):
    server, _, path = show

    async def scenario():
        viewer, relay = await relayed(server, path, 0)
        await viewer.until(lambda: viewer.frames['audio'] > 50, 'the sound')
        kind = int(re.search(r'a=rtpmap:(\d+) opus/48000', viewer.pc.remoteDescription.sdp)[1])

        def sounds(since):
            return [(at, stamp) for at, its, stamp in relay.media if its == kind and at > since]

        converter = await asyncio.to_thread(stopped_as_it_starts, server)
        pictures = viewer.frames['video']
        await viewer.until(lambda: viewer.frames['video'] > pictures + 60, 'two seconds without sound')
        silent = sounds(0)[-1][0]
        assert time.monotonic() - silent > 2, 'the converter was not stopped before it gave something'
        os.kill(converter, signal.SIGCONT)
        await viewer.until(lambda: len(sounds(silent)) > 50, 'the sound again')
        sent = sounds(silent)
        hurry = [(stamp - sent[0][1] & 0xffffffff) / 48 - (at - sent[0][0]) * 1000 for at, stamp in sent]
        assert max(hurry) < 200

    play(scenario)


def test_after_five_black_seconds_the_picture_is_back(show):
    server, _, path = show

    async def scenario():
        viewer, relay = await relayed(server, path, 0)
        await viewer.until(lambda: viewer.frames['video'] > 30, 'the picture')
        relay.black = True
        await asyncio.wait_for(relay.enough.wait(), 20)
        relay.black = False
        seen = viewer.frames['video']
        await viewer.until(lambda: viewer.frames['video'] > seen + 10, 'the picture after it', 5)

    play(scenario)


def test_another_certificate_than_the_offers_gets_no_keys(show):
    server, _, path = show

    async def scenario():
        viewer = Viewer()
        await viewer.watch(server, path, change_offer=lambda sdp: re.sub(
            r'(a=fingerprint:sha-256 )(..)', lambda m: m[1] + ('00' if m[2] != '00' else '01'), sdp))
        await asyncio.to_thread(matinee.until, lambda: server.metric('matinee_webrtc_handshakes_failed_total') > 0)
        assert viewer.frames == {'video': 0, 'audio': 0}
        assert server.metric('matinee_webrtc_viewers') == 0

    play(scenario)


# --- the calls -------------------------------------------------------------------------------------------------------


def test_each_wrong_call_is_told_what_is_wrong(show):
    server, _, path = show
    nowhere = '/v/01ARZ3NDEKTSV4RRFFQ69G5FAV/whep'

    def post(body, headers=SDP, where=path):
        status, _, text = server.request('POST', where, body, headers)
        return status, json.loads(text).get('detail', '') if status >= 400 else text

    assert post(OFFER, {'Content-Type': 'application/json'})[0] == 415
    assert post(OFFER, where=nowhere)[0] == 404
    assert post('{"sdp": 1}')[0] == 400
    assert post('')[0] == 400
    assert post(OFFER + 'a=x\r\n' * 10000)[0] == 400
    assert post(OFFER + 'a=' + 'x' * 70000 + '\r\n')[0] == 413
    status, why = post(OFFER.replace('H264', 'VP8'))
    assert status == 422 and 'H.264' in why
    status, why = post(re.sub('a=fingerprint[^\r]*\r\n', '', OFFER))
    assert status == 422 and 'fingerprint' in why
    assert server.request('GET', path)[0] == 405


def test_patch_is_for_trickle_and_restart(show):
    server, _, path = show
    status, headers, body = server.request('POST', path, OFFER, SDP)
    assert status == 201, body
    session, tag = headers['Location'], headers['ETag']
    restart = 'a=ice-ufrag:new1\r\na=ice-pwd:0123456789abcdef01234567\r\n'

    def patch(**more):
        return server.request('PATCH', session, restart, {**FRAGMENT, **more})

    assert server.request('PATCH', session, restart, {'If-Match': tag, 'Content-Type': 'text/plain'})[0] == 415
    assert patch()[0] == 428
    assert patch(**{'If-Match': '"other"'})[0] == 412
    assert patch(**{'If-Match': tag})[0] == 204
    status, headers, body = patch(**{'If-Match': '*'})
    assert status == 200 and headers['ETag'] != tag and b'a=ice-ufrag:' in body and b'a=ice-pwd:' in body
    assert patch(**{'If-Match': tag})[0] == 412, 'the old tag is stale now'
    assert server.request('DELETE', session)[0] == 204
    assert patch(**{'If-Match': '*'})[0] == 404
    status, headers, _ = server.request('OPTIONS', path, headers={'Origin': 'https://a.example', 'Access-Control-Request-Method': 'PATCH'})
    assert status == 204 and 'PATCH' in headers['Access-Control-Allow-Methods'] and 'If-Match' in headers['Access-Control-Allow-Headers']


def test_a_videos_json_names_its_whep_while_it_is_live(show):
    server, event, path = show
    video = path.split('/')[2]
    assert server.json(f'/api/v1/videos/{video}')['whep'] == path
    server.end(event)
    assert 'whep' not in server.json(f'/api/v1/videos/{video}')


# --- strangers ---------------------------------------------------------------------------------------------------------


def stun(username, password, extra=b''):
    """A binding request with MESSAGE-INTEGRITY and FINGERPRINT."""
    name = username.encode()
    body = struct.pack('>HH', 6, len(name)) + name + b'\0' * (-len(name) % 4) + extra + struct.pack('>HH', 0x25, 0)
    head = struct.pack('>HHI', 1, len(body) + 24, 0x2112A442) + os.urandom(12)
    body += struct.pack('>HH', 8, 20) + hmac.new(password.encode(), head + body, hashlib.sha1).digest()
    head = struct.pack('>HHI', 1, len(body) + 8, 0x2112A442) + head[8:]
    return head + body + struct.pack('>HHI', 0x8028, 4, zlib.crc32(head + body) ^ 0x5354554E)


def credentials(answer):
    ufrag = re.search(r'a=ice-ufrag:(\S+)', answer)[1]
    password = re.search(r'a=ice-pwd:(\S+)', answer)[1]
    host, port = re.search(r' udp \d+ (\S+) (\d+) typ host', answer).groups()
    return ufrag, password, (host, int(port))


def test_a_true_check_is_answered_and_forged_and_unknown_ones_get_silence(show):
    server, _, path = show
    _, _, body = server.request('POST', path, OFFER, SDP)
    ufrag, password, port = credentials(body.decode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(port)
        for _ in range(2000):
            s.send(stun('nobody:them', password))
        for wrong in ('', 'x' * 27, password[:-1]):
            s.send(stun(f'{ufrag}:them', wrong))
        true = stun(f'{ufrag}:them', password)
        s.send(true[:-1] + bytes([true[-1] ^ 1]))  # a wrong FINGERPRINT
        s.send(true)
        s.settimeout(5)
        answer = s.recv(2048)  # the first that comes, so nothing was said to those before
        assert answer[:2] == b'\x01\x01' and answer[8:20] == true[8:20]
        s.settimeout(0.3)
        with pytest.raises(TimeoutError):
            s.recv(2048)
    assert server.metric('matinee_webrtc_datagrams_ignored_total') >= 2004


def test_garbage_of_every_length_changes_nothing_for_who_watches(show):
    server, _, path = show
    dice = random.Random(3)

    async def scenario():
        viewer = await Viewer().watch(server, path)
        await viewer.until(lambda: viewer.frames['video'] > 5, 'the picture')
        status, _, body = await asyncio.to_thread(server.request, 'POST', path, OFFER, SDP)
        assert status == 201
        ufrag, password, port = credentials(body.decode())

        def throw():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s, socket.create_connection(port) as t:
                s.connect(port)
                s.send(stun(f'{ufrag}:them', password))  # from now on DTLS of this address is listened to
                for size in range(1, 1500):
                    junk = bytearray(dice.randbytes(size))
                    for first in (0, 1, 22, 128, 200):
                        junk[0] = first
                        s.send(junk)
                t.sendall(b'\0\x20' + dice.randbytes(32) + b'\xff\xff' + dice.randbytes(1000))

        await asyncio.to_thread(throw)
        seen = viewer.frames['video']
        await viewer.until(lambda: viewer.frames['video'] > seen + 30, 'the picture, still')

    play(scenario)
    assert server.process.poll() is None


# As many half-open sessions of one address as there may be (WEBRTC_HALF_OPEN_ADDRESS_MAX), and offers of one at once.
HALF_OPEN_ADDRESS, OFFERS_AT_ONCE = 500, 600


def flood(server, path, count, source):
    """So many offers of one address that nobody comes for: how often each status was answered."""
    host, port = server.http.split('//')[1].split(':')
    line = http.client.HTTPConnection(host, int(port), timeout=20, source_address=(source, 0))
    answers = collections.Counter()
    for _ in range(count):
        line.request('POST', path, OFFER, SDP)
        answer = line.getresponse()
        answer.read()
        answers[answer.status] += 1
    line.close()
    return answers


@pytest.mark.long
def test_ten_thousand_half_open_sessions_are_bounded_and_keep_nobody_out(show):
    server, _, path = show

    async def scenario():
        for n in range(10):  # ten addresses: of all of loopback each is one
            answers = await asyncio.to_thread(flood, server, path, 1000, f'127.0.1.{n + 1}')
            assert answers == {201: 1000}
            assert server.metric('matinee_webrtc_sessions') <= min(2000, (n + 1) * HALF_OPEN_ADDRESS)
        assert server.metric('matinee_webrtc_half_open_pushed_out_total') >= 8000
        viewer = await Viewer().watch(server, path)
        await viewer.until(lambda: viewer.frames['video'] > 5, 'the picture, among two thousand who never come')
        await asyncio.to_thread(flood, server, path, 600, '127.0.1.1')
        seen = viewer.frames['video']
        await viewer.until(lambda: viewer.frames['video'] > seen + 5, 'the picture, still')

    play(scenario)
    matinee.until(lambda: server.metric('matinee_webrtc_sessions') == 0, 40, 'the end of those who never came')


def test_one_address_begins_so_many_sessions_a_minute_and_others_are_let_in(make_server):
    server = make_server('--segment', '2', '--webrtc', '127.0.0.1:0', '--limit-loopback')
    event = server.make_event()
    publisher = matinee.publish('demo', event['url'], '--size', '320x180', '--bitrate', '300k')
    path = whep_of(server, event)
    answers = flood(server, path, 900, '127.0.1.1')
    assert set(answers) == {201, 429} and OFFERS_AT_ONCE <= answers[201] < 900
    assert flood(server, path, 1, '127.0.1.2') == {201: 1}
    matinee.end_process(publisher)


def test_strangers_who_send_without_end_are_not_even_read_and_a_viewer_beside_them_is(make_server):
    server = make_server('--segment', '2', '--webrtc', '127.0.0.1:0', '--limit-loopback')
    event = server.make_event()
    publisher = matinee.publish('demo', event['url'], '--size', '320x180', '--bitrate', '300k')
    path = whep_of(server, event)

    async def scenario():
        viewer = await Viewer().watch(server, path)
        await viewer.until(lambda: viewer.frames['video'] > 5, 'the picture')

        def throw():
            port = credentials(viewer.pc.remoteDescription.sdp)[2]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.bind(('127.0.0.1', 0))
                s.connect(port)
                while server.metric('matinee_webrtc_datagrams_unread_total') < 1000:
                    for _ in range(1000):
                        s.send(stun('nobody:them', 'x' * 27))

        await asyncio.to_thread(throw)
        seen = viewer.frames['video']
        await viewer.until(lambda: viewer.frames['video'] > seen + 5 * 30, 'the picture, still', 15)  # and its consent

    play(scenario)
    matinee.end_process(publisher)


# --- relays ----------------------------------------------------------------------------------------------------------------


def links(headers):
    """The ICE servers of an answer: {URI: {parameter: value}}."""
    return {uri: dict(re.findall(r'; ([\w-]+)="([^"]*)"', words))
            for uri, words in re.findall(r'<([^>]*)>([^<]*)', headers.get('Link', ''))}


def test_ice_servers_are_told_with_their_passwords_in_the_answer_and_before(make_server):
    server = make_server('--webrtc', '127.0.0.1:0', '--ice-server', 'turn:turn.example.net:3478?transport=udp,stun:stun.example.net',
                         '--turn-user', 'viewer', '--turn-password', 'secret/1')
    event = server.make_event()
    publisher = matinee.publish('demo', event['url'], '--size', '320x180', '--bitrate', '300k')
    path = whep_of(server, event)
    for method, body, status in (('POST', OFFER, 201), ('OPTIONS', None, 204)):
        got, headers, text = server.request(method, path, body, SDP)
        assert got == status, text
        assert 'Link' in headers['Access-Control-Expose-Headers']
        assert links(headers) == {
            'turn:turn.example.net:3478?transport=udp': {
                'rel': 'ice-server', 'username': 'viewer', 'credential': 'secret/1', 'credential-type': 'password'},
            'stun:stun.example.net': {'rel': 'ice-server'}}
    status, headers, _ = server.request('OPTIONS', path, headers={'Access-Control-Request-Method': 'OPTIONS'})
    assert status == 204 and 'OPTIONS' in headers['Access-Control-Allow-Methods']
    assert server.request('OPTIONS', '/v/01ARZ3NDEKTSV4RRFFQ69G5FAV/whep')[0] == 404
    matinee.end_process(publisher)


@pytest.mark.parametrize('words, why', [
    (('--ice-server', 'http://x'), '--ice-server wants'), (('--ice-server', 'turn:x'), 'wants --turn-secret'),
    (('--ice-server', 'stun:x>; rel=y'), '--ice-server wants'),
    (('--ice-server', 'turn:x', '--turn-user', 'a"b', '--turn-password', 'p'), 'visible ASCII')])
def test_what_cannot_be_told_as_an_ice_server_is_refused_at_the_start(make_server, words, why):
    with pytest.raises(AssertionError, match=re.escape(why)):
        make_server(*words)


def coturn(folder, *words):
    """A TURN server that relays on loopback: its address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    process = subprocess.Popen(
        ['turnserver', '-n', '-L', '127.0.0.1', '-E', '127.0.0.1', '-p', str(port), '--allow-loopback-peers', '--cli-password=x',
         '--no-tls', '--no-dtls', '--no-cli', '-r', 'matinee', '--userdb', str(folder / 'turn.db'), '--pidfile', str(folder / 'turn.pid'),
         '--log-file', 'stdout', *words], stdin=subprocess.DEVNULL, stdout=open(folder / 'turn.log', 'wb'), stderr=subprocess.STDOUT)
    return process, port


@pytest.mark.skipif(shutil.which('turnserver') is None, reason='coturn is not installed')
def test_a_viewer_whose_only_way_is_a_relay_plays_with_the_password_that_it_is_told(make_server, tmp_path, monkeypatch):
    kwargs = aiortc.rtcicetransport.connection_kwargs
    monkeypatch.setattr(aiortc.rtcicetransport, 'connection_kwargs',
                        lambda servers: {**kwargs(servers), 'transport_policy': aioice.ice.TransportPolicy.RELAY})
    relay, port = coturn(tmp_path, '--use-auth-secret', '--static-auth-secret=hush')
    server = make_server('--segment', '2', '--webrtc', '127.0.0.1:0', '--ice-server', f'turn:127.0.0.1:{port}?transport=udp',
                         '--turn-secret', 'hush')
    event = server.make_event()
    publisher = matinee.publish('demo', event['url'], '--size', '320x180', '--bitrate', '300k')
    path = whep_of(server, event)
    status, headers, _ = server.request('OPTIONS', path)
    (uri, said), = links(headers).items()
    assert status == 204 and int(said['username'].split(':')[0]) > time.time() + 3600

    async def scenario():
        viewer = Viewer([aiortc.RTCIceServer(uri, said['username'], said['credential'])])
        await viewer.watch(server, path)
        assert set(re.findall(r' typ (\w+)', viewer.pc.localDescription.sdp)) == {'relay'}
        await viewer.until(lambda: viewer.frames['video'] > 30 and viewer.frames['audio'] > 30, 'picture and sound by the relay')
        await viewer.close()

    try:
        play(scenario)
    finally:
        matinee.end_process(publisher)
        relay.terminate()
        relay.wait(10)

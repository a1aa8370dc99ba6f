"""WebRTC over networks that lose, go dark and translate: aiortc in a network namespace, behind a router of nftables (street.py)."""
import asyncio
import contextlib
import json
import re
import time

import matinee
import pytest

pytest.importorskip('aiortc')

from street import Street
from test_webrtc import Viewer, whep_of

WHY_NOT = Street.possible()

pytestmark = [pytest.mark.alone, pytest.mark.long, pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))]


@pytest.fixture
def show(street, make_server):
    server = make_server('--segment', '2', '--grace', '2', '--webrtc', f'{street.server_at}:0')
    event = server.make_event()
    publisher = matinee.publish('demo', event['url'], '--size', '320x180', '--bitrate', '300k')
    yield server, whep_of(server, event)
    matinee.end_process(publisher)


@contextlib.asynccontextmanager
async def watching(server, path, **changes):
    """A viewer that is gone afterwards, whatever happens: its decoder is a thread."""
    viewer = Viewer()
    try:
        yield await viewer.watch(server, path, **changes)
    finally:
        await viewer.close()


async def nobody_is_left(server):
    await asyncio.to_thread(matinee.until, lambda: server.metric('matinee_webrtc_sessions') == 0, 20, 'the end of all sessions')
    assert await asyncio.to_thread(server.metric, 'matinee_webrtc_viewers') == 0


def test_a_line_that_loses_one_in_twenty_both_ways_shows_the_picture(street, show):
    server, path = show
    street.lose(5)

    async def scenario():
        async with watching(server, path) as viewer:
            await viewer.until(lambda: viewer.frames['video'] > 300, 'ten seconds of picture over a lossy line', 25)
            assert await asyncio.to_thread(server.metric, 'matinee_webrtc_packets_repaired_total') > 0
        await nobody_is_left(server)

    street.play(scenario)


def test_three_seconds_after_a_line_was_dark_for_five_the_picture_is_back(street, show):
    server, path = show

    async def scenario():
        async with watching(server, path) as viewer:
            await viewer.until(lambda: viewer.frames['video'] > 60, 'the picture')
            await asyncio.to_thread(street.black)
            dark = time.monotonic()
            await asyncio.to_thread(matinee.until, lambda: time.monotonic() - dark >= 5)
            await asyncio.to_thread(street.clear)
            bright, seen = time.monotonic(), viewer.frames['video']
            await viewer.until(lambda: viewer.frames['video'] > seen + 10, 'the picture after the dark', 10)
            took = time.monotonic() - bright
            assert took < 3, f'the picture came back after {took:.1f} s'
        await nobody_is_left(server)

    street.play(scenario)


# --- renditions --------------------------------------------------------------------------------------------------


def looked(server, path):
    status, _, body = server.request('GET', f"/api/v1/videos/{path.split('/')[2]}/webrtc", admin=True)
    assert status == 200, body
    return json.loads(body)


def test_a_thin_line_gets_the_lower_rendition_without_a_break_and_a_clean_one_the_full_again(street, make_server):
    server = make_server('--segment', '2', '--grace', '2', '--webrtc', f'{street.server_at}:0')
    event = server.make_event()
    publisher = matinee.ffmpeg(*matinee.drawn(150, '640x360', extra=(
        '-vf', 'noise=alls=40:allf=t', '-bf', '0', '-tune', 'zerolatency', '-b:v', '1500k', '-maxrate', '1500k', '-bufsize', '500k')), event['url'])
    path = whep_of(server, event)

    async def scenario():
        async with watching(server, path) as viewer:
            await viewer.until(lambda: viewer.frames['video'] > 60, 'the picture')
            assert viewer.sizes == [(640, 360)]
            await asyncio.to_thread(street.thin, 140_000)  # 1.1 Mbit/s: too little for the one, enough for the other
            await viewer.until(lambda: viewer.sizes[-1] == (426, 240), 'the lower rendition', 40)
            seen = viewer.frames['video']
            await viewer.until(lambda: viewer.frames['video'] > seen + 90, 'the lower rendition, going on')
            assert await asyncio.to_thread(server.metric, 'matinee_webrtc_lowered_total') == 1
            now = await asyncio.to_thread(looked, server, path)
            full, low = now['renditions']
            assert (low['name'], low['height'], low['viewers']) == ('low', 240, 1) and low['bandwidth'] < full['bandwidth']
            assert [v['rendition'] for v in now['viewers']] == ['low']
            await asyncio.to_thread(street.clear)
            await viewer.until(lambda: viewer.sizes[-1] == (640, 360), 'the full rendition', 40)
            seen = viewer.frames['video']
            await viewer.until(lambda: viewer.frames['video'] > seen + 60, 'the full rendition, going on')
            assert viewer.sizes == [(640, 360), (426, 240), (640, 360)]
            assert viewer.stamps == sorted(set(viewer.stamps)), 'the timeline goes on over both changes'
            assert await asyncio.to_thread(server.metric, 'matinee_webrtc_raised_total') == 1
        await nobody_is_left(server)

    street.play(scenario, 150)
    matinee.end_process(publisher)


# --- NAT ---------------------------------------------------------------------------------------------------------


def test_behind_one_to_one_nat_the_public_address_is_told_and_works(street, make_server):
    server = make_server('--segment', '2', '--grace', '2', '--webrtc', f'{street.server_at}:0', '--webrtc-public', street.public_at)
    event = server.make_event()
    publisher = matinee.publish('demo', event['url'], '--size', '320x180', '--bitrate', '300k')
    path = whep_of(server, event)
    street.translate()

    async def scenario():
        async with watching(server, path) as viewer:
            assert set(re.findall(r'a=candidate:\S+ 1 \S+ \d+ (\S+) ', viewer.pc.remoteDescription.sdp)) == {street.public_at}
            await viewer.until(lambda: viewer.frames['video'] > 30 and viewer.frames['audio'] > 30, 'picture and sound through NAT')
        await nobody_is_left(server)

    street.play(scenario)
    matinee.end_process(publisher)

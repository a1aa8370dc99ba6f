"""WebRTC over networks that lose, go dark and translate: aiortc in a network namespace, behind a router of nftables (street.py)."""
import asyncio
import contextlib
import time

import matinee
import pytest

pytest.importorskip('aiortc')

from street import Street
from test_webrtc import Viewer, whep_of

WHY_NOT = Street.possible()

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


@pytest.fixture
def street():
    s = Street()
    try:
        yield s.open()
    finally:
        s.close()


def show_of(server, *words):
    """A live video: (the path of its WHEP, its publisher)."""
    event = server.make_event()
    publisher = matinee.publish('demo', event['url'], *(words or ('--size', '320x180', '--bitrate', '300k')))
    return whep_of(server, event), publisher


@pytest.fixture
def show(street, make_server):
    server = make_server('--segment', '2', '--grace', '2', '--webrtc', f'{street.server_at}:0')
    path, publisher = show_of(server)
    yield server, path
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
            await asyncio.sleep(5)  # this is what is tested
            await asyncio.to_thread(street.clear)
            bright, seen = time.monotonic(), viewer.frames['video']
            await viewer.until(lambda: viewer.frames['video'] > seen + 10, 'the picture after the dark', 10)
            took = time.monotonic() - bright
            assert took < 3, f'the picture came back after {took:.1f} s'
        await nobody_is_left(server)

    street.play(scenario)

"""Low latency over the built server: the checker finds nothing, and finds what is broken on purpose; what waits is answered."""
import concurrent.futures
import itertools
import os
import re
import signal
import threading
import time

import ladder
import matinee
import pytest

from low_latency import DASH, HLS, Fetch, Playlist, check_dash, check_hls, playlists

SECONDS = 5

pytestmark = pytest.mark.alone


@pytest.fixture(scope='module')
def show(tmp_path_factory):
    """A live video with half a minute behind it, so that updates have something to skip."""
    server = matinee.Server(tmp_path_factory.mktemp('low') / 'data', '--segment', '2', '--ladder', 'none').start()
    event = server.make_event('low')
    assert matinee.publish('demo', event['url'], '--size', '320x180', '--duration', 44, '--speed', 'max').wait(60) == 0
    publisher = matinee.publish('demo', event['url'], '--size', '320x180')
    try:
        video = server.video(event)
        matinee.until(lambda: server.json(f'/api/v1/videos/{video}')['segments'] >= 24, what='the second publisher')
        server.base = f'{server.http}/v/{video}'
        yield server
    finally:
        matinee.end_process(publisher)
        server.close()


def test_hls_keeps_every_rule(show):
    verdicts = check_hls(lambda: Fetch(show.base), 12)
    print(verdicts)
    assert verdicts.failures() == {}


def test_dash_keeps_every_rule(show):
    verdicts = check_dash(lambda: Fetch(show.base), 10)
    print(verdicts)
    assert verdicts.failures() == {}


def test_who_comes_first_finds_the_parts_of_segments_that_nobody_watched(show):
    event = show.make_event('unwatched')
    publisher = matinee.publish('demo', event['url'], '--size', '320x180')
    video = matinee.until(lambda: show.video(event), what='the video')
    matinee.until(lambda: show.json(f'/api/v1/videos/{video}')['segments'] >= 4, what='four segments')
    fetch = Fetch(f'{show.http}/v/{video}')
    try:
        for name in ('source', 'audio'):
            playlist = Playlist(fetch(f'{name}/playlist.m3u8').text)
            listed = [(uri, parts) for uri, _, parts in playlist.segments if parts]
            assert [uri for uri, _ in listed] == [uri for uri, _, _ in playlist.segments[-2:]]
            for uri, parts in listed:
                answers = [fetch(f"{name}/{p['URI']}") for p in parts]
                assert {a.status for a in answers} == {200} and len({a.headers['ETag'] for a in answers}) == len(answers)
                assert 'immutable' in answers[0].headers['Cache-Control'] and answers[0].headers['Content-Type'].startswith(('audio/', 'video/'))
                assert b''.join(a.body for a in answers) == fetch(f'{name}/{uri}').body
            beyond = f"{name}/{listed[0][0].removesuffix('.m4s')}.{len(listed[0][1])}.m4s"
            assert fetch(beyond).status == 404
    finally:
        matinee.end_process(publisher)


# --- what is broken on purpose is found -----------------------------------------------------------------------------

def text(pattern, replacement, where='playlist.m3u8'):
    """Changes the text of playlists or manifests."""
    def change(path, answer):
        if where in path and answer.status == 200:
            answer.body = re.sub(pattern, replacement, answer.text, flags=re.M).encode()
    return change


def part(work):
    def change(path, answer):
        if re.search(r'/\d+\.\d+\.m4s', path):
            work(answer)
    return change


def body(work):
    def change(answer):
        answer.body = work(answer.body)
    return change


def unchanged():
    """What a careless cache does: the playlist of before."""
    kept = {}

    def change(path, answer):
        if 'playlist' in path and answer.status == 200:
            answer.body = kept.setdefault(path.split('?')[0], answer.body)
    return change


def counted(text, start):
    """Another number in every answer: what only went to and fro could look still to one of two players who ask in turn."""
    numbers = itertools.count(start)
    return lambda match: text % next(numbers)


def answers(status, where):
    def change(path, answer):
        if re.search(where, path):
            answer.status = status
    return change


def whole_segment(path, answer):
    if re.search(r'/\d{6}\.m4s', path):
        answer.headers.pop('Transfer-Encoding', None)


def without_header(name, where):
    def change(path, answer):
        if re.search(where, path):
            answer.headers.pop(name, None)
    return change


def later(seconds, where):
    def change(path, answer):
        if re.search(where, path):
            answer.ended += seconds
    return change


BROKEN_HLS = {
    'the master names every playlist with its codecs': text(r',CODECS="[^"]*"', '', 'low.m3u8'),
    'PART-TARGET never changes': text(r'PART-TARGET=[\d.]+', counted('PART-TARGET=0.2%06d', 10000)),
    'a blocked reload waits for it': later(5, r'_HLS_msn=\d+&_HLS_part=\d&'),
    'a part past its segment means the next one': answers(400, r'_HLS_msn=\d+&_HLS_part=1\d$'),
    'what is skipped and what is listed is all': text(r'SKIPPED-SEGMENTS=\d+', 'SKIPPED-SEGMENTS=0'),
    'CAN-BLOCK-RELOAD=YES': text('CAN-BLOCK-RELOAD=YES,', ''),
    'PART-HOLD-BACK is at least 3 part targets': text(r'PART-HOLD-BACK=[\d.]+', 'PART-HOLD-BACK=0.5'),
    'HOLD-BACK is at least 3 target durations': text(r',HOLD-BACK=[\d.]+', ',HOLD-BACK=6.0'),
    'CAN-SKIP-UNTIL is at least 6 target durations': text(r'CAN-SKIP-UNTIL=[\d.]+', 'CAN-SKIP-UNTIL=12.0'),
    'TARGETDURATION never changes': text(r'TARGETDURATION:\d+', counted('TARGETDURATION:%d', 5)),
    'EXTINF fits TARGETDURATION': text(r'EXTINF:[\d.]+', 'EXTINF:9.0'),
    'no part is longer than PART-TARGET': text('PART:DURATION=', 'PART:DURATION=1'),
    'every part but the last of a segment has 85 % of PART-TARGET': text(r'PART:DURATION=[\d.]+', 'PART:DURATION=0.15'),
    'PROGRAM-DATE-TIME is there': text('^#EXT-X-PROGRAM.*\n', ''),
    'a preload hint is there': text('^#EXT-X-PRELOAD-HINT.*\n', ''),
    'what was hinted comes': text(r'(PRELOAD-HINT.*)URI="\d+', r'\1URI="000001'),
    'every other playlist is reported': text('^#EXT-X-RENDITION-REPORT.*\n', ''),
    'a report is of now': text(r'LAST-MSN=\d+', 'LAST-MSN=1'),
    'a blocked reload has what was asked for': unchanged(),
    'a delta update skips, and says how much': text(r'SKIPPED-SEGMENTS=\d+', 'SKIPPED-SEGMENTS=1'),
    '_HLS_part without _HLS_msn is 400': answers(200, r'\?_HLS_part=0'),
    'a segment too far ahead is 400': answers(200, r'_HLS_msn=\d+$'),
    'a part too far ahead is 400': answers(503, r'_HLS_part=\d{4}'),
    'what is no number is 400': answers(404, r'_HLS_msn=x'),
    'playlists are compressed': without_header('Content-Encoding', 'playlist'),
    'segments stay as they were': text(r'^000003\.m4s', counted('%06d.m4s', 3)),
    'a listed part can be had': part(lambda answer: setattr(answer, 'status', 404)),
    'a part is whole chunks': part(body(lambda b: b[:-1])),
    'INDEPENDENT parts begin with a keyframe': text(r'(URI="\d+\.[1-9]\.m4s")$', r'\1,INDEPENDENT=YES'),
    'a part is as long as it says': text('PART:DURATION=0.20', 'PART:DURATION=0.18'),
    'a part lies where the playlist says': text(r'EXTINF:([\d.]+)', lambda m: f'EXTINF:{float(m[1]):.2f}'),
    'the parts of a segment are the segment': part(body(lambda b: b[:-1] + bytes([b[-1] ^ 1]))),
    'parts are immutable': part(lambda answer: answer.headers.pop('Cache-Control')),
    'playlists are kept for moments only': without_header('Cache-Control', 'playlist'),
}
BROKEN_DASH = {
    'the manifest is dynamic': text('type="dynamic"', 'type="static"', 'mpd'),
    'availabilityStartTime never changes': text(r'availabilityStartTime="\d{4}', counted('availabilityStartTime="%d', 2000), 'mpd'),
    'every template says availabilityTimeOffset': text(r' availabilityTimeOffset="[\d.]+"', '', 'mpd'),
    'availabilityTimeComplete is false': text('availabilityTimeComplete="false"', '', 'mpd'),
    'availabilityTimeOffset leaves a chunk': text(r'availabilityTimeOffset="[\d.]+"', 'availabilityTimeOffset="9"', 'mpd'),
    'ServiceDescription has latency and rates': text('<PlaybackRate[^>]*>', '', 'mpd'),
    'UTCTiming tells the time in milliseconds': text(r'\.\d+Z', 'Z', '/api/v1/time'),
    'a producer reference time is announced': text('<ProducerReferenceTime.*?</ProducerReferenceTime>', '', 'mpd'),
    'the open segment is listed': whole_segment,
    'segments lie end to end': text(r'<S d="\d+"/></SegmentTimeline>', '<S t="77" d="1000"/></SegmentTimeline>', 'mpd'),
    'what is listed stays': text(r'<S t="(\d+)"', lambda m: f'<S t="{int(m[1]) + time.monotonic_ns() % 1000}"', 'mpd'),
    'the open segment comes while it grows': lambda path, answer: path.endswith('.m4s') and answer.pieces.__delitem__(slice(1, None)),
    'what came is what it became': lambda path, answer: path.endswith('.m4s') and setattr(answer, 'body', answer.body + bytes([int(answer.began * 1000) % 256])),
    'chunks begin with moof or prft': lambda path, answer: path.endswith('.m4s') and setattr(answer, 'body', answer.body[8:]),
    'prft says when': lambda path, answer: path.endswith('.m4s') and setattr(answer, 'body', answer.body[:16] + bytes(4) + answer.body[20:]),
    'tfdt is where the timeline says': text(r'<S t="(\d+)"', lambda m: f'<S t="{int(m[1]) + 90000}"', 'mpd'),
}


def broken(base, change):
    class Broken(Fetch):
        def __call__(self, path):
            answer = super().__call__(path)
            change(path, answer)
            return answer
    return lambda: Broken(base)


def test_every_rule_has_one_who_breaks_it():
    assert set(BROKEN_HLS) == set(HLS) and set(BROKEN_DASH) == set(DASH)


@pytest.mark.long
def test_every_rule_that_is_broken_on_purpose_is_found(show):
    def run(check, rule, change):
        return rule, check(broken(show.base, change), SECONDS).broken

    cases = [(check, rule, change) for check, broken_ones in ((check_hls, BROKEN_HLS), (check_dash, BROKEN_DASH))
             for rule, change in broken_ones.items()]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        missed = [case for case, (rule, found) in zip(cases, pool.map(lambda case: run(*case), cases)) if rule not in found]
    # On a busy machine one of so many checkers at once may get no second look at its text: it gets one alone.
    assert [rule for rule, found in (run(*case) for case in missed) if rule not in found] == []


# --- waiting --------------------------------------------------------------------------------------------------------

def test_all_who_wait_for_a_part_get_it_at_once_and_the_same(show):
    now = Playlist(Fetch(show.base)('source/playlist.m3u8').text)
    query = f'source/playlist.m3u8?_HLS_msn={now.count}&_HLS_part={len(now.open) + 1}'
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        got = list(pool.map(lambda _: Fetch(show.base)(query), range(32)))
    assert {a.status for a in got} == {200}
    assert len({a.headers['ETag'] for a in got}) <= 2  # who came late may have the next one
    assert max(a.ended for a in got) - min(a.ended for a in got) < .5


def test_a_hinted_part_is_sent_when_it_is_there(show):
    now = Playlist(Fetch(show.base)('source/playlist.m3u8').text)
    part = Fetch(show.base)(f'source/{now.hint}')
    assert part.status == 200 and part.body[4:8] in (b'moof', b'prft')
    assert Fetch(show.base)('source/000001.999.m4s').status == 404
    assert Fetch(show.base)('source/999999.0.m4s').status == 404


def test_who_waits_when_the_publisher_leaves_is_told_in_time_and_at_the_end_at_once(make_server):
    server = make_server('--segment', '1', '--ladder', 'none')
    event = server.make_event('end')
    publisher = matinee.publish('demo', event['url'], '--size', '320x180', '--gop', '1')
    try:
        video = matinee.until(lambda: server.video(event), 5, 'the video')
        base = f'{server.http}/v/{video}'
        matinee.until(lambda: server.json(f'/api/v1/videos/{video}')['segments'] >= 2, what='two segments')
    finally:
        matinee.end_process(publisher)
    matinee.until(lambda: server.event(event)['health'] is None, what='the absence')
    now = Playlist(Fetch(base)('source/playlist.m3u8').text)
    assert now.hint is None and now.control['CAN-BLOCK-RELOAD'] == 'YES'
    waiting = {}

    def wait(name, query):
        waiting[name] = Fetch(base)(f'source/{query}')

    late = threading.Thread(target=wait, args=['late', f'playlist.m3u8?_HLS_msn={now.count}'])
    late.start()
    late.join(3 * now.target + 2)
    assert waiting['late'].status == 503  # never a playlist that has not changed
    assert waiting['late'].ended - waiting['late'].began >= 3 * now.target - 1
    ended = threading.Thread(target=wait, args=['ended', f'playlist.m3u8?_HLS_msn={now.count}'])
    ended.start()
    matinee.until(lambda: server.metric('matinee_edge_requests_waiting') == 1, what='the request that waits')
    server.end(event)
    ended.join(5)
    assert waiting['ended'].status == 200 and '#EXT-X-ENDLIST' in waiting['ended'].text
    assert server.metric('matinee_edge_requests_waiting') == 0


def test_a_waiting_request_is_forgotten_when_its_player_hangs_up(show):
    now = Playlist(Fetch(show.base)('audio/playlist.m3u8').text)
    fetch = Fetch(show.base)
    fetch('audio/init-0.mp4')
    before = show.metric('matinee_edge_requests_waiting')
    fetch.connection.request('GET', f'{fetch.url.path}/audio/playlist.m3u8?_HLS_msn={now.count + 1}&_HLS_part=1')
    matinee.until(lambda: show.metric('matinee_edge_requests_waiting') > before, what='the waiting request')
    fetch.connection.close()
    matinee.until(lambda: show.metric('matinee_edge_requests_waiting') <= before, 1, what='its end')


def test_a_server_that_closes_lets_nobody_wait(make_server):
    server = make_server('--segment', '1', '--ladder', 'none')
    event = server.make_event('close')
    publisher = matinee.publish('demo', event['url'], '--size', '320x180', '--gop', '1')
    try:
        video = matinee.until(lambda: server.video(event), 5, 'the video')
        matinee.until(lambda: server.json(f'/api/v1/videos/{video}')['segments'] >= 2, what='two segments')
        base, answers_got = f'{server.http}/v/{video}', []
        now = Playlist(Fetch(base)('source/playlist.m3u8').text)
        waiter = threading.Thread(target=lambda: answers_got.append(Fetch(base)(f'source/playlist.m3u8?_HLS_msn={now.count + 1}')))
        waiter.start()
        matinee.until(lambda: server.metric('matinee_edge_requests_waiting') == 1, what='the request that waits')
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10
        waiter.join(5)
        assert answers_got and answers_got[0].status in (200, 503)
    finally:
        matinee.end_process(publisher)


# --- what is made of a live source ----------------------------------------------------------------------------------

@pytest.fixture
def laddered(make_server):
    """A live video with one rendition that is made of it, by one worker, chunk by chunk."""
    server = make_server('--segment', '4', '--ladder', '144p', '--workers', '1')
    event = server.make_event('made')
    publisher = matinee.publish('demo', event['url'], '--size', '320x180')
    try:
        video = matinee.until(lambda: server.video(event), 10, 'the video')
        server.base = f'{server.http}/v/{video}'
        matinee.until(lambda: '144p/playlist.m3u8' in playlists(Fetch(server.base)('master.m3u8').text), 40, 'the rendition in the master')
        matinee.until(lambda: Playlist(Fetch(server.base)('144p/playlist.m3u8').text).open, 20, 'its parts')
        yield server
    finally:
        matinee.end_process(publisher)


@pytest.mark.long
def test_parts_of_made_renditions_keep_every_rule(laddered):
    master = Fetch(laddered.base)('master.m3u8').text
    assert playlists(master) == ['source/steady.m3u8', '144p/playlist.m3u8', 'audio/steady.m3u8']
    assert playlists(Fetch(laddered.base)('low.m3u8').text) == ['source/playlist.m3u8', 'audio/playlist.m3u8']
    verdicts = check_hls(lambda: Fetch(laddered.base), 14, multivariant='master.m3u8')
    print(verdicts)
    assert verdicts.failures() == {}


def reload(fetch, name, now):
    """The playlist with its next part, and its answer."""
    answer = fetch(f'{name}?_HLS_msn={now.count}&_HLS_part={len(now.open)}')
    return Playlist(answer.text) if answer.status == 200 else None, answer


def seconds_of(playlist):
    return sum(s for _, s, _ in playlist.segments) + sum(float(p['DURATION']) for p in playlist.open)


@pytest.mark.long
def test_who_follows_a_made_rendition_by_its_parts_is_a_chunk_behind_the_source(laddered):
    fetch = Fetch(laddered.base)
    now = Playlist(fetch('144p/playlist.m3u8').text)
    steady = Playlist(fetch('source/steady.m3u8').text)
    assert 2 <= now.part_target <= 2.5
    assert float(steady.control['PART-HOLD-BACK']) > float(now.control['PART-HOLD-BACK']) >= 3 * now.part_target
    assert steady.part_target <= .5
    behind = []
    for _ in range(5):
        now, answer = reload(fetch, '144p/playlist.m3u8', now)
        assert now, answer.text
        behind.append(seconds_of(Playlist(fetch('source/steady.m3u8').text)) - seconds_of(now))
    assert max(behind) < now.part_target, behind  # a chunk is there before the next one of the source is whole
    part = fetch('144p/' + now.parts()[-1]['URI'])
    assert part.status == 200 and part.body[4:8] == b'moof'


@pytest.mark.long
def test_a_rendition_that_lags_leaves_the_master_and_keeps_nobody_waiting(laddered):
    fetch = Fetch(laddered.base)
    now = Playlist(fetch('144p/playlist.m3u8').text)
    stopped = []

    def stop():
        for pid in set(ladder.workers_of(laddered.process.pid)) - set(stopped):
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)
        return stopped
    try:
        matinee.until(stop, 10, 'a worker at work')
        while now:
            came = time.monotonic()
            now, answer = reload(fetch, '144p/playlist.m3u8', now)
        assert answer.status == 404 and b'/problems/behind' in answer.body
        # With the hold-back that its playlist asks for, a player has still something to show.
        assert time.monotonic() - came < 5
        assert '144p/playlist.m3u8' not in playlists(fetch('master.m3u8').text)
        assert fetch('144p/playlist.m3u8').status == 200  # who rewinds may read it
        answer = fetch('source/steady.m3u8')
        assert '144p' not in answer.text and answer.status == 200
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    matinee.until(lambda: '144p/playlist.m3u8' in playlists(fetch('master.m3u8').text), 30, 'it being back')


@pytest.mark.long
def test_what_lies_about_of_an_open_segment_is_gone_after_a_crash(make_server):
    server = make_server('--segment', '6', '--ladder', '144p', '--grace', '1')
    event = server.make_event('crash')
    publisher = matinee.publish('demo', event['url'], '--size', '320x180')
    try:
        video = matinee.until(lambda: server.video(event), 10, 'the video')
        folder = server.data / 'store' / 'v' / video
        matinee.until(lambda: list(folder.glob('144p/*of0.m4s')) and list(folder.glob('source/*.c*.m4s')), 40, 'chunks of an open segment')
        server.kill()
    finally:
        matinee.end_process(publisher)
    server.start()
    matinee.until(lambda: server.event(event)['state'] == 'ended', 30, 'the end')
    ladder.whole(server, video, ['144p'])
    ladder.same_everywhere(server, video, ['144p'])
    names = ladder.listed(server, video, 'source')[0]

    def lie(where):  # the last one was cut short, which its object's name says
        return sorted(p.name.replace('-r', '') for p in (folder / where).iterdir())
    matinee.until(lambda: lie('144p') == lie('source') == names, 20, 'only what is listed lying there')


def test_a_segment_that_grows_is_there_for_who_asks_for_nothing_before(make_server):
    server = make_server('--segment', '4', '--grace', '2')
    event = server.make_event()
    publisher = matinee.publish('demo', event['url'], '--size', '320x180')
    try:
        video = matinee.until(lambda: server.video(event), what='the video')
        count = matinee.until(lambda: server.json(f'/api/v1/videos/{video}')['segments'], 20, 'a segment')
        # Whoever has read of it may have done so elsewhere, or long ago: nothing is known of it here until now.
        for number in range(count, count + 3):  # whoever watches nothing nearer is known for a few seconds only
            status, _, body = server.request('GET', f'/v/{video}/audio/{number:06}.m4s')
            assert status == 200 and len(body) > 1000, (number, status, body[:200])
        assert server.request('GET', f'/v/{video}/source/{count + 9:06}.m4s')[0] == 404
    finally:
        matinee.end_process(publisher)

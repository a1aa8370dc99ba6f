"""Real publishers: what they send is what is stored and played."""
import subprocess

import matinee
import pytest


def test_ffmpeg_and_gstreamer_publish_at_once_and_every_frame_is_read_back(make_server):
    server = make_server()
    one, two = server.make_event('one'), server.make_event('two')
    ffmpeg = matinee.ffmpeg(*matinee.drawn(24), one['url'])
    gstreamer = subprocess.Popen(
        ['gst-launch-1.0', '-q', 'flvmux', 'name=m', 'streamable=true', '!', 'rtmp2sink', f"location={two['url']}",
         'videotestsrc', 'num-buffers=720', 'is-live=true', '!', 'video/x-raw,width=320,height=180,framerate=30/1', '!',
         'x264enc', 'speed-preset=ultrafast', 'key-int-max=60', '!', 'video/x-h264,profile=high', '!', 'm.',
         'audiotestsrc', 'num-buffers=1125', 'is-live=true', 'samplesperbuffer=1024', '!',
         'audio/x-raw,rate=48000,channels=2', '!', 'avenc_aac', '!', 'aacparse', '!', 'm.'],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert ffmpeg.wait(60) == 0, ffmpeg.stderr.read()
    assert gstreamer.wait(60) == 0, gstreamer.stderr.read()
    for event, pictures in ((one, 720), (two, 720)):
        server.end(event)
        video = server.video(event)
        for path in ('master.m3u8', 'manifest.mpd'):
            frames, warnings = matinee.count_frames(f'{server.http}/v/{video}/{path}')
            assert frames['h264'] == pictures, (path, frames)
            # An encoder may hold its last frame back; 24 s of 1024 samples are 1125 frames, and one of priming.
            assert 1120 <= frames['aac'] <= 1127, (path, frames)
            assert warnings == '', (path, warnings)
        assert server.json(f'/api/v1/videos/{video}')['segments'] == 3


def test_librtmp_publishes(server):
    event = server.make_event()
    done = subprocess.run(
        ['gst-launch-1.0', '-q', 'flvmux', 'name=m', 'streamable=true', '!', 'rtmpsink', f"location={event['url']} live=1",
         'videotestsrc', 'num-buffers=90', '!', 'video/x-raw,width=320,height=180,framerate=30/1', '!', 'x264enc',
         'speed-preset=ultrafast', 'key-int-max=30', '!', 'm.', 'audiotestsrc', 'num-buffers=140', '!', 'avenc_aac', '!',
         'aacparse', '!', 'm.'], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    server.end(event)
    frames, _ = matinee.count_frames(f'{server.http}/v/{server.video(event)}/master.m3u8')
    assert frames['h264'] == 90


@pytest.mark.parametrize('codec, name', [('libx265', 'hevc'), ('libaom-av1', 'av1')])
def test_enhanced_rtmp_carries(server, tmp_path, codec, name):
    more = ['-cpu-used', '8', '-usage', 'realtime'] if name == 'av1' else ['-x265-params', 'log-level=none']
    clip = matinee.clip(tmp_path / 'clip.mp4', 5, size='160x90', codec=codec, more=more)
    event = server.make_event()
    publisher = matinee.publish(clip, event['url'], '--speed', 'max')
    assert publisher.wait(60) == 0, publisher.stdout.read()
    server.end(event)
    video = server.video(event)
    frames, warnings = matinee.count_frames(f'{server.http}/v/{video}/master.m3u8')
    assert frames[name] == 150 and warnings == '', (frames, warnings)
    assert server.json(f'/api/v1/videos/{video}')['renditions'][0]['codecs'].startswith(('hvc1.', 'av01.'))


def test_what_is_stored_is_what_was_sent_frame_for_frame(server, tmp_path):
    clip = matinee.clip(tmp_path / 'clip.mp4', 9)
    event = server.make_event()
    publisher = matinee.publish(clip, event['url'], '--speed', 'max', '--record', tmp_path / 'record')
    assert publisher.wait(60) == 0, publisher.stdout.read()
    server.end(event)
    sent, acknowledged = matinee.read_record(tmp_path / 'record')
    assert acknowledged >= sent[-1][4], 'all is acknowledged before a clean end is answered'
    url = f'{server.http}/v/{server.video(event)}/master.m3u8'
    for stream, kind in (('v', 'video'), ('a', 'audio')):
        stored = [md5 for _, _, md5 in matinee.packets(url, stream)]
        assert stored == [md5 for k, _, size, md5, _ in sent if k == kind and size > 0 and md5 != '-']


def test_a_wrong_key_is_refused_and_nothing_is_made(server):
    publisher = matinee.ffmpeg(*matinee.drawn(5, realtime=False), f'{server.rtmp}/not-a-key')
    assert publisher.wait(20) != 0
    assert server.json('/api/v1/videos')['items'] == []
    assert server.metric('matinee_publishes_refused_total') == 1


@pytest.mark.parametrize('words, name', [(['-c:v', 'flv1', '-an'], 'Sorenson'), (['-c:v', 'libx264', '-c:a', 'libmp3lame',
                                                                                '-ar', '44100'], 'MP3')])
def test_a_codec_that_is_not_taken_is_named(server, words, name):
    event = server.make_event()
    publisher = subprocess.run(['ffmpeg', '-nostdin', '-v', 'debug', '-re', '-f', 'lavfi', '-i', 'testsrc2=s=320x180:r=30',
                                '-re', '-f', 'lavfi', '-i', 'sine', '-t', '10', *words, '-f', 'flv', event['url']],
                               capture_output=True, timeout=60)
    assert publisher.returncode != 0
    assert name in server.said(), server.said()[-400:]


def test_a_second_publisher_is_refused_while_the_first_one_speaks(server):
    event = server.make_event()
    first = matinee.ffmpeg(*matinee.drawn(30), event['url'])
    try:
        matinee.until(lambda: server.video(event), what='a video')
        second = matinee.ffmpeg(*matinee.drawn(5), event['url'])
        assert second.wait(10) != 0
        assert first.poll() is None, 'the first one is not disturbed'
        assert server.event(event)['health']['publishing']
    finally:
        matinee.end_process(first)


def test_who_comes_back_takes_the_place_of_a_dead_one_within_five_seconds(server):
    event = server.make_event()
    first = matinee.ffmpeg(*matinee.drawn(60), event['url'])
    second = None
    try:
        video = matinee.until(lambda: server.video(event), what='a video')
        matinee.until(lambda: server.json(f'/api/v1/videos/{video}')['segments'] > 0, what='a segment')
        matinee.stop_process(first)  # it says nothing more, and does not hang up
        second = matinee.publish('demo', event['url'], '--duration', '30', '--size', '320x180')
        before = server.metric('matinee_media_messages_total')
        matinee.until(lambda: server.metric('matinee_media_messages_total') > before + 30, 6, 'the second one being heard')
        assert server.video(event) == video, 'it goes on in the same video'
    finally:
        for process in filter(None, (first, second)):
            matinee.end_process(process)


def test_who_returns_within_the_grace_goes_on_on_one_timeline(make_server, tmp_path):
    server = make_server('--segment', '2', '--grace', '20')
    event = server.make_event()
    clip = matinee.clip(tmp_path / 'clip.mp4', 5)
    for _ in range(3):
        assert matinee.publish(clip, event['url'], '--speed', 'max').wait(30) == 0
    server.end(event)
    video = server.video(event)
    assert len(server.event(event)['videos']) == 1
    assert server.json(f'/api/v1/videos/{video}')['duration'] == pytest.approx(15, abs=0.4)
    assert server.get(f'/v/{video}/source/playlist.m3u8').count(b'#EXT-X-DISCONTINUITY') == 2
    times = [pts for pts, _, _ in sorted(matinee.packets(f'{server.http}/v/{video}/master.m3u8', 'v'))]
    assert len(times) == 450
    steps = [b - a for a, b in zip(times, times[1:])]
    assert min(steps) > 0 and max(steps) < 0.2, (min(steps), max(steps))


def test_after_the_grace_the_video_ends_and_a_new_one_begins(server, tmp_path):
    event = server.make_event()
    clip = matinee.clip(tmp_path / 'clip.mp4', 3)
    assert matinee.publish(clip, event['url'], '--speed', 'max').wait(30) == 0
    first = server.video(event)
    matinee.until(lambda: server.event(event)['state'] == 'ended', 10, 'the end of the grace')
    assert b'#EXT-X-ENDLIST' in server.get(f'/v/{first}/source/playlist.m3u8')
    assert matinee.publish(clip, event['url'], '--speed', 'max').wait(30) == 0
    now = server.event(event)
    assert now['state'] == 'live' and now['videos'] == [now['video'], first]


def test_a_new_key_cuts_off_whoever_publishes_with_the_old_one(server):
    event = server.make_event()
    publisher = matinee.publish('demo', event['url'], '--size', '320x180')
    try:
        matinee.until(lambda: server.video(event), what='a video')
        status, _, body = server.request('POST', f"/api/v1/events/{event['id']}/stream-key", admin=True)
        assert status == 200 and event['streamKey'].encode() not in body
        assert publisher.wait(10) != 0
        assert matinee.publish('demo', event['url'], '--duration', '1').wait(10) != 0
    finally:
        matinee.end_process(publisher)

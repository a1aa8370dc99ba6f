"""Nothing that was acknowledged is lost: kill -9, a full disk, SIGTERM."""
import os
import random
import signal
import subprocess

import matinee
import pytest

ROUNDS = int(os.environ.get('MATINEE_CRASH_ROUNDS', '8'))


def lost_frames(server, event, record):
    """The acknowledged frames that the stored video does not have, in order."""
    server.end(event)  # of a live playlist ffmpeg reads the end only
    sent, acknowledged = matinee.read_record(record)
    url = f'{server.http}/v/{server.video(event)}/master.m3u8'
    lost = []
    for stream, kind in (('v', 'video'), ('a', 'audio')):
        stored = iter(md5 for _, _, md5 in matinee.packets(url, stream))
        for k, stamp, size, md5, end in sent:
            if k == kind and md5 != '-' and end <= acknowledged and not any(found == md5 for found in stored):
                lost.append((kind, stamp, size, end))
    return lost, acknowledged


def test_kill_9_at_any_moment_loses_no_acknowledged_frame(make_server, tmp_path):
    seed = int(os.environ.get('MATINEE_SEED', random.randrange(10**6)))
    print('seed', seed)
    chance = random.Random(seed)
    clip = matinee.clip(tmp_path / 'clip.mp4', 60)
    server = make_server('--segment', '2', '--grace', '60')
    whole = 0
    for round in range(ROUNDS):
        event = server.make_event(f'round {round}')
        record = tmp_path / f'record-{round}'
        goal = chance.randrange(20_000, 1_000_000)
        publisher = matinee.publish(clip, event['url'], '--speed', '10', '--record', record)

        def acknowledged():
            return record.exists() and matinee.read_record(record)[1] >= goal

        matinee.until(acknowledged, 30, f'{goal} acknowledged bytes')
        server.kill()
        publisher.wait(20)
        server.start()
        lost, count = lost_frames(server, event, record)
        assert not lost, f'round {round}: {len(lost)} of the acknowledged {count} bytes\' frames are gone: {lost[:3]}'
        whole += count
    print(f'{ROUNDS} rounds, {whole} acknowledged bytes, all found')


def test_a_crash_is_only_a_pause_for_a_publisher_that_returns(make_server, tmp_path):
    server = make_server('--segment', '2', '--grace', '30')
    event = server.make_event()
    clip = matinee.clip(tmp_path / 'clip.mp4', 8)
    publisher = matinee.publish(clip, event['url'], '--speed', '1')
    video = matinee.until(lambda: server.video(event), what='a video')
    matinee.until(lambda: server.json(f'/api/v1/videos/{video}')['segments'] >= 1, what='a segment')
    heard = server.metric('matinee_media_messages_total')
    matinee.until(lambda: server.metric('matinee_media_messages_total') > heard + 40, what='half a second more')
    server.kill()
    publisher.wait(20)
    server.start()
    before = server.json(f'/api/v1/videos/{video}')
    assert before['state'] == 'live' and before['segments'] >= 2, 'the open segment is playable again'
    assert matinee.publish(clip, f"{server.rtmp}/{event['streamKey']}", '--speed', 'max').wait(30) == 0
    after = server.json(f'/api/v1/videos/{video}')
    assert after['duration'] >= before['duration'] + 7.9
    assert server.event(event)['videos'] == [video]


def test_sigterm_stores_the_last_segment_and_exits_0(make_server):
    server = make_server('--grace', '30')
    event = server.make_event()
    publisher = matinee.publish('demo', event['url'], '--size', '320x180', '--record', str(server.data) + '.record')
    video = matinee.until(lambda: server.video(event), what='a video')
    matinee.until(lambda: matinee.read_record(str(server.data) + '.record')[1] > 100_000, what='acknowledged bytes')
    assert server.stop() == 0
    publisher.wait(10)
    server.start()
    found = server.json(f'/api/v1/videos/{video}')
    assert found['segments'] == 1 and found['state'] == 'live', 'it waits for its publisher over the restart'

    def manifest():
        return server.request('GET', f'/v/{video}/manifest.mpd')[2]

    before = manifest()
    assert server.stop() == 0
    server.start()
    assert manifest() == before, 'the same view, the same text'
    assert not lost_frames(server, event, str(server.data) + '.record')[0]


@pytest.mark.skipif(os.geteuid() != 0, reason='a small disk of its own wants root')
def test_a_full_disk_stops_the_recording_and_not_the_viewers(make_server, tmp_path):
    disk = tmp_path / 'disk'
    disk.mkdir()
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', str(disk)], capture_output=True)
    if done.returncode != 0:
        pytest.skip('no file system may be mounted here')
    server = make_server('--segment', '2', '--grace', '30', data='disk/data', start=False)
    try:
        server.log = open(tmp_path / 'log', 'ab')
        server.start()
        event = server.make_event()
        record = tmp_path / 'record'
        clip = matinee.clip(tmp_path / 'clip.mp4', 60, size='640x360', gop=30, more=['-b:v', '2M', '-minrate', '2M'])
        publisher = matinee.publish(clip, event['url'], '--speed', '4', '--record', record)
        video = matinee.until(lambda: server.video(event), what='a video')
        matinee.until(lambda: server.json(f'/api/v1/videos/{video}')['segments'] >= 1, what='a segment')
        filler = disk / 'filler'
        with open(filler, 'wb') as f:
            try:
                while True:
                    f.write(b'x' * 65536)
                    f.flush()
            except OSError:
                pass
        matinee.until(lambda: server.metric('matinee_journal_failures_total') > 0, 30, 'the disk being full')
        # Viewers go on: what was there, and what comes now.
        seen = server.json(f'/api/v1/videos/{video}')['segments']
        matinee.until(lambda: server.json(f'/api/v1/videos/{video}')['segments'] > seen, 20, 'a segment from memory')
        number = server.json(f'/api/v1/videos/{video}')['segments'] - 1
        assert len(server.get(f'/v/{video}/source/{number:06}.m4s')) > 1000
        stuck = matinee.read_record(record)[1]
        filler.unlink()
        matinee.until(lambda: matinee.read_record(record)[1] > stuck, 20, 'acknowledgements going on')
        publisher.terminate()
        said = publisher.communicate(timeout=20)[0].decode()
        assert 'disk is full' in said and 'room again' in said, said[-500:]
        assert publisher.returncode == 0
        assert not lost_frames(server, event, record)[0]
    finally:
        server.close()
        subprocess.run(['umount', str(disk)], check=True)


def test_the_journal_does_not_grow_with_the_show(make_server, tmp_path):
    server = make_server('--segment', '2', '--grace', '1')
    clip = matinee.clip(tmp_path / 'clip.mp4', 40, size='1280x720', more=['-b:v', '30M', '-minrate', '30M', '-maxrate', '30M',
                                                                        '-bufsize', '30M'])
    for _ in range(5):
        event = server.make_event()
        assert matinee.publish(clip, event['url'], '--speed', 'max').wait(60) == 0
        server.end(event)
    stored = sum(f.stat().st_size for f in (server.data / 'store').rglob('*.m4s'))
    kept = sum(f.stat().st_size for f in (server.data / 'journal').iterdir())
    assert stored > 300_000_000, 'enough to fill files of 64 MB'
    assert kept < 340_000_000, (kept, stored)  # four files of 64 MB, and one more where the disk is slow


def test_a_folder_in_use_is_refused(make_server):
    server = make_server()
    second = subprocess.run([matinee.MATINEE, 'serve', '--data', str(server.data), '--http', '127.0.0.1:0', '--rtmp',
                             '127.0.0.1:0'], capture_output=True, timeout=20)
    assert second.returncode == 1
    assert b'another matinee is using this folder' in second.stderr


def test_an_address_in_use_is_named(make_server):
    server = make_server()
    taken = server.http.split('//')[1]
    second = subprocess.run([matinee.MATINEE, 'serve', '--data', str(server.data) + '2', '--http', taken, '--rtmp',
                             '127.0.0.1:0'], capture_output=True, timeout=20)
    assert second.returncode == 1 and b'in use' in second.stderr and taken.encode() in second.stderr
    wrong = subprocess.run([matinee.MATINEE, 'serve', '--grace', 'x'], capture_output=True, timeout=20)
    assert wrong.returncode == 2 and b'--grace' in wrong.stderr
    assert second.stderr.count(b'\n') == 1 and wrong.stderr.count(b'\n') == 1, 'one clear line'


def test_sigint_is_as_good_as_sigterm(make_server):
    server = make_server()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(20) == 0

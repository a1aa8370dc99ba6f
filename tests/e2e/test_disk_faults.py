"""A disk that is full, broken, or does not keep what it was asked to: what is acknowledged is there afterwards, and viewers go on meanwhile."""
import pathlib

import matinee
import pytest
import s3_bad
from test_crash import lost_frames
from test_store_live import OUTAGES, everything_is_stored, listed, not_stored, spool

pytestmark = pytest.mark.long

SHIM = matinee.ROOT / 'build' / 'tests' / 'unit' / 'libdisk_faults.so'


class Disk:
    """`break_` makes calls fail on files whose path has `part` in it; `mend` ends that."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / 'faults'
        self.environment = {'LD_PRELOAD': str(SHIM), 'DISK_FAULTS': str(self.path)}

    def break_(self, *faults):
        self.path.with_suffix('.new').write_text('\n'.join(faults))
        self.path.with_suffix('.new').rename(self.path)

    def mend(self):
        self.path.unlink()


@pytest.fixture
def disk(tmp_path):
    assert SHIM.exists(), 'ninja -C build makes it'
    return Disk(tmp_path)


def begin(server, tmp_path, seconds=60):
    """A show at twice its speed: the event, its record, its publisher, and its video."""
    event = server.make_event()
    clip = matinee.clip(tmp_path / 'clip.mp4', seconds)
    publisher = matinee.publish(clip, event['url'], '--speed', '2', '--record', tmp_path / 'record')
    video = matinee.until(lambda: server.video(event), what='a video')
    matinee.until(lambda: server.metric('matinee_segments_stored_total') >= 2, 20, 'stored segments')
    return event, tmp_path / 'record', publisher, video


def viewers_go_on(server, video):
    """Three more segments come, and each that is new can be read."""
    seen = server.json(f'/api/v1/videos/{video}')['segments']
    matinee.until(lambda: server.json(f'/api/v1/videos/{video}')['segments'] >= seen + 3, 20, 'the show going on')
    names = [name for name in listed(server, video) if int(name[-10:-4]) >= seen]
    assert len(names) >= 6
    for name in names:
        status, _, body = server.request('GET', name)
        assert status == 200 and body, f'{name} is listed and cannot be read'


@pytest.mark.parametrize('fault', ['write ENOSPC', 'write EIO', 'sync EIO', 'sync ENOSPC'])
def test_a_journal_that_cannot_be_written_acknowledges_nothing_and_stops_no_viewer(make_server, disk, tmp_path, fault):
    server = make_server('--segment', '1', '--grace', '60', environment=disk.environment)
    event, record, publisher, video = begin(server, tmp_path)
    disk.break_(fault + ' /journal')
    matinee.until(lambda: server.metric('matinee_journal_failures_total') > 0, 20, 'the journal failing')
    viewers_go_on(server, video)  # and what was durable before is acknowledged
    stuck = matinee.read_record(record)[1]
    viewers_go_on(server, video)
    assert matinee.read_record(record)[1] == stuck, 'bytes were acknowledged that no disk has'
    assert publisher.poll() is None
    server.kill()  # the disk is broken still: all that was acknowledged has to be there
    said = publisher.communicate(timeout=30)[0].decode()
    assert ('disk is full' if 'ENOSPC' in fault else 'disk') in said, said[-600:]
    disk.mend()
    server.start()
    lost, acknowledged = lost_frames(server, event, record)
    assert acknowledged > 0 and not lost, lost[:3]


@pytest.mark.parametrize('fault', ['write ENOSPC', 'sync EIO'])
def test_a_journal_goes_on_when_its_disk_is_well_again(make_server, disk, tmp_path, fault):
    server = make_server('--segment', '1', '--grace', '60', environment=disk.environment)
    event, record, publisher, video = begin(server, tmp_path, seconds=24)
    disk.break_(fault + ' /journal')
    matinee.until(lambda: server.metric('matinee_journal_failures_total') > 1, 20, 'the journal failing')
    disk.mend()
    assert publisher.wait(60) == 0
    server.kill()
    server.start()
    lost, acknowledged = lost_frames(server, event, record)
    sent = matinee.read_record(record)[0]
    assert acknowledged >= max(end for *_, end in sent) and not lost, lost[:3]


@pytest.mark.parametrize('fault', ['write ENOSPC', 'write EIO', 'sync EIO'])
def test_a_file_store_that_cannot_be_written_is_a_store_that_is_behind(make_server, disk, tmp_path, fault):
    server = make_server('--segment', '1', '--grace', '60', environment=disk.environment)
    event, record, publisher, video = begin(server, tmp_path)
    disk.break_(fault + ' /store/')
    matinee.until(lambda: spool(server)['segments'] >= 3, 20, 'segments that wait')
    viewers_go_on(server, video)
    server.kill()
    publisher.wait(30)
    server.start()  # the store is broken still
    assert spool(server)['segments'] >= 6
    for name in listed(server, video)[-6:]:
        assert server.request('GET', name)[0] == 200, f'{name} is listed and cannot be read'
    assert 'wait for the store: ' + ('no room left' if 'ENOSPC' in fault else 'input or output') in server.said()
    disk.mend()
    everything_is_stored(server)
    lost, acknowledged = lost_frames(server, event, record)
    assert acknowledged > 0 and not lost, lost[:3]
    assert not list((server.data / 'store').rglob('.put-*')), 'a half of a put is left'


@pytest.mark.parametrize('fault', ['write ENOSPC', 'write EIO', 'read EIO'])
def test_a_disk_for_copies_and_for_what_waits_may_fail(make_server, disk, tmp_path, fault):
    bad = s3_bad.BadS3()
    try:
        # Of 2 MB of spool a half is held in memory, and the rest is brought to the disk.
        server = make_server('--segment', '1', '--grace', '60', '--spool', '4', '--storage', bad.url(),
                             environment={**bad.environment, **disk.environment})
        event, record, publisher, video = begin(server, tmp_path)
        bad.fault = OUTAGES['errors']
        disk.break_(fault + ' /copies')
        matinee.until(lambda: spool(server)['bytes'] > 2_500_000, 30, 'more waiting than memory should hold')
        for name in listed(server, video)[-4:]:
            assert server.request('GET', name)[0] == 200, f'{name} is listed and cannot be read'
        if fault.startswith('write'):
            assert 'stays in memory' in server.said()
        disk.mend()
        bad.fault = None
        everything_is_stored(server)
        publisher.terminate()
        assert publisher.wait(30) == 0
        everything_is_stored(server)
        lost, acknowledged = lost_frames(server, event, record)
        assert acknowledged > 0 and not lost, lost[:3]
        names = listed(server, video)
        assert names and not not_stored(bad, names)
    finally:
        bad.close()


@pytest.mark.parametrize('fault', ['write ENOSPC', 'sync EIO'])
def test_a_database_on_a_broken_disk_is_waited_out(make_server, disk, tmp_path, fault):
    server = make_server('--segment', '1', '--grace', '60', environment=disk.environment)
    event, record, publisher, video = begin(server, tmp_path)
    disk.break_(fault + ' /matinee.db')
    matinee.until(lambda: spool(server)['segments'] >= 3, 20, 'segments that wait')
    viewers_go_on(server, video)
    status, _, body = server.request('POST', '/api/v1/events', {'title': 'not to be made'}, admin=True)
    assert status in (500, 503, 507), (status, body)
    disk.mend()
    everything_is_stored(server)
    titles = [e['title'] for e in server.json('/api/v1/events')['items']]
    assert titles == ['Test'], titles
    server.kill()
    publisher.wait(30)
    server.start()
    lost, acknowledged = lost_frames(server, event, record)
    assert acknowledged > 0 and not lost, lost[:3]

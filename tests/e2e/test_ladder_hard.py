"""The ladder in hard times: no memory, no room, no clock, workers that sleep, and sources that are unlike others."""
import os
import pathlib
import resource
import signal
import subprocess

import ladder
import matinee
import pytest

FAKETIME = pathlib.Path('/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1')


@pytest.fixture
def crowd(make_server, nats):
    """A server without workers of its own, and what starts one elsewhere."""
    server = make_server('--segment', '2', '--ladder', '1440p,240p', '--workers', '0', '--queue', nats.url)
    workers = []

    def start(**options):
        log = pathlib.Path(f'{server.data}-worker{len(workers)}.log')
        workers.append(matinee.Worker(nats.url, f'file:{server.data}/store', log, **options))
        return workers[-1]

    yield server, start
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.send_signal(signal.SIGCONT)
        worker.stop()


# --- no memory, no room -----------------------------------------------------------------------------------

def address_space(pid):
    """In bytes."""
    status = pathlib.Path(f'/proc/{pid}/status').read_text()
    return int(status.split('VmSize:')[1].split()[0]) * 1024


def starve(child):
    """From now on it gets no more memory than for a few pictures."""
    try:
        status = dict(line.split(':', 1) for line in pathlib.Path(f'/proc/{child}/status').read_text().splitlines())
        soft, hard = resource.prlimit(child, resource.RLIMIT_AS)
        if status['Seccomp'].strip() == '2' and soft == hard:  # before that it has yet to set its own limit
            resource.prlimit(child, resource.RLIMIT_AS, (int(status['VmSize'].split()[0]) * 1024 + (4 << 20), hard))
    except (KeyError, FileNotFoundError, ProcessLookupError):
        pass  # it ended while we looked


def test_a_worker_out_of_memory_is_a_death_and_the_task_is_done_by_the_next(make_server):
    server = make_server('--segment', '2', '--ladder', '480p', '--workers', '1')
    event = server.make_event()
    publisher = matinee.ffmpeg(*matinee.drawn(12, size='1280x720', gop=60, realtime=False), event['url'])

    def died():
        for child in ladder.workers_of(server.process.pid):
            starve(child)
        return server.metric('matinee_ladder_deaths') > 0
    matinee.until(died, 30, 'a death')
    assert publisher.wait(60) == 0, publisher.stderr.read()
    server.end(event)
    ladder.published_once(server, server.video(event), ('480p',))
    assert server.metric('matinee_ladder_failures') == 0  # it was nobody's mistake


def test_a_task_that_no_memory_is_enough_for_becomes_a_gap_and_the_worker_goes_on(crowd):
    server, start = crowd
    worker = start(environment={'MALLOC_ARENA_MAX': '1'})
    few = address_space(worker.process.pid) + (140 << 20)  # the child that makes 240p has as much as it and a little more
    resource.prlimit(worker.process.pid, resource.RLIMIT_AS, (few, few))  # its children inherit it
    video = ladder.show(server, 2, size='3840x2160', gop=60)
    made = ladder.whole(server, video, ('1440p', '240p'))['1440p']
    assert made['gaps'] == 1 and 'encoder of 1440p' in made['reason'], made
    matinee.until(lambda: server.metric('matinee_ladder_deaths') == 5, what='the fifth death being told')
    assert server.metric('matinee_ladder_failures') == 0
    after = ladder.show(server, 2, size='640x360')
    ladder.published_once(server, after, ('240p',))


@pytest.mark.skipif(os.geteuid() != 0, reason='a small disk of its own wants root')
def test_a_full_disk_gives_the_task_back_until_there_is_room(make_server):
    server = make_server('--segment', '2', '--ladder', 'none', '--workers', '1')
    video = ladder.show(server, 6, size='640x360')
    disk = server.data / 'store' / 'v' / video / '240p'
    disk.mkdir()
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', str(disk)], capture_output=True)
    if done.returncode != 0:
        pytest.skip('no file system may be mounted here')
    try:
        filler = disk / '.put-filler'
        with pytest.raises(OSError), open(filler, 'wb', 0) as f:
            while True:
                f.write(bytes(65536))
        status, _, body = server.request('POST', f'/api/v1/videos/{video}/renditions', {'name': '240p'}, admin=True)
        assert status == 202, body
        matinee.until(lambda: server.said().count('a chunk cannot be stored') >= 4, 30, 'more attempts than failures are allowed')
        assert ladder.published(server) == 0 and server.metric('matinee_ladder_gaps_total') == 0
        filler.unlink()
        ladder.published_once(server, video, ('240p',))
        assert server.metric('matinee_ladder_failures') == 0 and server.metric('matinee_ladder_deaths') == 0
    finally:
        server.close()
        subprocess.run(['umount', str(disk)], check=True)


# --- workers that sleep, and clocks that are wrong ----------------------------------------------------------

def sleep_of(worker):
    """Stops a worker and its child, as a machine does that is suspended: (its processes) once it has a task, else None."""
    child = ladder.held_by(worker.process)
    if child is None:
        return None
    stopped = []
    for pid in (worker.process.pid, child):
        try:
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)
        except ProcessLookupError:
            pass  # it had just done its work; what it has to say is still kept back
    return stopped


def test_a_worker_that_was_asleep_comes_back_with_a_late_result_and_does_no_harm(crowd):
    server, start = crowd
    sleeper = start()
    event = server.make_event()
    publisher = matinee.ffmpeg(*matinee.drawn(10, size='1280x720', gop=60, realtime=False), event['url'])
    asleep = matinee.until(lambda: sleep_of(sleeper), 30, 'the worker having a task')
    other = start()
    assert publisher.wait(60) == 0, publisher.stderr.read()
    server.end(event)
    video = server.video(event)
    ladder.published_once(server, video, ('240p',))
    made = ladder.published(server)
    for pid in reversed(asleep):  # a child that had ended is there until its worker looks
        os.kill(pid, signal.SIGCONT)
    other.stop()
    second = ladder.show(server, 4, size='640x360')  # only the one that slept is there to make it
    ladder.published_once(server, second, ('240p',))
    assert ladder.published(server) == made + len(ladder.listed(server, second, '240p')[0])
    ladder.published_once(server, video, ('240p',))


@pytest.mark.skipif(not FAKETIME.exists(), reason='faketime is not installed')
def test_workers_whose_clocks_are_hours_off_change_nothing(crowd):
    server, start = crowd
    for by in ('+7h', '-5h'):
        worker = start(environment={'LD_PRELOAD': str(FAKETIME), 'FAKETIME': by, 'FAKETIME_DONT_FAKE_MONOTONIC': '1'})
        event = server.make_event()
        publisher = matinee.ffmpeg(*matinee.drawn(6, size='640x360', gop=60, realtime=False), event['url'])
        assert publisher.wait(60) == 0, publisher.stderr.read()
        server.end(event)
        ladder.published_once(server, server.video(event), ('240p',))
        worker.stop()
    age = 'matinee_ladder_capture_to_published_milliseconds_'
    count, sum_ms = (server.metric(age + what + '{rendition="240p"}') for what in ('count', 'sum'))
    assert count == 6 and abs(sum_ms) < 60_000 * count, 'ages are by the clock of the server'
    assert server.metric('matinee_ladder_deaths') == 0 and server.metric('matinee_ladder_failures') == 0


def test_two_workers_that_finish_the_same_task_at_once_publish_it_once(make_server):
    server = make_server('--segment', '60', '--ladder', '144p', '--workers', '2')
    for _ in range(3):  # so that it is known how long a task takes
        ladder.whole(server, ladder.show(server, 2, size='640x360'), ('144p',))
    before = ladder.published(server)
    event = server.make_event()
    publisher = matinee.ffmpeg(*matinee.drawn(2, size='1280x720', gop=60, realtime=False), event['url'])
    assert publisher.wait(60) == 0, publisher.stderr.read()
    server.end(event)
    stopped = []

    def both():
        for child in ladder.workers_of(server.process.pid):
            if child not in stopped:
                os.kill(child, signal.SIGSTOP)
                stopped.append(child)
        return len(stopped) == 2
    matinee.until(both, 30, 'a second worker at the same task')
    for child in stopped:
        os.kill(child, signal.SIGCONT)
    ladder.published_once(server, server.video(event), ('144p',), swept=False)
    assert ladder.published(server) == before + 1 and server.metric('matinee_ladder_backups_total') == 1


# --- sources unlike others ----------------------------------------------------------------------------------

def test_a_gop_of_a_minute_is_one_chunk_and_laddered(make_server):
    server = make_server('--segment', '2', '--ladder', '144p')
    video = ladder.show(server, 62, size='426x240', rate=10, gop=600)
    ladder.published_once(server, video, ('144p',))
    assert len(ladder.listed(server, video, '144p')[0]) == 2


def test_a_source_of_high_dynamic_range_is_left_alone_with_a_note(make_server):
    server = make_server('--segment', '2', '--ladder', '240p')
    flags = 'colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc'
    video = ladder.show(server, 4, size='640x360', extra=('-x264-params', flags))
    made = ladder.whole(server, video, ('240p',))['240p']
    assert made['gaps'] == 2 and 'high dynamic range' in made['reason'], made
    assert server.metric('matinee_ladder_failures') == 0, 'nobody tries again what nobody can do'
    assert len(ladder.listed(server, video, 'source')[0]) == 2
    assert '/240p/' not in server.get(f'/v/{video}/master.m3u8').decode()


def test_a_resolution_that_changes_in_mid_stream_is_laddered_on_both_sides(make_server):
    server = make_server('--segment', '2', '--ladder', '240p,144p', '--grace', '30')
    event = server.make_event()
    for size in ('640x360', '854x480', '320x180'):  # the publisher's settings were changed twice
        publisher = matinee.ffmpeg(*matinee.drawn(4, size=size, gop=60, realtime=False), event['url'])
        assert publisher.wait(60) == 0, publisher.stderr.read()
    server.end(event)
    video = server.video(event)
    made = ladder.whole(server, video, ('240p', '144p'))
    source = ladder.listed(server, video, 'source')[0]
    assert made['144p']['gaps'] == 0 and ladder.listed(server, video, '144p')[0] == source
    times = [ladder.frame_times(server, video, r, but=b'duplicated MOOV') for r in ('144p', 'source')]
    assert times[0] == times[1] and len(times[0]) == 360
    # 180 lines are not made into 240.
    assert made['240p']['gaps'] == 2 and 'not larger' in made['240p']['reason'], made['240p']
    _, playlist = ladder.listed(server, video, '240p')
    assert playlist.count('#EXT-X-GAP') == 2 and playlist.index('#EXT-X-GAP') > playlist.index(source[3])

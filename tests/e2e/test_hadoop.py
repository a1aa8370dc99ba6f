"""Hadoop's own NameNode, DataNode, HttpFS and Streaming: objects are files of HDFS, whole; a show outlives a DataNode and a crash; the
filters are a MapReduce job."""
import collections
import os
import re
import subprocess

import hadoop
import ladder
import matinee
import pytest
from test_store import PLAY, play
from test_store_live import everything_is_stored, listed, spool

pytestmark = pytest.mark.hadoop

NAME = 'v/01/source/000001.m4s'
SHOW_SECONDS = int(os.environ.get('MATINEE_SHOW_SECONDS', 40))  # a longer one is played faster


@pytest.fixture(scope='module')
def hdfs(tmp_path_factory):
    assert hadoop.is_here(), "Hadoop's jars or Java are missing; make check-hadoop brings them"
    cluster = hadoop.Hadoop(tmp_path_factory.mktemp('hadoop') / 'cluster')
    try:
        cluster.start()
        cluster.start_httpfs()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(params=['namenode', 'httpfs'])
def url(request, hdfs):
    """Makes addresses of folders, once over the NameNode and DataNode, once over HttpFS."""
    return lambda prefix, **options: hdfs.url(f'{prefix}-{request.param}', httpfs=request.param == 'httpfs', **options)


def folder_of(url):
    return '/' + url.split('/', 3)[3].split('?')[0]


def shown(hdfs, url):
    """The files of a store's folder, without its name."""
    return {path[len(folder_of(url)) + 1:]: size for path, size in hdfs.files(folder_of(url)).items()}


# --- objects --------------------------------------------------------------------------------------------


def test_what_is_put_is_a_file_and_what_is_deleted_is_gone(hdfs, url):
    where = url('plain')
    assert play(where, {}, f'put {NAME} 100000', 'forget', f'get {NAME} 100000', 'get v/02 1') == ['ok', 'ok', 'the same', 'does not exist']
    assert shown(hdfs, where) == {NAME: 100000}
    assert play(where, {}, f'delete {NAME}', 'forget', f'get {NAME} 100000', f'delete {NAME}') == ['ok', 'ok', 'does not exist', 'ok']
    assert shown(hdfs, where) == {}


def test_a_second_put_takes_the_place_of_the_first(hdfs, url):
    where = url('again')
    assert play(where, {}, f'put {NAME} 7', f'put {NAME} 600000', 'forget', f'get {NAME} 600000') == ['ok', 'ok', 'ok', 'the same']
    assert shown(hdfs, where) == {NAME: 600000}


def test_empty_objects_and_objects_of_several_blocks_are_whole(hdfs, url):
    where = url('sizes')
    assert play(where, {}, 'put a/b 0', 'put a/c 140000001', 'forget', 'get a/b 0', 'get a/c 140000001') == [
        'ok', 'ok', 'ok', 'the same', 'the same']
    assert shown(hdfs, where) == {'a/b': 0, 'a/c': 140000001}


def test_a_folder_is_cleared_and_its_neighbours_stay(hdfs, url):
    where = url('many')
    assert play(where, {}, 'fill v/one 60', 'put v/one2/x 1', 'put v/on 1', 'clear v/one', 'forget', 'get v/one/000000.m4s 1', 'get v/one2/x 1') == [
        'ok', 'ok', 'ok', 'ok', 'ok', 'does not exist', 'the same']
    assert shown(hdfs, where) == {'v/on': 1, 'v/one2/x': 1}


def test_bytes_that_rot_on_the_disk_of_a_datanode_are_read_by_nobody(hdfs):
    where = hdfs.url('rot')
    assert play(where, {}, f'put {NAME} 333333') == ['ok']
    blocks = [path for path in (hdfs.folder / 'blocks').rglob('blk_*') if path.suffix != '.meta' and path.stat().st_size == 333333]
    assert len(blocks) == 1
    content = bytearray(blocks[0].read_bytes())
    content[200000] ^= 1
    blocks[0].write_bytes(content)
    assert play(where, {}, f'get {NAME} 333333')[0] not in ('the same', 'others')


def test_who_may_not_write_is_told_so_in_words_at_the_start(hdfs, url):
    assert play(url('theirs'), {}, 'put a/b 1') == ['ok']
    done = subprocess.run([PLAY, url('theirs', user='somebody')], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert 'refuses: Permission denied: user=somebody' in done.stderr.splitlines()[-1], done.stderr


def test_a_delegation_token_says_who_we_are_and_a_false_one_is_refused(hdfs, tmp_path):
    path = tmp_path / 'token'
    where = hdfs.url('token', httpfs=True).replace(f'user={hadoop.USER}', f'token={path}')
    path.write_text(hdfs.delegation_token(hdfs.httpfs_port) + '\n')
    assert play(where, {}, f'put {NAME} 5000', 'forget', f'get {NAME} 5000') == ['ok', 'ok', 'the same']
    path.write_text('QUJDREVGRw\n')
    done = subprocess.run([PLAY, where], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and 'HDFS at' in done.stderr.splitlines()[-1], done.stderr


def test_of_several_namenodes_the_one_that_answers_is_taken(hdfs):
    where = hdfs.url('several').replace('hdfs://', f'hdfs://127.0.0.1:{matinee.free_port()},', 1)
    assert play(where, {}, f'put {NAME} 10', 'forget', f'get {NAME} 10') == ['ok', 'ok', 'the same']


def test_safe_mode_is_told_in_words(hdfs):
    hdfs.do('org.apache.hadoop.hdfs.tools.DFSAdmin', '-safemode', 'enter')
    try:
        done = subprocess.run([PLAY, hdfs.url('safe')], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and 'safe mode' in done.stderr.splitlines()[-1], done.stderr
    finally:
        hdfs.do('org.apache.hadoop.hdfs.tools.DFSAdmin', '-safemode', 'leave')


# --- a show ---------------------------------------------------------------------------------------------


def datanode_goes_away(hdfs, server, video):
    """And is missed: segments wait, and what is listed can be read all the same."""
    hdfs.end('datanode')
    matinee.until(lambda: spool(server)['segments'] >= 4, 20, 'segments that wait')
    for name in listed(server, video)[-4:]:
        assert server.request('GET', name)[0] == 200, f'{name} is listed and cannot be read'


def test_a_show_outlives_restarts_of_the_datanode_and_a_crash_of_ours(hdfs, make_server, tmp_path):
    server = make_server('--segment', '1', '--grace', '60', '--storage', hdfs.url('live'))
    event = server.make_event()
    record = tmp_path / 'record'
    clip = matinee.clip(tmp_path / 'clip.mp4', SHOW_SECONDS)
    publisher = matinee.publish(clip, event['url'], '--speed', max(2, SHOW_SECONDS // 60), '--record', record)
    matinee.until(lambda: server.metric('matinee_segments_stored_total') >= SHOW_SECONDS // 3, 90, 'segments in HDFS')
    video = server.video(event)
    datanode_goes_away(hdfs, server, video)
    server.kill()
    assert publisher.wait(30) is not None
    hdfs.start_datanode()
    server.start()
    event['url'] = f"{server.rtmp}/{event['streamKey']}"
    again = tmp_path / 'again'
    publisher = matinee.publish(clip, event['url'], '--speed', max(2, SHOW_SECONDS // 60), '--record', again)
    matinee.until(lambda: server.metric('matinee_segments_stored_total') >= SHOW_SECONDS // 10, 90, 'segments in HDFS')
    datanode_goes_away(hdfs, server, video)
    hdfs.start_datanode()
    assert publisher.wait(120) == 0
    everything_is_stored(server)
    server.end(event)  # of a live playlist ffmpeg reads the end only
    stored = shown(hdfs, hdfs.url('live'))
    names = [name.removeprefix('/') for name in listed(server, video)]
    # The last segment of a crash is another object under its number.
    assert len(names) >= 10 and not [name for name in names if name not in stored and name.replace('.m4s', '-r.m4s') not in stored]
    sent, acknowledged = matinee.frames_of(record, again)
    there = collections.Counter(md5 for stream in 'va' for _, _, md5 in matinee.packets(f'{server.http}/v/{video}/master.m3u8', stream))
    assert acknowledged and not acknowledged - there, 'an acknowledged frame is lost'
    assert not there - sent, 'a frame is there more often than it was sent'


# --- the filters ----------------------------------------------------------------------------------------


def write_input(hdfs, folder, lines):
    """Two lines a file, so that there are several mappers."""
    for i in range(0, len(lines), 2):
        assert hdfs.write(f'{folder}/{i:04}', b''.join(lines[i:i + 2])) == 201


def test_map_and_reduce_are_a_streaming_job_and_make_the_bytes_of_the_queue(hdfs, make_server):
    one = make_server('--segment', '2', '--workers', '1', '--storage', hdfs.url('queue'), data='one')
    video = ladder.show(one, 7, size='640x360')
    everything_is_stored(one)
    status, _, tasks = one.request('GET', f'/api/v1/videos/{video}/renditions/240p/tasks', admin=True)
    assert status == 200 and tasks.count(b'\n') >= 4, tasks
    assert one.stop() == 0
    subprocess.run(['cp', '-a', str(one.data), str(one.data) + '-copy'], check=True)
    hdfs.do(hadoop.SHELL, '-cp', '/queue', '/batch')

    write_input(hdfs, '/jobs/tasks', tasks.splitlines(True))
    storage = hdfs.url('batch')
    said = hdfs.stream('-D', 'mapreduce.job.reduces=2', '-input', '/jobs/tasks', '-output', '/jobs/segments', '-mapper',
                       f'{matinee.MATINEE} map --storage {storage}', '-reducer', f'{matinee.MATINEE} reduce --storage {storage}')
    assert 'completed successfully' in said, said[-2000:]
    assert int(re.search(r'number of splits:(\d+)', said)[1]) >= 2, 'several mappers'
    assert '/jobs/segments/_SUCCESS' in hdfs.files('/jobs/segments')
    lines = b''.join(hdfs.read(path) for path in hdfs.files('/jobs/segments') if 'part-' in path)

    one.start()
    assert one.request('POST', f'/api/v1/videos/{video}/renditions', {'name': '240p'}, admin=True)[0] == 202
    ladder.whole(one, video, ('240p',))
    everything_is_stored(one)
    made = {path[len('/queue/'):]: hdfs.read(path) for path in hdfs.files(f'/queue/v/{video}/240p')}
    batch = {path[len('/batch/'):]: hdfs.read(path) for path in hdfs.files(f'/batch/v/{video}/240p')}
    segments = [name for name in made if name.endswith('.m4s')]
    assert len(segments) >= 4 and all(made[name] == batch[name] for name in segments)

    two = make_server('--segment', '2', '--workers', '0', '--storage', storage, data='one-copy')
    assert two.request('POST', f'/api/v1/videos/{video}/renditions/240p/segments', {'lines': lines.decode()}, admin=True)[0] == 204
    ladder.whole(two, video, ('240p',))
    ladder.same_everywhere(two, video, ('240p',))
    for name in ladder.listed(one, video, '240p')[0]:
        assert one.get(f'/v/{video}/240p/{name}') == two.get(f'/v/{video}/240p/{name}'), name


# --- speed ----------------------------------------------------------------------------------------------


def test_the_benchmark_measures_us_and_curl_on_the_same_hdfs(hdfs, tmp_path):
    done = subprocess.run([matinee.MATINEE, 'bench', 'store', '--quick', '--bytes', '200000', '--storage', hdfs.url('speed'), '--peer',
                           f'http://127.0.0.1:{hdfs.port}/webhdfs/v1/speed?user.name={hadoop.USER}', '--out', tmp_path],
                          capture_output=True, text=True, timeout=120, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'store.csv').exists() and 'ratio' in done.stdout
    assert shown(hdfs, hdfs.url('speed')) == {}, 'what it made is gone'

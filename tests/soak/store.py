#!/usr/bin/env python3
"""tests/soak/store.py - a show in real time while its store is killed twice and matinee once: is every acknowledged frame in the store, once?

    make soak-store                                       ten minutes onto S3 (s3rver)
    make soak-store SOAK_ARGS='--store radosgw'           onto Ceph's gateway, whose front end is killed
    make soak-store SOAK_ARGS='--store hdfs'              onto HDFS, whose DataNode is killed; wants make check-hadoop first
    make soak-store SOAK_ARGS='--minutes 60 --away 300'   an hour, and a store that is away for five minutes at a time

At a fifth of the time, and again at seven tenths, the store's server is killed and stays away for a minute. In the middle of the show
matinee is killed (kill -9) and started again; with --crash-while-away that falls into the first minute without the store instead. A player
reads the playlists every second throughout, holds each against the one before, and fetches what is new in it. Exit status 1 when anything is
not as it was promised, and a line that says what.
"""
import argparse
import collections
import contextlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'e2e'))

import hadoop  # noqa: E402
import matinee  # noqa: E402
import s3_servers  # noqa: E402

JOURNAL_KEPT_MAX = 5 * 64 << 20  # its files are of 64 MB, and some are kept to be written again


def read_words():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument('--minutes', type=float, default=10)
    words.add_argument('--store', choices=['s3', 'radosgw', 'hdfs'], default='s3')
    words.add_argument('--away', type=float, default=60, help='seconds, twice')
    words.add_argument('--segment', type=int, default=10, help='seconds')
    words.add_argument('--crash-while-away', action='store_true', help='kill matinee in the middle of the first outage')
    return words.parse_args()


class S3:
    """A store whose one server process can be killed and started again; objects are what it says to other code than ours."""

    def __init__(self, folder, kind):
        self.server = kind(folder / 'store').start()
        self.url, self.environment = self.server.url(), self.server.environment

    def leave(self):
        last = self.server.processes[-1]  # the one that speaks S3; of Ceph the OSD in memory stays
        last.kill()
        last.wait()
        self.words = last.args

    def come(self):
        self.server.processes.pop()
        self.server.run(*self.words, environment=getattr(self.server, 'environment_of_ceph', None))
        matinee.until(lambda: s3_servers.answers(self.server.port), 60, 'the store being back')

    def names(self):
        return {key.removeprefix('shows/') for key in self.server.keys('shows/')}

    def close(self):
        self.server.close()


class Hdfs:
    environment = {}

    def __init__(self, folder):
        assert hadoop.is_here(), "Hadoop's jars or Java are missing; make check-hadoop brings them"
        self.server = hadoop.Hadoop(folder / 'store').start()
        self.url = self.server.url()

    def leave(self):
        self.server.end('datanode')

    def come(self):
        self.server.start_datanode()

    def names(self):
        return {path.removeprefix('/shows/') for path in self.server.files('/shows') if '/.put/' not in path}

    def close(self):
        self.server.close()


def open_store(asked, folder):
    if asked.store == 'hdfs':
        return Hdfs(folder)
    return S3(folder, s3_servers.RadosGateway if asked.store == 'radosgw' else s3_servers.S3rver)


class Player(threading.Thread):
    """Reads all playlists of a video every second; `wrong` is what was not valid."""

    def __init__(self, server, video):
        super().__init__(daemon=True)
        self.server, self.video = server, video
        self.ending, self.may_be_down = threading.Event(), threading.Event()
        self.wrong, self.reads, self.fetched = [], 0, 0
        self.seen, self.target, self.read = {}, {}, set()

    def run(self):
        while not self.ending.wait(1):
            try:
                self.look()
            except OSError as e:
                if not self.may_be_down.is_set():
                    self.wrong.append(f'{time.strftime("%X")}: no answer: {e}')
            except AssertionError as e:
                self.wrong.append(f'{time.strftime("%X")}: {e}')

    def look(self):
        status, _, master = self.server.request('GET', f'/v/{self.video}/master.m3u8')
        if status == 404 and not self.seen:
            return  # its first segment is not done yet
        master = master.decode()
        assert status == 200, (status, master)
        assert master.startswith('#EXTM3U'), 'a master playlist that is none'
        for name in set(re.findall(r'URI="([^"]+\.m3u8)"', master) + re.findall(r'^([^#\s]+\.m3u8)', master, re.M)):
            self.check(name, self.server.get(f'/v/{self.video}/{name}').decode())
        self.reads += 1

    def check(self, name, text):
        """The same segments under the same numbers as before, none longer than was promised, and the new ones can be fetched."""
        first = int(re.search(r'#EXT-X-MEDIA-SEQUENCE:(\d+)', text)[1])
        target = int(re.search(r'#EXT-X-TARGETDURATION:(\d+)', text)[1])
        segments = re.findall(r'^#EXTINF:([\d.]+),[^\n]*\n(?:#[^\n]*\n)*([^#\s]+)$', text, re.M)
        before = self.seen.setdefault(name, {})
        assert self.target.setdefault(name, target) == target, f'{name}: the target duration has changed'
        for i, (seconds, uri) in enumerate(segments):
            known = before.setdefault(first + i, uri)
            assert known == uri, f'{name}: number {first + i} was {known} and is {uri}'
            assert float(seconds) < target + 0.5, f'{name}: {uri} lasts {seconds} s of {target}'
        assert first + len(segments) > max(before, default=-1), f'{name}: the end has gone back from {max(before)} to {first + len(segments) - 1}'
        for _, uri in segments[-3:]:
            path = f'/v/{self.video}/{name.rpartition("/")[0]}/{uri}'.replace('//', '/')
            if path not in self.read:
                status, _, body = self.server.request('GET', path)
                assert status == 200 and body, f'{path} is listed and cannot be read: {status}'
                self.read.add(path)
                self.fetched += 1

    def listed(self):
        """Every segment there ever was in a playlist, by the store's names."""
        return {f'v/{self.video}/{name.rpartition("/")[0]}/{uri}' for name, all in self.seen.items() for uri in all.values()}

    def end(self):
        self.ending.set()
        self.join(30)


def spool(server):
    return json.loads(server.request('GET', '/api/v1/spool', admin=True)[2])


def without_store(asked, store, show, crash=None):
    """The store is away for so long; what the server says of it is the truth."""
    server, due = show.server, time.monotonic() + asked.away
    store.leave()
    print(f'{time.strftime("%X")} the store is killed', flush=True)
    matinee.until(lambda: spool(server)['verdict'] == 'away', 2 * asked.segment + 30, 'the store being known to be away')
    if crash:
        crash()
        matinee.until(lambda: spool(server)['segments'] >= 1 and spool(server)['verdict'] != 'good', 60,
                      'segments that wait after the crash, and the store being known to be away')
    waiting = 0
    while time.monotonic() < due:
        now = spool(server)
        status, _, text = server.request('GET', '/readyz')
        assert status == 200 and b'store' in text, (status, text)
        assert now['verdict'] in ('away', 'behind') and now['segments'] >= waiting, (now, waiting)
        waiting = now['segments']
        show.goes_on(time.monotonic() + 1)
    print(f'{time.strftime("%X")} {now["segments"]} segments ({now["bytes"]} bytes) wait, the oldest for {now["oldestSeconds"]:.0f} s; the store '
          'comes back', flush=True)
    store.come()
    begun = time.monotonic()
    matinee.until(lambda: spool(server)['segments'] == 0, 120, 'all being stored')
    matinee.until(lambda: spool(server)['verdict'] == 'good', 10, 'all being well')
    status, _, text = server.request('GET', '/readyz')
    assert (status, text) == (200, b'ready\n'), (status, text)
    print(f'{time.strftime("%X")} all is stored, {time.monotonic() - begun:.1f} s after it came back', flush=True)


class Show:
    """One event, its publishers one after the other, and its player."""

    def __init__(self, asked, folder, server):
        self.folder, self.server, self.begun = folder, server, time.monotonic()
        self.event = server.make_event()
        self.clips = [matinee.clip(folder / f'clip-{i}.mp4', asked.minutes * 60 + asked.away, size='640x360', gop=60, more=more)
                      for i, more in enumerate([(), ('-vf', 'hue=h=90')])]  # so that no frame of one is in the other
        self.begun = time.monotonic()
        self.publisher, self.records = None, []
        self.publish()
        self.video = matinee.until(lambda: server.video(self.event), what='a video')
        self.player = Player(server, self.video)
        self.player.start()

    def publish(self):
        k = len(self.records)
        self.records.append(self.folder / f'record-{k}')
        self.publisher = matinee.publish(self.clips[k], f'{self.server.rtmp}/{self.event["streamKey"]}', '--speed', 1, '--record',
                                         self.records[k])

    def goes_on(self, until):
        """Waits; a publisher that ends meanwhile is wrong."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.publisher.wait(max(0, until - time.monotonic()))
            raise AssertionError(f'the publisher has ended: {self.publisher.stdout.read()[-500:]}')

    def crash(self):
        """kill -9, at once started again, and the publisher comes back."""
        self.player.may_be_down.set()
        self.server.kill()
        begun = time.monotonic()
        self.publisher.wait(30)
        self.server.start(http=self.server.http.removeprefix('http://'), rtmp=self.server.rtmp.split('/')[2])
        print(f'{time.strftime("%X")} matinee was killed, and is ready {time.monotonic() - begun:.1f} s later', flush=True)
        self.publish()
        matinee.until(lambda: self.server.request('GET', f'/v/{self.video}/master.m3u8')[0] == 200, 10, 'the playlists')
        self.player.may_be_down.clear()

    def end(self):
        self.publisher.terminate()
        self.publisher.wait(30)
        self.server.end(self.event)
        matinee.until(lambda: self.server.json(f'/api/v1/videos/{self.video}')['state'] == 'ended', 60, 'its end')
        matinee.until(lambda: spool(self.server)['segments'] == 0, 120, 'all being stored')
        self.player.end()

    def close(self):
        self.player.end()
        matinee.end_process(self.publisher)


def play(asked, store, show):
    whole = asked.minutes * 60
    print(f'{time.strftime("%X")} the show has begun', flush=True)
    show.goes_on(show.begun + whole / 5)
    without_store(asked, store, show, crash=show.crash if asked.crash_while_away else None)
    show.goes_on(show.begun + whole / 2)
    if not asked.crash_while_away:
        show.crash()
    show.goes_on(show.begun + whole * 7 / 10)
    without_store(asked, store, show)
    show.goes_on(show.begun + whole)
    show.end()


def judge(store, show):
    """Prints what was measured; an assertion says what is wrong. What is read comes from the store alone: memory and copies are gone."""
    server, player = show.server, show.player
    assert not player.wrong, player.wrong[:5]
    journal = sum(f.stat().st_size for f in (server.data / 'journal').iterdir())
    assert journal <= JOURNAL_KEPT_MAX, f'{journal} bytes of journal are kept'
    assert server.stop() == 0
    server.start()
    stored, names = store.names(), player.listed()
    # The last segment of a crash is another object under its number.
    gone = [name for name in names if name not in stored and name.replace('.m4s', '-r.m4s') not in stored]
    assert names and not gone, f'listed and not stored: {gone[:3]}'
    sent, acknowledged = matinee.frames_of(*show.records)
    there = collections.Counter(md5 for stream in 'va'
                                for _, _, md5 in matinee.packets(f'{server.http}/v/{show.video}/master.m3u8', stream))
    lost, doubled = acknowledged - there, there - sent
    assert acknowledged and not lost, f'{lost.total()} acknowledged frames are lost'
    assert not doubled, f'{doubled.total()} frames are there more often than they were sent'
    print(f'{acknowledged.total()} frames were acknowledged (of {sent.total()} sent) and all are in the store, of {there.total()} that are there, none twice; '
          f'{len(names)} segments; {player.reads} times all playlists were read and valid, {player.fetched} segments fetched as they came; '
          f'{journal >> 20} MB of journal are left')


def main():
    asked = read_words()
    print(f'{asked.minutes:g} minutes onto {asked.store}, away twice for {asked.away:g} s, one kill -9', flush=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as open_ones:
        folder = pathlib.Path(folder)
        store = open_store(asked, folder)
        open_ones.callback(store.close)
        server = matinee.Server(folder / 'data', '--grace', '60', '--segment', str(asked.segment), '--storage', store.url,
                                environment=store.environment).start()
        open_ones.callback(server.close)
        try:
            show = Show(asked, folder, server)
            open_ones.callback(show.close)
            play(asked, store, show)
            judge(store, show)
            return 0
        except AssertionError as wrong:
            print(f'WRONG: {wrong}\n{server.said()[-3000:]}')
            return 1


if __name__ == '__main__':
    sys.exit(main())

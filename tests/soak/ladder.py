#!/usr/bin/env python3
"""tests/soak/ladder.py - a long live show while its workers are killed: is every segment there, once, in every rendition?

    make soak                               ten minutes
    make soak SOAK_ARGS='--minutes 60'      an hour
    make soak SOAK_ARGS='--minutes 60 --upload'   an hour's recording, as fast as the workers go

Publishes a drawn picture in real time to a server whose workers are processes of their own (over a NATS server of
the script's), and kills one of them, chosen by chance, every 15 s; another one takes its place at once. Then holds every rendition
against the source: the same segments, every picture at the source's instant, no gap, each segment published once, and no object
in the store that nobody lists. Exit status 1 when anything of that is not so, and a line that says what.
"""
import argparse
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'e2e'))

import ladder  # noqa: E402
import matinee  # noqa: E402

LADDER = ('240p', '144p')
AGE = 'matinee_ladder_capture_to_published_milliseconds'


def read_words():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument('--minutes', type=float, default=10)
    words.add_argument('--kill-every', type=float, default=15, help='seconds')
    words.add_argument('--upload', action='store_true', help='a finished recording instead of a live show')
    words.add_argument('--workers', type=int, default=3)
    words.add_argument('--seed', type=int, default=random.randrange(1 << 30))
    return words.parse_args()


def ages(server, rendition):
    """[(up to so many ms, so many segments)] of a rendition's histogram."""
    text = server.get('/metrics').decode()
    found = re.findall(rf'^{AGE}_bucket{{rendition="{rendition}",le="([^"]+)"}} (\d+)$', text, re.M)
    return [(bound, int(count)) for bound, count in found]


def send(asked, server, event, folder):
    """Begins to send the show; the process that does."""
    if not asked.upload:
        return matinee.ffmpeg(*matinee.drawn(asked.minutes * 60, size='640x360', gop=60), event['url'])
    recording = matinee.clip(folder / 'recording.mp4', asked.minutes * 60, size='640x360', gop=60)
    return subprocess.Popen([matinee.MATINEE, 'video', 'upload', event['id'], recording, '--server', server.http,
                             '--token-file', server.data / 'admin.token'], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def play(asked, server, new_worker, folder):
    """The show, with its murders; how many there were."""
    draw = random.Random(asked.seed)
    event = server.make_event()
    publisher = send(asked, server, event, folder)
    workers = [new_worker() for _ in range(asked.workers)]
    killed, due = 0, time.monotonic() + asked.kill_every
    try:
        while publisher.poll() is None:
            try:
                publisher.wait(max(0.1, due - time.monotonic()))
            except Exception:  # the time of the next one has come
                victim = draw.randrange(len(workers))
                workers[victim].kill()
                workers[victim] = new_worker()
                killed, due = killed + 1, due + asked.kill_every
        assert publisher.returncode == 0, publisher.stderr.read()
        if not asked.upload:
            server.end(event)
        video = matinee.until(lambda: server.video(event), 30, 'the video')
        matinee.until(lambda: server.json(f'/api/v1/videos/{video}')['state'] == 'ended', 600, 'its end')
        ladder.whole(server, video, LADDER, 60 + 30 * asked.minutes)
        return video, killed
    finally:
        matinee.end_process(publisher)
        for worker in workers:
            worker.stop()


def judge(server, video):
    """Prints what was measured; an assertion says what is wrong."""
    ladder.published_once(server, video, LADDER)
    segments = len(ladder.listed(server, video, 'source')[0])
    times = ladder.frame_times(server, video, LADDER[0])
    assert ladder.published(server) == segments * len(LADDER), 'each of them once'
    steps = {b - a for a, b in zip(times, times[1:])}
    print(f'{segments} segments and {len(times)} pictures in each of {", ".join(LADDER)}, each once, at the source\'s instants, no gap; '
          f'pictures are {min(steps) / 90:.1f} to {max(steps) / 90:.1f} ms apart')
    print(f'{server.metric("matinee_ladder_deaths")} deaths told, {server.metric("matinee_ladder_failures")} failures, '
          f'{server.metric("matinee_ladder_backups_total")} backups, '
          f'{server.metric("matinee_ladder_encoded_milliseconds_total") / server.metric("matinee_ladder_encode_cpu_milliseconds_total"):.1f} '
          'seconds encoded for a second of CPU')
    for name in LADDER:
        print(f'{name}: from the last picture to published, segments up to so many ms:',
              ', '.join(f'{bound}: {count}' for bound, count in ages(server, name)))


def main():
    asked = read_words()
    print(f'seed {asked.seed}, {asked.minutes:g} minutes, a worker of {asked.workers} is killed every {asked.kill_every:g} s', flush=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        nats = matinee.Nats(folder / 'nats').start()
        server = matinee.Server(folder / 'data', '--ladder', ','.join(LADDER), '--workers', '0', '--queue', nats.url).start()

        def new_worker():
            return matinee.Worker(nats.url, f'file:{server.data}/store', folder / 'workers.log')
        try:
            video, killed = play(asked, server, new_worker, folder)
            print(f'{killed} workers were killed')
            judge(server, video)
            return 0
        except AssertionError as wrong:
            print(f'WRONG: {wrong}\n{server.said()[-2000:]}\n{(folder / "workers.log").read_text()[-2000:]}')
            return 1
        finally:
            server.close()
            nats.close()


if __name__ == '__main__':
    sys.exit(main())

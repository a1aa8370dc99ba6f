#!/usr/bin/env python3
"""bench/soak.py - a long stream, faster than life: does the sound stay with the picture, and memory flat?

    bench/soak.py [--seconds 3600] [--speed 4]

Publishes a looped clip with `matinee publish --record`, samples the server's memory, then holds the time of every
stored frame against the time stamp it was sent with. Prints what it measured; exit status 1 when a frame is
missing, lies more than 20 ms off, or memory grew by more than 8 MB after the first fifth of the run.
"""
import argparse
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'tests' / 'e2e'))

import matinee  # noqa: E402

OFF_SECONDS_MAX = 0.020
GROWTH_KB_MAX = 8 * 1024


def memory_kb(pid):
    for line in pathlib.Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith('RssAnon:'):
            return int(line.split()[1])
    raise AssertionError('no RssAnon')


def offsets(stored, sent):
    """How far each stored frame lies from where it was sent, against the first picture."""
    assert len(stored) == len(sent), f'{len(sent)} frames were sent, {len(stored)} are stored'
    assert [md5 for _, _, md5 in stored] == [md5 for *_, md5 in sent], 'the same frames in the same order'
    return [pts - stamp / 1000 for (pts, _, _), (stamp, _) in zip(stored, sent)]


def main():
    words = argparse.ArgumentParser()
    words.add_argument('--seconds', type=float, default=3600)
    words.add_argument('--speed', type=float, default=4)
    asked = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # Without B-frames decoding order is presentation order, so that times can be compared one by one.
        clip = matinee.clip(folder / 'clip.mp4', 20, size='640x360', gop=60, more=['-bf', '0', '-b:v', '1M', '-af', 'atrim=end=19.9'])
        server = matinee.Server(folder / 'data', '--grace', '1').start()
        try:
            event = server.make_event()
            publisher = matinee.publish(clip, event['url'], '--loop', '--speed', asked.speed, '--duration', asked.seconds,
                                        '--record', folder / 'record')
            memory, began = [], time.monotonic()
            while publisher.poll() is None:
                memory.append(memory_kb(server.process.pid))
                try:
                    publisher.wait(asked.seconds / asked.speed / 100)
                except Exception:
                    pass
            took = time.monotonic() - began
            assert publisher.returncode == 0, publisher.stdout.read()
            server.end(event)
            sent, _ = matinee.read_record(folder / 'record')
            url = f'{server.http}/v/{server.video(event)}/master.m3u8'
            worst = 0.0
            for stream, kind in (('v', 'video'), ('a', 'audio')):
                frames = [(stamp, md5) for k, stamp, _, md5, _ in sent if k == kind and md5 != '-']
                off = offsets(matinee.packets(url, stream), frames)
                print(f'{kind}: {len(off)} frames, {min(off) * 1000:+.1f} to {max(off) * 1000:+.1f} ms from where they were sent')
                worst = max(worst, max(off) - min(off), *(abs(o) for o in off))
            settled = memory[len(memory) // 5:]
            growth = max(settled[len(settled) * 4 // 5:]) - max(settled[:len(settled) // 5])
            print(f'{asked.seconds:.0f} s at {asked.speed:g} x in {took:.0f} s; memory {settled[0]} KB after a fifth, '
                  f'{settled[-1]} KB at the end, highest {max(memory)} KB')
            return 0 if worst <= OFF_SECONDS_MAX and growth <= GROWTH_KB_MAX else 1
        finally:
            server.close()


if __name__ == '__main__':
    sys.exit(main())

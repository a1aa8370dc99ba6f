"""What the tests of the ladder share: shows to make renditions of, and what may be said of them when they are made."""
import pathlib
import subprocess

import matinee


def renditions(server, video):
    return {r['name']: r for r in server.json(f'/api/v1/videos/{video}')['renditions']}


def whole(server, video, names, seconds=90):
    """All of these renditions are made; their descriptions."""
    def ready():
        made = renditions(server, video)
        return made if all(n in made and made[n]['state'] == 'ready' for n in names) else None
    return matinee.until(ready, seconds, f'renditions {names} being ready')


def frame_times(server, video, rendition, but=None):
    """The presentation times of every packet, in ticks, sorted. ffprobe must not complain `but` of one thing."""
    done = subprocess.run(['ffprobe', '-v', 'warning', '-select_streams', 'v', '-show_entries', 'packet=pts', '-of', 'csv=p=0',
                           f'{server.http}/v/{video}/{rendition}/playlist.m3u8'], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert all(but and but in line for line in done.stderr.splitlines()), done.stderr
    return sorted(int(line.strip(b',')) for line in done.stdout.split())


def listed(server, video, rendition):
    playlist = server.get(f'/v/{video}/{rendition}/playlist.m3u8').decode()
    return [line for line in playlist.splitlines() if line.endswith('.m4s')], playlist


def show(server, seconds=7, size='426x320', gop=60, event=None, **drawn):
    """Publishes a short show and ends it; the video's id."""
    event = event or server.make_event()
    publisher = matinee.ffmpeg(*matinee.drawn(seconds, size=size, gop=gop, realtime=False, **drawn), event['url'])
    assert publisher.wait(90) == 0, publisher.stderr.read()
    server.end(event)
    return server.video(event)


def workers_of(pid):
    """The children of a process that encode."""
    return matinee.children(pid, b'encode-chunk')


def same_everywhere(server, video, names):
    """Each rendition has the source's pictures at the source's times, in as many segments."""
    source = frame_times(server, video, 'source')
    for name in names:
        assert frame_times(server, video, name) == source, name
        assert listed(server, video, name)[0] == listed(server, video, 'source')[0], name


def held_by(process):
    """The child that a worker has at work; None while it has none."""
    return (workers_of(process.pid) or [None])[0]


def published(server):
    return server.metric('matinee_ladder_segments_published_total')


def published_once(server, video, names, swept=True):
    """Each rendition has the source's segments and pictures, no gap, and (`swept`) no object that nobody lists."""
    made = whole(server, video, names)
    assert [made[n]['gaps'] for n in names] == [0] * len(names), made
    same_everywhere(server, video, names)
    for name in names if swept else ():
        folder = server.data / 'store' / 'v' / video / name
        matinee.until(lambda: sorted(p.name for p in folder.iterdir()) == listed(server, video, name)[0], 20,
                      f'only what is listed lying in {folder}')

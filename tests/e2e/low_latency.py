"""Low-latency HLS and DASH, judged as a player sees them: fetches what a live video gives for a while and prints each rule with its
verdict. Rules of RFC 8216bis, Apple's authoring specification and DASH-IF's low-latency-live-v5.

    python3 tests/e2e/low_latency.py http://127.0.0.1:8080/v/VIDEO [SECONDS [low.m3u8|master.m3u8]]

Exit status 1 when a rule is broken. `Verdicts` collects: a rule that was never tried is broken, too."""
import gzip
import http.client
import itertools
import re
import struct
import sys
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree
from datetime import datetime, timezone

HLS = [
    'the master names every playlist with its codecs', 'CAN-BLOCK-RELOAD=YES', 'PART-HOLD-BACK is at least 3 part targets',
    'HOLD-BACK is at least 3 target durations', 'CAN-SKIP-UNTIL is at least 6 target durations', 'TARGETDURATION never changes',
    'PART-TARGET never changes', 'EXTINF fits TARGETDURATION', 'no part is longer than PART-TARGET',
    'every part but the last of a segment has 85 % of PART-TARGET', 'PROGRAM-DATE-TIME is there', 'a preload hint is there',
    'what was hinted comes', 'every other playlist is reported', 'a report is of now',
    'a blocked reload has what was asked for', 'a blocked reload waits for it', 'a part past its segment means the next one',
    'a delta update skips, and says how much', 'what is skipped and what is listed is all', '_HLS_part without _HLS_msn is 400',
    'a segment too far ahead is 400', 'a part too far ahead is 400', 'what is no number is 400', 'playlists are compressed',
    'segments stay as they were', 'a listed part can be had', 'a part is whole chunks', 'INDEPENDENT parts begin with a keyframe',
    'a part is as long as it says', 'a part lies where the playlist says', 'the parts of a segment are the segment', 'parts are immutable', 'playlists are kept for moments only',
]
DASH = [
    'the manifest is dynamic', 'availabilityStartTime never changes', 'every template says availabilityTimeOffset',
    'availabilityTimeComplete is false', 'availabilityTimeOffset leaves a chunk', 'ServiceDescription has latency and rates',
    'UTCTiming tells the time in milliseconds', 'a producer reference time is announced', 'the open segment is listed',
    'segments lie end to end', 'what is listed stays', 'the open segment comes while it grows', 'what came is what it became',
    'chunks begin with moof or prft', 'prft says when', 'tfdt is where the timeline says',
]


class Verdicts:
    def __init__(self, rules):
        self.tried = {rule: 0 for rule in rules}
        self.broken = {}
        self.lock = threading.Lock()

    def __call__(self, rule, good, detail=''):
        with self.lock:
            self.tried[rule] += 1
            if not good:
                self.broken.setdefault(rule, detail)
        return good

    def failures(self):
        return {**{rule: 'never tried' for rule, n in self.tried.items() if n == 0}, **self.broken}

    def __str__(self):
        failures = self.failures()
        return '\n'.join(f"{'BROKEN' if rule in failures else 'ok':6} {n:5} x  {rule}{': ' + str(failures[rule]) if rule in failures else ''}"
                         for rule, n in self.tried.items())


class Answer:
    def __init__(self, status, headers, body, began, pieces=()):
        self.status, self.headers, self.body, self.began, self.ended = status, headers, body, began, time.time()
        self.pieces = list(pieces)  # (when, bytes)
        self.raw_size = len(body)
        if headers.get('Content-Encoding') == 'gzip':
            self.body = gzip.decompress(body)

    @property
    def text(self):
        return self.body.decode()


class Fetch:
    """One request after the other over one connection, as a player's."""

    def __init__(self, base):
        self.url = urllib.parse.urlsplit(base)
        self.connection = None

    def __call__(self, path):
        began = time.time()
        for attempt in range(2):
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.url.netloc, timeout=40)
            try:
                target = path if path.startswith('/') else f'{self.url.path}/{path}'
                self.connection.request('GET', target, headers={'Accept-Encoding': 'gzip'})
                answer = self.connection.getresponse()
                pieces = []
                while piece := answer.read1(1 << 20):
                    pieces.append((time.time(), piece))
                return Answer(answer.status, dict(answer.getheaders()), b''.join(p for _, p in pieces), began, pieces)
            except (http.client.HTTPException, ConnectionError):
                self.connection = None
                if attempt:
                    raise
        return None


# --- what is inside the media ---------------------------------------------------------------------------------------

def boxes(data):
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack('>I4s', data[at:at + 8])
        if size < 8 or at + size > len(data):
            raise ValueError(f'a box of {size} bytes at {at} of {len(data)}')
        yield kind.decode('latin1'), data[at + 8:at + size]
        at += size
    if at != len(data):
        raise ValueError(f'{len(data) - at} bytes behind the last box')


def fragments(data):
    """[(tfdt, duration, begins with a keyframe)] of each moof."""
    found = []
    for kind, content in boxes(data):
        if kind != 'moof':
            continue
        inside = dict(boxes(dict(boxes(content))['traf']))
        tfhd, trun = inside['tfhd'], inside['trun']
        default_duration, _, default_flags = struct.unpack('>III', tfhd[8:20])
        tfdt = struct.unpack('>Q', inside['tfdt'][4:12])[0]
        said, count = struct.unpack('>II', trun[:8])
        at, first_flags, total = 12, default_flags, 0
        if said & 4:
            first_flags = struct.unpack('>I', trun[at:at + 4])[0]
            at += 4
        for i in range(count):
            duration = default_duration
            if said & 0x100:
                duration, at = struct.unpack('>I', trun[at:at + 4])[0], at + 4
            at += 4 if said & 0x200 else 0
            if said & 0x400:
                flags, at = struct.unpack('>I', trun[at:at + 4])[0], at + 4
                first_flags = flags if i == 0 else first_flags
            at += 4 if said & 0x800 else 0
            total += duration
        found.append((tfdt, total, not first_flags & 0x10000))
    return found


# --- HLS ------------------------------------------------------------------------------------------------------------

def attributes(text):
    return {k: v.strip('"') for k, v in re.findall(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)', text)}


class Playlist:
    def __init__(self, text):
        self.text = text
        self.lines = text.splitlines()
        self.control = attributes(self.tag('SERVER-CONTROL') or '')
        self.target = int(self.tag('TARGETDURATION') or 0)
        self.part_target = float(attributes(self.tag('PART-INF') or '').get('PART-TARGET', 0))
        self.skipped = int(attributes(self.tag('SKIP') or '').get('SKIPPED-SEGMENTS', 0))
        self.hint = attributes(self.tag('PRELOAD-HINT') or '').get('URI')
        self.reports = [attributes(line.split(':', 1)[1]) for line in self.lines if line.startswith('#EXT-X-RENDITION-REPORT:')]
        self.segments = []  # (uri, seconds, parts), behind those that are skipped
        self.open = []      # the parts of the one that is not done: attributes
        self.breaks = set() # segments before which the timeline breaks
        parts, seconds = [], 0
        for line in self.lines:
            if line.startswith('#EXT-X-PART:'):
                parts.append(attributes(line.split(':', 1)[1]))
            elif line == '#EXT-X-DISCONTINUITY':
                self.breaks.add(self.skipped + len(self.segments))
            elif line.startswith('#EXTINF:'):
                seconds = float(line.split(':')[1].split(',')[0])
            elif line and not line.startswith('#'):
                self.segments.append((line, seconds, parts))
                parts = []
        self.open = parts
        self.count = self.skipped + len(self.segments)

    def tag(self, name):
        return next((line.split(':', 1)[1] for line in self.lines if line.startswith(f'#EXT-X-{name}:')), None)

    def parts(self):
        return [p for _, _, parts in self.segments for p in parts] + self.open


class HlsPlayer:
    """Follows one media playlist as a player at the edge does."""

    def __init__(self, fetch, path, others, verdict, timescale):
        self.fetch, self.path, self.name, self.others, self.verdict, self.timescale = fetch, path, path.split('/')[0], others, verdict, timescale
        self.known = {}    # segment uri: seconds
        self.got = {}      # part uri: bytes
        self.hinted = None
        self.whole = set()
        self.off = None    # how far behind its media the playlist has the first part

    def get(self, query='', code=200):
        answer = self.fetch(f'{self.path}{query}')
        return answer if answer.status == code else None, answer

    def follow(self, seconds):
        v = self.verdict
        _, answer = self.get()
        first = now = Playlist(answer.text)
        v('CAN-BLOCK-RELOAD=YES', now.control.get('CAN-BLOCK-RELOAD') == 'YES', now.control)
        v('playlists are kept for moments only', 0 <= self.age(answer) <= 2, answer.headers.get('Cache-Control'))
        v('PROGRAM-DATE-TIME is there', now.tag('PROGRAM-DATE-TIME') is not None)
        self.refusals(now)
        end = time.time() + seconds
        for round in itertools.count():
            if time.time() > end or not v('CAN-BLOCK-RELOAD=YES', now.control.get('CAN-BLOCK-RELOAD') == 'YES'):
                break
            self.look_at(now, first)
            skip = '&_HLS_skip=YES' if round % 2 else ''
            msn, part = now.count, len(now.open)
            answer = self.fetch(f'{self.path}?_HLS_msn={msn}&_HLS_part={part}{skip}')
            if not v('a blocked reload has what was asked for', answer.status == 200, f'{answer.status} for {msn}.{part}'):
                break
            then = Playlist(answer.text)
            v('a blocked reload has what was asked for', (then.count, len(then.open)) > (msn, part) or then.count > msn,
              f'asked for {msn}.{part}, got {then.count}.{len(then.open)}')
            if now.part_target:
                v('a blocked reload waits for it', answer.ended - answer.began < 3 * now.part_target + 1,
                  f'{answer.ended - answer.began:.3f} s')
            v('what is skipped and what is listed is all', then.count >= now.count, f'{then.count} after {now.count}')
            if then.part_target != 0:
                v('PART-TARGET never changes', then.part_target == first.part_target)
            if skip:
                self.look_at_update(then)
            if len(answer.body) > 1500:
                v('playlists are compressed', answer.headers.get('Content-Encoding') == 'gzip', answer.headers)
            now = then
        self.past_the_end(now)
        return now

    @staticmethod
    def age(answer):
        found = re.search(r'max-age=(\d+)', answer.headers.get('Cache-Control', ''))
        return int(found[1]) if found else -1

    def refusals(self, now):
        v = self.verdict
        for rule, query in [('_HLS_part without _HLS_msn is 400', '?_HLS_part=0'), ('a segment too far ahead is 400', f'?_HLS_msn={now.count + 4}'),
                            ('a part too far ahead is 400', f'?_HLS_msn={now.count}&_HLS_part={len(now.open) + 1000}'),
                            ('what is no number is 400', '?_HLS_msn=x'), ('what is no number is 400', '?_HLS_msn=1&_HLS_part=-1')]:
            answer = self.fetch(f'{self.path}{query}')
            v(rule, answer.status == 400, f'{answer.status} for {query}')

    def look_at_update(self, then):
        """A delta update leaves out what is older than CAN-SKIP-UNTIL, and no more."""
        seconds = [*self.known.values(), *(s for uri, s, _ in then.segments if uri not in self.known)]
        boundary = sum(seconds) - float(then.control.get('CAN-SKIP-UNTIL', 0))
        old = sum(end <= boundary + 1e-6 for end in itertools.accumulate(seconds))
        self.verdict('a delta update skips, and says how much', then.skipped == old, f'{then.skipped} of {old}')
        self.verdict('PROGRAM-DATE-TIME is there', then.tag('PROGRAM-DATE-TIME') is not None, 'not in an update')

    def past_the_end(self, now):
        at = next((i for i, s in enumerate(now.segments) if s[2]), None)
        if at is None:
            return
        msn, part = now.skipped + at, len(now.segments[at][2])
        answer = self.fetch(f'{self.path}?_HLS_msn={msn}&_HLS_part={part}')
        self.verdict('a part past its segment means the next one', answer.status == 200 and Playlist(answer.text).count > msn,
                     f'{answer.status} for part {part} of {msn}')

    def look_at(self, now, first):
        v = self.verdict
        v('TARGETDURATION never changes', now.target == first.target, f'{first.target}, then {now.target}')
        v('HOLD-BACK is at least 3 target durations', float(now.control.get('HOLD-BACK', 0)) >= 3 * now.target, now.control)
        v('CAN-SKIP-UNTIL is at least 6 target durations', float(now.control.get('CAN-SKIP-UNTIL', 0)) >= 6 * now.target, now.control)
        v('PART-HOLD-BACK is at least 3 part targets', now.part_target > 0 and
          float(now.control.get('PART-HOLD-BACK', 0)) >= 3 * now.part_target - 1e-9, now.control)
        v('a preload hint is there', now.hint is not None, now.text[-300:])
        listed = [p['URI'] for p in now.parts()]
        if self.hinted and self.hinted != now.hint:
            v('what was hinted comes', self.hinted in listed, f'{self.hinted} is not in {listed[-3:]}')
        self.hinted = now.hint
        self.look_at_segments(now)
        self.look_at_parts(now)
        self.look_at_reports(now)

    def look_at_segments(self, now):
        v = self.verdict
        names = list(self.known)
        for i, (uri, seconds, parts) in enumerate(now.segments):
            at = now.skipped + i
            v('EXTINF fits TARGETDURATION', round(seconds) <= now.target, f'{uri}: {seconds}')
            if at < len(names):
                v('segments stay as they were', names[at] == uri and self.known[uri] == seconds, f'{uri} at {at}, was {names[at]}')
            else:
                self.known[uri] = seconds
            if parts and uri not in self.whole and all(p['URI'] in self.got for p in parts):
                self.whole.add(uri)
                whole = self.fetch(f'{self.name}/{uri}')
                v('the parts of a segment are the segment', whole.status == 200 and
                  whole.body == b''.join(self.got[p['URI']] for p in parts), f'{uri}: {whole.status}')

    def look_at_parts(self, now):
        v = self.verdict
        begins = list(itertools.accumulate(self.known.values(), initial=0))
        for at, parts in enumerate([p for _, _, p in now.segments] + [now.open], now.skipped):
            is_open, begin = at == now.count, begins[at]
            for i, part in enumerate(parts):
                seconds = float(part['DURATION'])
                v('no part is longer than PART-TARGET', seconds <= now.part_target + 1e-6, f"{part['URI']}: {seconds}")
                if is_open or i + 1 < len(parts):
                    v('every part but the last of a segment has 85 % of PART-TARGET', is_open and i + 1 == len(parts) or
                      seconds >= .85 * now.part_target - 1e-6, f"{part['URI']}: {seconds}")
                if part['URI'] not in self.got:
                    self.take(part, seconds, None if at in now.breaks else begin)
                begin += seconds

    def take(self, part, seconds, begin):
        """`begin`: where the playlist has it. Shaka Player lays media there, and begins anew where that differs from one part to the next by
        a millisecond; media that is behind its place counts as a millisecond off. None: a publisher has come, and his first sounds and pictures
        may be a little behind."""
        v = self.verdict
        answer = self.fetch(f"{self.name}/{part['URI']}")
        self.got[part['URI']] = answer.body
        if not v('a listed part can be had', answer.status == 200, f"{part['URI']}: {answer.status}"):
            return
        v('parts are immutable', 'immutable' in answer.headers.get('Cache-Control', ''), answer.headers)
        try:
            kinds = [kind for kind, _ in boxes(answer.body)]
            found = fragments(answer.body)
            v('a part is whole chunks', kinds[-2:] == ['moof', 'mdat'], kinds)
            if begin is not None:
                off = begin - found[0][0] / self.timescale
                self.off = off if self.off is None else self.off
                v('a part lies where the playlist says', off > 0 and abs(off - self.off) < .0009,
                  f"{part['URI']}: {begin} is {off:+.6f} off, the first {self.off:+.6f}")
            v('a part is as long as it says', abs(sum(f[1] for f in found) / self.timescale - seconds) < .0011, f"{part['URI']}: {found}")
            if part.get('INDEPENDENT') == 'YES':
                v('INDEPENDENT parts begin with a keyframe', found[0][2], part['URI'])
        except (ValueError, KeyError, struct.error, IndexError) as problem:
            v('a part is whole chunks', False, f"{part['URI']}: {problem}")

    def look_at_reports(self, now):
        reports = {r['URI'].removeprefix('../'): r for r in now.reports}
        self.verdict('every other playlist is reported', set(reports) == set(self.others), f'{set(reports)}, not {set(self.others)}')
        for uri, report in reports.items():
            last = now.count if now.open else now.count - 1
            # What is made is a chunk or two later, and its first part is told of with its second.
            apart = 1 if uri.split('/')[0] in ('source', 'audio') and self.name in ('source', 'audio') else 2
            self.verdict('a report is of now', abs(int(report['LAST-MSN']) - last) <= apart, f'{report} at {last}')


def playlists(master):
    """The media playlists that a multivariant one names."""
    return [line for line in master.splitlines() if line.endswith('.m3u8') and not line.startswith('#')] + [
        attributes(line)['URI'] for line in master.splitlines() if line.startswith('#EXT-X-MEDIA:')]


def check_hls(fetch_of, seconds, timescales=None, multivariant='low.m3u8'):
    """`fetch_of()` gives a Fetch of its own to each player. Returns the verdicts."""
    v = Verdicts(HLS)
    master = fetch_of()(multivariant).text
    names = playlists(master)
    v('the master names every playlist with its codecs', names and 'CODECS="' in master and 'BANDWIDTH=' in master, master)
    timescales = timescales or {'audio': 48000}

    def follow(name):
        try:
            HlsPlayer(fetch_of(), name, [n for n in names if n != name], v, timescales.get(name.split('/')[0], 90000)).follow(seconds)
        except Exception as problem:  # a thread's end must be seen
            v('a blocked reload has what was asked for', False, repr(problem))

    players = [threading.Thread(target=follow, args=[name]) for name in names]
    for p in players:
        p.start()
    for p in players:
        p.join()
    return v


# --- DASH -----------------------------------------------------------------------------------------------------------

NS = {'m': 'urn:mpeg:dash:schema:mpd:2011'}


def wall(text):
    return datetime.strptime(text, '%Y-%m-%dT%H:%M:%S.%fZ').replace(tzinfo=timezone.utc).timestamp()


def timeline(template):
    """[(number, start, duration)] in ticks."""
    number, at, found = int(template.get('startNumber')), 0, []
    for s in template.findall('m:SegmentTimeline/m:S', NS):
        at = int(s.get('t', at))
        for _ in range(int(s.get('r', 0)) + 1):
            found.append((number, at, int(s.get('d'))))
            number, at = number + 1, at + int(s.get('d'))
    return found


class DashPlayer:
    def __init__(self, fetch, which, verdict):
        self.fetch, self.which, self.verdict = fetch, which, verdict
        self.listed = {}
        self.start = None
        self.begins = 0  # when the timeline's 0 was

    def manifest(self):
        v = self.verdict
        mpd = ElementTree.fromstring(self.fetch('low.mpd').text)
        v('the manifest is dynamic', mpd.get('type') == 'dynamic')
        self.start = self.start or mpd.get('availabilityStartTime')
        v('availabilityStartTime never changes', mpd.get('availabilityStartTime') == self.start)
        description = mpd.find('m:ServiceDescription', NS)
        v('ServiceDescription has latency and rates', description is not None and description.find('m:Latency', NS) is not None and
          description.find('m:PlaybackRate', NS) is not None)
        period = mpd.findall('m:Period', NS)[-1]
        self.begins = wall(self.start) + float(re.fullmatch(r'PT([\d.]+)S', period.get('start'))[1])
        for adaptation in period.findall('m:AdaptationSet', NS):
            if adaptation.get('contentType') == self.which:
                v('a producer reference time is announced', adaptation.find('m:ProducerReferenceTime', NS) is not None)
                return mpd, adaptation.find('m:Representation', NS)
        return mpd, None

    def look_at(self, template):
        v = self.verdict
        offset, scale = template.get('availabilityTimeOffset'), int(template.get('timescale'))
        lines = timeline(template)
        self.begins -= int(template.get('presentationTimeOffset')) / scale
        v('every template says availabilityTimeOffset', offset is not None)
        v('availabilityTimeComplete is false', template.get('availabilityTimeComplete') == 'false')
        v('availabilityTimeOffset leaves a chunk', offset is not None and 0 < float(offset) < lines[-1][2] / scale, offset)
        v('segments lie end to end', all(a[1] + a[2] == b[1] for a, b in zip(lines, lines[1:])), lines[-3:])
        for number, start, duration in lines[:-2]:  # the last may have grown, the one before may have ended otherwise
            v('what is listed stays', self.listed.setdefault(number, (start, duration)) == (start, duration), number)
        return lines, scale

    def utc(self, mpd):
        timing = mpd.find('m:UTCTiming', NS)
        answer = self.fetch(timing.get('value')) if timing is not None else None
        text = answer.text.strip() if answer else ''
        precise = re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z', text)
        self.verdict('UTCTiming tells the time in milliseconds', precise and abs(wall(text) - time.time()) < 1, text)

    def look_inside(self, answer, start, scale):
        """`start`: where the timeline says the segment begins, in ticks."""
        v = self.verdict
        try:
            kinds = [kind for kind, _ in boxes(answer.body)]
            v('chunks begin with moof or prft', [k for k in kinds if k != 'prft'] == ['moof', 'mdat'] * kinds.count('moof') and
              all(piece[4:8] in (b'moof', b'prft') for _, piece in answer.pieces[:1]), kinds[:6])
            reference = next((content for kind, content in boxes(answer.body) if kind == 'prft'), None)
            ntp, media = struct.unpack('>QQ', reference[8:24]) if reference else (0, 0)
            when = ntp / 2**32 - 2208988800
            v('prft says when', abs(when - (self.begins + media / scale)) < .5, f'{when} for {media}, not {self.begins + media / scale}')
            tfdt = fragments(answer.body)[0][0]
            v('tfdt is where the timeline says', abs(tfdt - start) <= .2 * scale, f'{tfdt}, not {start}')
        except (ValueError, KeyError, struct.error, IndexError) as problem:
            v('chunks begin with moof or prft', False, repr(problem))

    def follow(self, seconds):
        v = self.verdict
        end = time.time() + seconds
        while time.time() < end:
            mpd, representation = self.manifest()
            if representation is None:
                return
            template = representation.find('m:SegmentTemplate', NS)
            lines, scale = self.look_at(template)
            self.utc(mpd)
            number, start, _ = lines[-1]
            name = f"{representation.get('id')}/{number:06d}.m4s"
            answer = self.fetch(name)
            if not v('the open segment is listed', answer.status == 200 and answer.headers.get('Transfer-Encoding') == 'chunked',
                     f'{name}: {answer.status} {answer.headers}'):
                return
            spread = answer.ended - answer.pieces[0][0]
            v('the open segment comes while it grows', len(answer.pieces) > 1 and (spread > .1 or answer.ended - answer.began < 1),
              f'{len(answer.pieces)} pieces in {spread:.3f} s')
            again = self.fetch(name)
            v('what came is what it became', again.status == 200 and again.body == answer.body, f'{len(answer.body)}, then {len(again.body)}')
            self.look_inside(answer, start, scale)


def check_dash(fetch_of, seconds):
    v = Verdicts(DASH)

    def follow(which):
        try:
            DashPlayer(fetch_of(), which, v).follow(seconds)
        except Exception as problem:
            v('the manifest is dynamic', False, repr(problem))

    players = [threading.Thread(target=follow, args=[which]) for which in ('video', 'audio')]
    for p in players:
        p.start()
    for p in players:
        p.join()
    return v


def main():
    base = sys.argv[1].rstrip('/')
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60
    multivariant = sys.argv[3] if len(sys.argv) > 3 else 'low.m3u8'
    results = [check_hls(lambda: Fetch(base), seconds / 2, multivariant=multivariant), check_dash(lambda: Fetch(base), seconds / 2)]
    for name, verdicts in zip(('HLS', 'DASH'), results):
        print(f'{name}\n{verdicts}')
    return 1 if any(v.failures() for v in results) else 0


if __name__ == '__main__':
    sys.exit(main())

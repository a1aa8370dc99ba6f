#!/usr/bin/env python3
"""bench/scale.py - what a crowd takes, computed from unit costs that other benchmarks measured: docs/scale.md is what it prints.

    bench/scale.py [--rate 3] [--nic 10] [--viewers 1000 100000 10000000] [--unit NAME=VALUE ...]

Give your own measurements with --unit; the names are those of the first table. Everything is counted per viewer and second.
"""
import argparse
import math

# What was measured, in which unit, and by which command (docs/performance.md and docs/edge.md have the method).
UNITS = {
    'waiting_answer_us': (9.4, 'µs of our processor', 'a playlist that a viewer waited for', 'matinee bench llhls'),
    'small_answer_us': (4.3, 'µs', 'a 500-byte reply', 'matinee bench http'),
    'megabyte_us': (226, 'µs', 'a megabyte sent of a 4 MB segment', 'matinee bench http'),
    'nginx_small_us': (8.0, 'µs', "nginx's 500-byte reply", 'matinee bench http'),
    'nginx_megabyte_us': (374, 'µs', "nginx's megabyte", 'matinee bench http'),
    'packet_us': (2.71, 'µs', 'an RTP packet to a viewer', 'matinee bench webrtc'),
    'waiting_bytes': (1010, 'bytes of our memory', 'a viewer who waits', 'matinee bench llhls'),
    'session_bytes': (32051, 'bytes', 'a WebRTC session', 'matinee bench webrtc'),
    'origin_requests': (22.0, 'requests a second', 'what one edge or shield asks for a show of three renditions', 'matinee bench edge'),
    'comment_us': (6.1, 'µs', 'a comment told to one reader', 'bench/comments.py'),
}
PACKET_BYTES = 1200      # of media in an RTP packet
SOUND_PACKETS = 50       # a second
PART_S, SEGMENT_S = .2, 10.
TRACKS = 2               # picture and sound, each with a playlist
CORES = 4                # of a server, half of which it may be busy with


def ways(u, mbit):
    """(name, µs of processor, bytes of memory) of one viewer for a second, by who sends."""
    megabytes = mbit / 8
    low, slow = TRACKS / PART_S, TRACKS / SEGMENT_S
    packets = megabytes * 1e6 / PACKET_BYTES + SOUND_PACKETS
    return [
        ('WebRTC', packets * u['packet_us'], u['session_bytes']),
        ('low-latency HLS', low * (u['waiting_answer_us'] + u['small_answer_us']) + megabytes * u['megabyte_us'], u['waiting_bytes'] * TRACKS),
        ('HLS or DASH, 10 s', slow * 2 * u['small_answer_us'] + megabytes * u['megabyte_us'], 0),
        ('low-latency HLS, by nginx', low * 2 * u['nginx_small_us'] + megabytes * u['nginx_megabyte_us'], 0),
    ]


def per_server(cost_us, mbit, nic):
    """Viewers that one server carries, by half of its processor or 70 % of its line, and which of both it was."""
    by_cpu, by_line = CORES * .5e6 / cost_us, nic * 700 / mbit
    return int(min(by_cpu, by_line)), 'processor' if by_cpu < by_line else 'line'


def number(n):
    return f'{n:,.0f}' if n >= 100 or n == int(n) else f'{n:.2g}'


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--rate', type=float, default=3, help='Mbit/s that a viewer gets')
    parser.add_argument('--nic', type=float, default=10, help='Gbit/s of a server')
    parser.add_argument('--viewers', type=int, nargs='+', default=[10**3, 10**5, 10**7])
    parser.add_argument('--unit', action='append', default=[], metavar='NAME=VALUE')
    o = parser.parse_args()
    u = {name: value for name, (value, *_) in UNITS.items()}
    for given in o.unit:
        name, _, value = given.partition('=')
        if name not in u:
            parser.error(f'--unit: there is no {name!r}; there are {", ".join(u)}')
        u[name] = float(value)

    print('| unit | measured | of | by |\n| --- | --- | --- | --- |')
    for name, (_, unit, what, command) in UNITS.items():
        print(f'| `{name}` | {u[name]:g} {unit} | {what} | `{command}` |')

    print(f'\n| who sends {o.rate:g} Mbit/s to each | processor, ms a viewer-second | viewers a server | bound by | memory for these |\n| --- | --- | --- | --- | --- |')
    servers = {}
    for name, cost, memory in ways(u, o.rate):
        servers[name], bound = per_server(cost, o.rate, o.nic)
        print(f'| {name} | {cost / 1000:.2f} | {number(servers[name])} | {bound} | {number(servers[name] * memory / 2**20)} MB |')

    print('\n| viewers | Gbit/s | WebRTC: servers | low-latency HLS from servers alone | by edges: edges, shields | asked of the server | comments: of a core, at 1 a second |\n'
          '| --- | --- | --- | --- | --- | --- | --- |')
    for n in o.viewers:
        edges = math.ceil(n / servers['low-latency HLS, by nginx'])
        shields = math.ceil(edges / 50) if edges > 1 else 0
        asked = u['origin_requests'] * max(shields, 1)
        print(f'| {number(n)} | {number(n * o.rate / 1000)} | {number(math.ceil(n / servers["WebRTC"]))} | '
              f'{number(math.ceil(n / servers["low-latency HLS"]))} | {number(edges)}, {number(shields)} | {number(asked)} requests/s | '
              f'{number(n * u["comment_us"] / 1e6)} |')


if __name__ == '__main__':
    main()

#!/usr/bin/env python3
"""rooms.py - checks that the rooms of src/ include each other only along the arrows of tools/rooms.txt.

Four rules: an arrow that is not listed, a cycle, another room's header that is not its public one
(ROOM/ROOM.h; every header of base is public), and a room that is not listed at all.
`rooms.py` checks this tree, `rooms.py --self-test` plants each violation and looks whether it is found.
"""
import pathlib
import re
import sys
import tempfile

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)


def read_arrows(text):
    """rooms.txt as {room: set of rooms it may include}."""
    arrows = {}
    for line in text.splitlines():
        line = line.split('#')[0].strip()
        if line:
            room, _, others = line.partition(':')
            arrows[room.strip()] = set(others.split())
    return arrows


def find_cycle(arrows):
    """A list of rooms that leads back to its first one, or None."""
    done = set()

    def walk(room, path):
        if room in path:
            return path[path.index(room):] + [room]
        if room in done:
            return None
        for other in sorted(arrows.get(room, ())):
            cycle = walk(other, path + [room])
            if cycle:
                return cycle
        done.add(room)
        return None

    for room in arrows:
        cycle = walk(room, [])
        if cycle:
            return cycle
    return None


def check_include(arrows, src, room, target):
    """Why `room` may not include `target`, or None."""
    if '/' not in target or '..' in target:
        return f'"{target}" is not written as "room/header.h"'
    other = target.split('/')[0]
    if not (src / target).is_file():
        return f'"{target}" does not exist'
    if other == room:
        return None
    if other not in arrows.get(room, ()):
        return f'{room} may not include {other}: the arrow is not in tools/rooms.txt'
    if target.endswith('_int.h'):
        return f'"{target}" is private to {other}'
    if other != 'base' and target != f'{other}/{other}.h':
        return f'"{target}" is not the public header of {other} ({other}/{other}.h)'
    return None


def check(root):
    """All violations under `root`, as lines of text."""
    src = root / 'src'
    arrows = read_arrows((root / 'tools' / 'rooms.txt').read_text())
    problems = []
    cycle = find_cycle(arrows)
    if cycle:
        problems.append('tools/rooms.txt: a cycle: ' + ' -> '.join(cycle))
    for room, others in arrows.items():
        for other in sorted(others - arrows.keys()):
            problems.append(f'tools/rooms.txt: {room} may include {other}, which is no room')
    for path in sorted(src.rglob('*.[ch]')):
        parts = path.relative_to(src).parts
        where = path.relative_to(root)
        if len(parts) < 2 or parts[0] not in arrows:
            problems.append(f'{where}: stands in no room of tools/rooms.txt')
            continue
        text = path.read_text()
        for found in INCLUDE.finditer(text):
            why = check_include(arrows, src, parts[0], found[1])
            if why:
                line = text.count('\n', 0, found.start(1)) + 1
                problems.append(f'{where}:{line}: {why}')
    return problems


def self_test():
    """Each planted violation must be found, and a clean tree must be clean."""
    clean = {
        'tools/rooms.txt': '# comment\nbase:\nnet: base\nhttp: base net\n',
        'src/base/bytes.h': '',
        'src/base/base_int.h': '',
        'src/net/net.h': '#include "base/bytes.h"\n',
        'src/net/net_int.h': '#include "net/net.h"\n',
        'src/net/timer.h': '',
        'src/http/http.h': '#include <stdio.h>\n#include "net/net.h"\n',
    }
    planted = {
        'an arrow upwards': ({'src/base/a.c': '#include "net/net.h"\n'}, 'may not include net'),
        'a private header': ({'src/http/a.c': '#include "net/net_int.h"\n'}, 'private to net'),
        'a private header of base': ({'src/http/a.c': '#include "base/base_int.h"\n'}, 'private to base'),
        'another header': ({'src/http/a.c': '\n  #  include "net/timer.h"\n'}, 'a.c:2: "net/timer.h" is not the public'),
        'a bare name': ({'src/http/a.c': '#include "http.h"\n'}, 'not written as'),
        'a way around': ({'src/http/a.c': '#include "http/../net/timer.h"\n'}, 'not written as'),
        'a missing file': ({'src/http/a.c': '#include "http/gone.h"\n'}, 'does not exist'),
        'an unknown room': ({'src/attic/a.c': ''}, 'stands in no room'),
        'a cycle': ({'tools/rooms.txt': 'base:\nnet: base http\nhttp: base net\n'}, 'a cycle: net -> http -> net'),
        'an arrow to nowhere': ({'tools/rooms.txt': 'base:\nnet: base moon\nhttp: base net\n'}, 'moon, which is no room'),
    }
    failures = []
    for name, (files, expected) in [('a clean tree', ({}, None)), *planted.items()]:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for path, text in {**clean, **files}.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)
            problems = check(root)
            good = not problems if expected is None else len(problems) == 1 and expected in problems[0]
            if not good:
                failures.append(f'self-test: {name}: found {problems}')
    return failures


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    problems = self_test() if '--self-test' in sys.argv[1:] else check(root)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())

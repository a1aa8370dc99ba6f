#!/usr/bin/env python3
"""embed.py - writes the files of the pages into one C file: asset_find() of src/api/assets_int.h.

    embed.py OUTPUT.c NAME=FILE [NAME=FILE...]

Each file becomes its MIME type, an ETag made from its content, its bytes, and its bytes in gzip where that is
smaller. A reference "/assets/NAME" in a text becomes "/assets/NAME?v=HASH", so that everything below /assets/
may be kept for ever by browsers and edges: when a file changes, so do the pages that name it. References may
not go in a circle.
"""
import functools
import gzip
import hashlib
import pathlib
import re
import sys

TYPES = {
    '.html': 'text/html; charset=utf-8', '.css': 'text/css; charset=utf-8', '.js': 'text/javascript; charset=utf-8',
    '.svg': 'image/svg+xml', '.json': 'application/json', '.txt': 'text/plain; charset=utf-8',
}
# Ours only: a library's text is not ours to change.
REWRITTEN = {'.html', '.css', '.js'}
REFERENCE = re.compile(rb'(["\'(]/assets/)([\w./-]+)(?=["\'#)])')


class Problem(Exception):
    """What is wrong with the files, for a person."""


def resolver(files, kept):
    """A function from a name to its final bytes; `kept` names are taken as they are."""
    path = []

    @functools.cache
    def content(name):
        if name not in files:
            raise Problem(f'{path[-1] if path else "?"} refers to /assets/{name}, which web/meson.build does not list')
        if name in path:
            raise Problem('references go in a circle: ' + ' -> '.join([*path, name]))
        data = files[name].read_bytes()
        if files[name].suffix not in REWRITTEN or name in kept:
            return data
        path.append(name)
        data = REFERENCE.sub(
            lambda found: found[1] + found[2] + b'?v=' + digest(content(found[2].decode())).encode(), data)
        path.pop()
        return data

    return content


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def c_bytes(data):
    """A C string literal, in lines; three octal digits, so that what follows never reads as part of one."""
    table = [f'\\{b:03o}' if b < 32 or b > 126 or b in b'"\\?' else chr(b) for b in range(256)]
    lines = [''.join(table[b] for b in data[at:at + 64]) for at in range(0, len(data), 64)]
    return '\n'.join(f'    "{line}"' for line in lines) or '    ""'


def c_file(assets):
    out = ['/* Made by tools/embed.py from the files of web/. */', '#include "api/assets_int.h"', '']
    rows = []
    for at, (name, kind, data) in enumerate(assets):
        packed = gzip.compress(data, 9, mtime=0)
        out.append(f'static const char plain_{at}[] =\n{c_bytes(data)};')
        packed_row = '{NULL, 0}'
        if len(packed) < len(data) * 9 // 10:
            out.append(f'static const char gzip_{at}[] =\n{c_bytes(packed)};')
            packed_row = f'{{(const uint8_t *)gzip_{at}, {len(packed)}}}'
        rows.append(f'    {{"{name}", "{kind}", "\\"{digest(data)}\\"",\n'
                    f'     {{(const uint8_t *)plain_{at}, {len(data)}}}, {packed_row}}},')
    out += ['', 'static const struct asset assets[] = {', *rows, '};', '',
            'const struct asset *asset_find(const char *path)', '{',
            '    for (size_t i = 0; i < sizeof assets / sizeof *assets; i++)',
            '        if (strcmp(assets[i].path, path) == 0)',
            '            return &assets[i];', '    return NULL;', '}', '']
    return '\n'.join(out)


def main(arguments):
    output, *pairs = arguments
    files = {name: pathlib.Path(file) for name, _, file in (pair.partition('=') for pair in pairs)}
    kept = {name for name, file in files.items() if 'node_modules' in file.parts}
    try:
        for name, file in files.items():
            if not file.is_file():
                raise Problem(f'{file} is missing' + ('; tools/setup installs it' if name in kept else ''))
            if file.suffix not in TYPES:
                raise Problem(f'{file}: no MIME type is known for {file.suffix}')
        content = resolver(files, kept)
        assets = [(name, TYPES[file.suffix], content(name)) for name, file in sorted(files.items())]
    except Problem as problem:
        print(f'embed.py: {problem}', file=sys.stderr)
        return 1
    pathlib.Path(output).write_text(c_file(assets))
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

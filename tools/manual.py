#!/usr/bin/env python3
"""manual.py - the man page, out of its frame and what the program itself prints for --help.

    manual.py MATINEE FRAME VERSION OUT

The frame (docs/matinee.1.in) has the prose; its line @COMMANDS@ becomes a section for every command of `matinee help`, so
that commands and options stand in the program's tables and nowhere else.
"""
import pathlib
import re
import subprocess
import sys

COMMAND = re.compile(r'^  ([a-z-]+) +(\S.*)$')
# "  --name ARGUMENT   text", "  http     text"
OPTION = re.compile(r'^  (--[a-z0-9-]+(?: [^ ]+)?) +(\S.*)$')
ITEM = re.compile(r'^  (\S+) {2,}(\S.*)$')
# A verb on a line of its own, with what it does indented below.
VERB = re.compile(r'^  (\S.*)$')
BELOW = re.compile(r'^ {6}(\S.*)$')


def said(matinee, *words):
    return subprocess.run([matinee, *words], stdin=subprocess.DEVNULL, capture_output=True, check=True, text=True).stdout.splitlines()


def escaped(text):
    text = text.replace('\\', '\\e').replace('-', '\\-')
    text = ''.join(c if c.isascii() else f'\\[u{ord(c):04X}]' for c in text)
    return '\\&' + text if text[:1] in ('.', "'") else text


def tagged(tag, text):
    return ['.TP', f'.B {escaped(tag)}', escaped(text)]


def section(command, does, lines):
    """One command's --help as roff: options and verbs as tagged paragraphs, examples as they are, the rest as prose."""
    roff = [f'.SS matinee {escaped(command)}', escaped(does[0].upper() + does[1:] + '.'), '.PP']
    at = 0
    while at < len(lines):
        line, below = lines[at], BELOW.match(lines[at + 1]) if at + 1 < len(lines) else None
        if found := OPTION.match(line) or ITEM.match(line):
            roff += tagged(*found.groups())
        elif (found := VERB.match(line)) and below:
            roff += tagged('matinee ' + found[1], below[1])
            at += 1
        elif line.startswith('  '):
            roff += ['.nf', escaped(line), '.fi']
        elif line:
            roff.append(escaped(line))
        elif roff[-1] != '.PP':
            roff.append('.PP')
        at += 1
    while roff[-1] == '.PP':
        roff.pop()
    return roff


def main(matinee, frame, version, out):
    commands = [found.groups() for found in map(COMMAND.match, said(matinee, 'help')) if found]
    roff = [line for command, does in commands for line in section(command, does, said(matinee, command, '--help'))]
    text = pathlib.Path(frame).read_text().replace('@VERSION@', version).replace('@COMMANDS@', '\n'.join(roff))
    pathlib.Path(out).write_text(text)


if __name__ == '__main__':
    main(*sys.argv[1:])

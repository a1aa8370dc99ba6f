#!/usr/bin/env python3
"""banned.py - finds what this house does without.

In C under src/ and tests/: unbounded and unsafe library functions, and waiting by the clock. In every
text file: notes of work left undone. Under src/: functions longer than FUNCTION_LINES_MAX.
`banned.py` checks this tree, `banned.py --self-test` plants each and looks whether it is found.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

FUNCTION_LINES_MAX = 90

# Name: what to use in its place.
FUNCTIONS = {
    'strcpy': 'mem_string or snprintf', 'strcat': 'a builder or snprintf', 'stpcpy': 'snprintf',
    'sprintf': 'snprintf or a builder', 'vsprintf': 'vsnprintf', 'strtok': 'bytes_find', 'gets': 'read',
    'atoi': 'bytes_to_u64', 'atol': 'bytes_to_u64', 'atoll': 'bytes_to_u64', 'sscanf': 'bytes_to_u64 or a cursor',
    'alloca': 'mem_new', 'system': 'posix_spawn', 'popen': 'posix_spawn',
    'sleep': 'awaiting the event itself', 'usleep': 'awaiting the event itself',
}
CALL = re.compile(r'(?<![\w.>])(' + '|'.join(FUNCTIONS) + r')\s*\(')
# Of Python and JavaScript tests only the waiting is looked for.
SLEEP = re.compile(r'\b(?:time\.)?(sleep)\s*\(')
# Written in two halves, so that this file does not find itself.
UNDONE = re.compile(r'\b(' + 'TO' + 'DO|' + 'FIX' + 'ME|' + 'X' + r'XX)\b')
C_NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
NOT_OURS = {'package-lock.json'}


def blank(found):
    """The same number of lines, without the text."""
    return '\n' * found[0].count('\n') or ' '


def check_text(where, text):
    """Violations in one file, as lines of text."""
    problems = []

    def add(at, searched, words):
        line = searched.count('\n', 0, at) + 1
        problems.append(f'{where}:{line}: {words}')

    for found in UNDONE.finditer(text):
        add(found.start(), text, f'{found[1]}: finish it, or open an issue and say nothing here')
    top, suffix = pathlib.PurePath(where).parts[0], pathlib.PurePath(where).suffix
    if top in ('src', 'tests') and suffix in ('.c', '.h'):
        code = C_NOISE.sub(blank, text)
        for found in CALL.finditer(code):
            add(found.start(), code, f'{found[1]}() is banned; use {FUNCTIONS[found[1]]}')
    elif top == 'tests' and suffix in ('.py', '.mjs', '.js', '.sh'):
        for found in SLEEP.finditer(text):
            add(found.start(), text, 'sleep() is banned; use awaiting the event itself')
    return problems


def check_lengths(root):
    """Functions of src/ that no longer fit on a screen."""
    if not (root / 'src').is_dir():
        return []
    ctags = subprocess.run(
        ['ctags', '--languages=C', '--kinds-C=f', '--output-format=json', '--fields=+ne', '-R', '-f', '-', 'src'],
        cwd=root, check=True, capture_output=True, text=True)
    problems = []
    for line in ctags.stdout.splitlines():
        tag = json.loads(line)
        lines = tag.get('end', tag['line']) - tag['line'] + 1
        if lines > FUNCTION_LINES_MAX:
            problems.append(f"{tag['path']}:{tag['line']}: {tag['name']}() has {lines} lines; "
                            f'{FUNCTION_LINES_MAX} is the most')
    return sorted(problems)


def check(root, names):
    problems = []
    for name in sorted(names):
        path = root / name
        if path.name in NOT_OURS or not path.is_file():
            continue
        try:
            problems += check_text(name, path.read_text())
        except UnicodeDecodeError:
            continue    # not a text
    return problems + check_lengths(root)


def tracked(root):
    """What git knows or would know: everything but what .gitignore leaves out."""
    listed = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
                            cwd=root, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.split('\0') if name]


def self_test():
    """Each planted violation must be found, and what only looks like one must not."""
    planted = {
        'src/a/copy.c': ('void f(void)\n{\n    strcpy (a, b);\n}\n', 'copy.c:3: strcpy()'),
        'src/a/count.c': ('int f(void)\n{\n    return atoi(a);\n}\n', 'atoi()'),
        'tests/unit/wait.c': ('void f(void)\n{\n    usleep(1);\n}\n', 'usleep()'),
        'tests/e2e/wait.py': ('import time\ntime.sleep(1)\n', 'wait.py:2: sleep()'),
        'docs/later.md': ('TO' + 'DO: all of it\n', 'later.md:1: TO'),
        'src/a/long.c': ('void f(void)\n{\n' + '    g();\n' * FUNCTION_LINES_MAX + '}\n', 'f() has 93 lines'),
    }
    harmless = {
        'src/a/fine.c': '/* strcpy(a, b) */\nvoid f(void)\n{\n    my_strcpy(a); x.system(1); y->system(2); snprintf("sleep(1)");\n'
                        "    char c = '\"'; // sprintf(\n}\n",
        'src/a/name.c': 'char name[] = "/tmp/XXXXXX";\nint filesystem(void)\n{\n    return filesystem();\n}\n',
        'src/a/full.c': 'void f(void)\n{\n' + '    g();\n' * (FUNCTION_LINES_MAX - 3) + '}\n',
        'web/a.js': 'await sleep(1);\n',
    }
    failures = []
    cases = [({name: text}, expected) for name, (text, expected) in planted.items()] + [(harmless, None)]
    for files, expected in cases:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            problems = check(root, list(files))
            good = not problems if expected is None else len(problems) == 1 and expected in problems[0]
            if not good:
                failures.append(f'self-test: {", ".join(files)}: found {problems}')
    return failures


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    problems = self_test() if '--self-test' in sys.argv[1:] else check(root, tracked(root))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())

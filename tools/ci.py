#!/usr/bin/env python3
"""ci.py - runs the checks of this house, counts what they really did, and says so.

    ci.py all              everything .ci/run stands for
    ci.py check            what `make check` runs
    ci.py long             what `make check-long` runs: sanitizers, and tests that wait for long or need much that is installed
    ci.py lint             what `make lint` runs
    ci.py STEP [STEP...]   single steps, by the names of `ci.py list`

Each step is a list of commands with a log of its own under build/ci-logs/ and a time limit. Counts come from
the runners' own reports (meson's testlog.json and cmocka's totals in it, pytest's JUnit file, node's TAP file);
a linter, a fuzz target or a benchmark counts as one test. A step that breaks without a count counts as one
failure. The last line is `N passed, N failed, N skipped`; the exit status is 1 if anything failed.
"""
import collections
import concurrent.futures
import ctypes
import glob
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOGS = ROOT / 'build' / 'ci-logs'
JOBS = int(os.environ.get('JOBS') or os.cpu_count() or 1)
# Debian's Python is the one Debian's pytest belongs to, whatever else is first on the PATH.
PYTHON = '/usr/bin/python3' if os.path.exists('/usr/bin/python3') else sys.executable
FUZZ_SECONDS = int(os.environ.get('FUZZ_SECONDS') or 5)

Count = collections.namedtuple('Count', 'passed failed skipped')
NONE = Count(0, 0, 0)


class Failed(Exception):
    """A step could not do its work; the message goes into the summary."""


def die_with_parent():
    """In a child: be ended when ci.py itself is killed (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class Log:
    """One step's log file, and the only way a step runs anything."""

    def __init__(self, name, seconds_max):
        LOGS.mkdir(parents=True, exist_ok=True)
        self.path = LOGS / f'{name}.log'
        self.file = open(self.path, 'w', encoding='utf-8')
        self.deadline = time.monotonic() + seconds_max

    def say(self, text):
        self.file.write(text + '\n')
        self.file.flush()

    def run(self, *command, env=None, cwd=ROOT):
        """Runs a command into the log and returns its exit status; its whole process group ends with it."""
        self.say('$ ' + ' '.join(map(str, command)))
        process = subprocess.Popen(
            [str(c) for c in command], cwd=cwd, stdin=subprocess.DEVNULL, stdout=self.file, stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})}, start_new_session=True, preexec_fn=die_with_parent)
        try:
            return process.wait(timeout=max(1, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Failed(f'ran out of its time in: {" ".join(map(str, command))}') from None
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()

    def must(self, *command, **options):
        status = self.run(*command, **options)
        if status != 0:
            raise Failed(f'exit status {status}: {" ".join(map(str, command))}')


# --- building ----------------------------------------------------------------------------------------------

CLANG = {'CC': 'clang'}
TREES = {
    'build': ({'CC': os.environ.get('CC', 'gcc')}, []),
    'build-clang': (CLANG, []),
    'build-asan': (CLANG, ['-Db_sanitize=address,undefined', '-Db_lundef=false']),
    'build-tsan': (CLANG, ['-Db_sanitize=thread', '-Db_lundef=false']),
    # The library needs coverage points too, or the fuzzer searches blindly.
    'build-fuzz': (CLANG, ['-Dfuzz=true', '-Db_sanitize=address,undefined', '-Db_lundef=false',
                           '-Dc_args=-fsanitize=fuzzer-no-link', '-Dc_link_args=-fsanitize=fuzzer-no-link']),
}
SANITIZERS = {
    'ASAN_OPTIONS': 'detect_stack_use_after_return=1:strict_string_checks=1:abort_on_error=1',
    'UBSAN_OPTIONS': 'halt_on_error=1:print_stacktrace=1:abort_on_error=1',
    'TSAN_OPTIONS': 'halt_on_error=1:second_deadlock_stack=1',
}


def configure(log, tree):
    if not (ROOT / tree / 'build.ninja').exists():
        env, options = TREES[tree]
        log.must('meson', 'setup', tree, *options, env=env)
    # Takes up files that were added since: compile_commands.json and the list of targets must be today's.
    log.must('ninja', '-C', tree, 'build.ninja')


def build(log, tree, *targets):
    configure(log, tree)
    log.must('ninja', '-C', tree, '-j', JOBS, *targets)


def step_build(log):
    build(log, 'build')
    return NONE


def step_clang(log):
    build(log, 'build-clang')
    return Count(1, 0, 0)


# --- unit tests --------------------------------------------------------------------------------------------

def cmocka_count(test):
    """The tests inside one executable; an executable that says nothing of them counts as one."""
    text = (test.get('stdout') or '') + (test.get('stderr') or '')
    total = {word: sum(int(n) for n in re.findall(rf'^\[  {word}  \] (\d+) test\(s\)', text, re.M))
             for word in ('PASSED', 'FAILED', 'SKIPPED')}
    passed, failed, skipped = total['PASSED'], total['FAILED'], total['SKIPPED']
    if test['result'] in ('OK', 'EXPECTEDFAIL'):
        return Count(passed if passed + skipped else 1, failed, skipped)
    if test['result'] == 'SKIP':
        return Count(passed, failed, skipped or 1)
    return Count(passed, failed or 1, skipped)


def unit(log, tree, *options, wrapper=None, env=None):
    build(log, tree)
    results = ROOT / tree / 'meson-logs' / 'testlog.json'
    results.unlink(missing_ok=True)
    command = ['meson', 'test', '-C', tree, '--no-rebuild', '--print-errorlogs', '--num-processes', JOBS, *options]
    status = log.run(*(wrapper or []), *command, env=env)
    if not results.exists():
        if status == 0:
            return NONE     # no test is in the suite asked for
        raise Failed('meson test left no results')
    counts = [cmocka_count(json.loads(line)) for line in results.read_text().splitlines()]
    count = Count(*(sum(c[i] for c in counts) for i in range(3)))
    if status != 0 and count.failed == 0:
        raise Failed(f'meson test: exit status {status}')
    return count


def step_unit(log):
    return unit(log, 'build')


def step_asan(log):
    return unit(log, 'build-asan', '--timeout-multiplier', '4', env=SANITIZERS)


TSAN_STORES = [
    'tests/e2e/test_store.py::test_a_large_object_goes_in_parts[s3rver]',
    'tests/e2e/test_store.py::test_a_folder_of_more_than_a_page_is_cleared_and_its_neighbours_stay[s3rver]',
    'tests/e2e/test_store_live.py::test_a_store_that_is_away_twice_loses_nothing_and_stops_nobody[errors]',
    'tests/e2e/test_store_live.py::test_many_who_want_the_same_cost_the_store_one_read',
    'tests/e2e/test_store_live.py::test_a_store_that_hangs_holds_up_nobody_who_wants_nothing_of_it',
    'tests/e2e/test_store_hdfs.py::test_a_show_on_hdfs_is_stored_and_read_by_many_at_once',
]


def step_tsan(log):
    # Kernels that randomise more address bits than TSan of clang 14 knows of make it stop at the start.
    still = ['setarch', os.uname().machine, '-R']
    counts = [unit(log, 'build-tsan', '--suite', 'threads', '--timeout-multiplier', '6', env=SANITIZERS, wrapper=still),
              # Stores elsewhere have no unit tests with threads: the whole server and store_play, before a store that fails.
              pytest(log, 'tsan-e2e', wrapper=still, tests=TSAN_STORES,
                     env={**SANITIZERS, 'MATINEE': ROOT / 'build-tsan' / 'matinee', 'STORE_PLAY': ROOT / 'build-tsan' / 'tests' / 'unit' / 'store_play'})]
    return Count(*map(sum, zip(*counts)))


# --- the whole server --------------------------------------------------------------------------------------

def junit_count(path):
    count = [0, 0, 0]
    for case in xml.etree.ElementTree.parse(path).iter('testcase'):
        kinds = {child.tag for child in case}
        count[1 if kinds & {'failure', 'error'} else 2 if 'skipped' in kinds else 0] += 1
    return Count(*count)


def pytest(log, name, *options, tests=('tests/e2e',), wrapper=(), env=None):
    report = LOGS / f'{name}.xml'
    report.unlink(missing_ok=True)
    status = log.run(*wrapper, PYTHON, '-m', 'pytest', *tests, '-q', '-p', 'no:cacheprovider', f'--junitxml={report}', *options, env=env)
    if not report.exists():
        raise Failed(f'pytest: exit status {status} and no report')
    count = junit_count(report)
    if status != 0 and count.failed == 0:
        raise Failed(f'pytest: exit status {status}')
    return count


def step_e2e(log):
    return e2e(log, 'e2e', 'not long and not hadoop')


def step_e2e_long(log):
    return e2e(log, 'e2e-long', 'long and not hadoop')


def step_hadoop(log):
    """Against Hadoop's own jars; without them nothing was shown, and that is a failure."""
    log.must('tools/hadoop/fetch')
    build(log, 'build', 'matinee', 'tests/unit/store_play')
    count = pytest(log, 'hadoop', '-m', 'hadoop')
    if count.passed == 0:
        raise Failed('no test ran against Hadoop')
    return count


def e2e(log, name, which):
    """Several files of tests at once, for most of them wait; those that look at a clock or at the machine's load alone."""
    if not glob.glob(str(ROOT / 'tests' / 'e2e' / '**' / 'test_*.py'), recursive=True):
        return NONE
    build(log, 'build', 'matinee')
    counts = [pytest(log, name, '-m', f'{which} and not alone', '-n', min(JOBS, 4), '--dist', 'loadfile'),
              pytest(log, f'{name}-alone', '-m', f'{which} and alone')]
    return Count(*map(sum, zip(*counts)))


def step_browser(log):
    return browser(log, 'browser', '*.test.mjs')


def step_browser_long(log):
    return browser(log, 'browser-long', '*.long.mjs')


def browser(log, name, pattern):
    tests = sorted(glob.glob(str(ROOT / 'tests' / 'browser' / pattern)))
    if not tests:
        return NONE
    build(log, 'build', 'matinee')
    report = LOGS / f'{name}.tap'
    report.unlink(missing_ok=True)
    status = log.run('node', '--test', '--test-reporter=spec', '--test-reporter-destination=stdout',
                     '--test-reporter=tap', f'--test-reporter-destination={report}', *tests)
    text = report.read_text() if report.exists() else ''
    total = {word: int(n) for word, n in re.findall(r'^# (pass|fail|cancelled|skipped) (\d+)$', text, re.M)}
    if 'pass' not in total:
        raise Failed(f'node --test: exit status {status} and no report')
    count = Count(total['pass'], total['fail'] + total['cancelled'], total['skipped'])
    if status != 0 and count.failed == 0:
        raise Failed(f'node --test: exit status {status}')
    return count


# --- fuzzing and benchmarks --------------------------------------------------------------------------------

def fuzz(log, name, program):
    """One target on its seeds, then for FUZZ_SECONDS from there; whether it is sound."""
    seeds = ROOT / 'tests' / 'fuzz' / 'seeds' / name
    corpus = ROOT / 'build-fuzz' / 'corpus' / name
    corpus.mkdir(parents=True, exist_ok=True)
    options = ['-timeout=10', '-rss_limit_mb=2048', f'-artifact_prefix={LOGS}/fuzz-{name}-']
    given = [seeds] if seeds.is_dir() else []
    status = log.run(program, *options, '-runs=0', *given, env=SANITIZERS) if given else 0
    if status == 0:
        status = log.run(program, *options, f'-max_total_time={FUZZ_SECONDS}', '-print_final_stats=1', corpus,
                         *given, env=SANITIZERS)
    log.say(f'{"ok" if status == 0 else "FAILED"} {name}')
    return status == 0


def step_fuzz(log):
    """Every target, as many at once as there are cores."""
    build(log, 'build-fuzz')
    targets = json.loads(subprocess.run(['meson', 'introspect', '--targets', 'build-fuzz'], cwd=ROOT, check=True,
                                        capture_output=True, text=True).stdout)
    programs = {target['name']: pathlib.Path(target['filename'][0]) for target in targets if target['type'] == 'executable'}
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        sound = list(pool.map(lambda name: fuzz(log, name, programs[name]),
                              [name for name, program in programs.items() if program.parent.name == 'fuzz']))
    return Count(sum(sound), len(sound) - sum(sound), 0)


BENCHMARKS = ('http', 'ingest', 'ladder', 'llhls', 'booking', 'comments', 'webrtc', 'edge', 'ticket')


def step_bench(log):
    """The benchmarks, in their quick form: that they run and hold together, not how fast."""
    if not glob.glob(str(ROOT / 'src' / 'cmd' / 'bench*.c')):
        return NONE
    build(log, 'build', 'matinee')
    failed = sum(log.run('build/matinee', 'bench', name, '--quick', cwd=ROOT) != 0 for name in BENCHMARKS)
    return Count(len(BENCHMARKS) - failed, failed, 0)


# --- lint --------------------------------------------------------------------------------------------------

def tracked(*patterns):
    """Files git knows or would know, by pattern."""
    listed = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard', '--', *patterns],
                            cwd=ROOT, check=True, capture_output=True, text=True)
    return sorted(name for name in listed.stdout.split('\0') if name and (ROOT / name).is_file())


def verdict(statuses):
    """One linter is one test."""
    return Count(0, 1, 0) if any(statuses) else Count(1, 0, 0)


def step_format(log):
    return verdict([log.run('clang-format', '--dry-run', '-Werror', *tracked('src/*.[ch]', 'tests/*.[ch]'))])


def step_tidy(log):
    """clang-tidy over every C file of the tree, several at a time, the longest first."""
    configure(log, 'build-clang')
    known = {os.path.realpath(os.path.join(entry['directory'], entry['file']))
             for entry in json.loads((ROOT / 'build-clang' / 'compile_commands.json').read_text())}
    files = [name for name in tracked('src/*.c', 'tests/unit/*.c') if os.path.realpath(ROOT / name) in known]
    files.sort(key=lambda name: -(ROOT / name).stat().st_size)

    def one(name):
        return name, subprocess.run(['clang-tidy', '-p', 'build-clang', '--quiet', '--warnings-as-errors=*', name],
                                    cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                    timeout=max(1, log.deadline - time.monotonic()))

    statuses = []
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for name, result in pool.map(one, files):
            statuses.append(result.returncode)
            if result.returncode != 0:
                log.say(f'$ clang-tidy {name}\n{result.stdout}{result.stderr}')
    log.say(f'{len(files)} files')
    return verdict(statuses)


def step_cppcheck(log):
    return verdict([log.run(
        'cppcheck', '-q', '-j', JOBS, '--std=c11', '--language=c', '-Isrc', '-D_GNU_SOURCE',
        '--enable=warning,performance,portability', '--inline-suppr', '--error-exitcode=1',
        '--suppressions-list=tools/cppcheck.txt', '--template={file}:{line}: {id}: {message}', 'src')])


def step_rooms(log):
    return verdict([log.run(PYTHON, 'tools/rooms.py', '--self-test'), log.run(PYTHON, 'tools/rooms.py')])


def step_banned(log):
    return verdict([log.run(PYTHON, 'tools/banned.py', '--self-test'), log.run(PYTHON, 'tools/banned.py')])


def step_scripts(log):
    """Everything in Python, JavaScript, JSON and shell can at least be read."""
    statuses = [log.run(PYTHON, '-c', 'import ast, sys; [ast.parse(open(f).read(), f) for f in sys.argv[1:]]',
                        *tracked('*.py'), 'tools/run')]
    for name in tracked('web/*.js', 'tests/browser/*.mjs'):
        statuses.append(log.run('node', '--check', name))
    statuses.append(log.run(PYTHON, '-c', 'import json, sys; [json.load(open(f)) for f in sys.argv[1:]]',
                            *tracked('*.json')))
    for name in ('tools/setup', '.ci/run'):
        statuses.append(log.run('bash', '-n', name))
    return verdict(statuses)


# --- the list, and the summary -----------------------------------------------------------------------------

# Name: what does it, and the minutes it may take on two cores.
STEPS = {
    'format': (step_format, 2), 'rooms': (step_rooms, 1), 'banned': (step_banned, 1), 'scripts': (step_scripts, 2),
    'cppcheck': (step_cppcheck, 5), 'tidy': (step_tidy, 10),
    'build': (step_build, 8), 'unit': (step_unit, 8), 'asan': (step_asan, 10), 'tsan': (step_tsan, 10),
    'e2e': (step_e2e, 15), 'browser': (step_browser, 12), 'e2e_long': (step_e2e_long, 15), 'hadoop': (step_hadoop, 12), 'browser_long': (step_browser_long, 12),
    'clang': (step_clang, 8), 'fuzz': (step_fuzz, 15), 'bench': (step_bench, 8),
}
GROUPS = {
    'lint': ['format', 'rooms', 'banned', 'scripts', 'cppcheck', 'tidy'],
    'check': ['build', 'unit', 'e2e', 'browser'],
}
GROUPS['long'] = ['asan', 'tsan', 'e2e_long', 'browser_long']
# asan and tsan build everything with clang, so its warnings have been seen.
GROUPS['all'] = GROUPS['lint'] + GROUPS['check'] + GROUPS['long'] + ['hadoop', 'fuzz', 'bench']


def words(count):
    return f'{count.passed} passed, {count.failed} failed, {count.skipped} skipped'


WHAT_FAILED = re.compile(r'FAILED |ERROR |not ok |.*\b(?:ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|FAIL  )')
FAILURES_MOST = 40


def what_failed(path, lines):
    """Of a log: each line that names a failure, a sanitizer's with what it says next, then the end."""
    said, follows = collections.OrderedDict(), 0
    with open(path, encoding='utf-8', errors='replace') as file:
        last = collections.deque(maxlen=lines)
        for line in file:
            last.append(line)
            follows = 12 if 'Sanitizer' in line else max(follows - 1, 0)
            if (WHAT_FAILED.match(line) or follows) and len(said) < FAILURES_MOST:
                said[line] = None
    return ''.join(f'    | {line.rstrip()[:300]}\n' for line in [*said, '...', *last])


def run_step(name):
    work, minutes_max = STEPS[name]
    log = Log(name, minutes_max * 60)
    print(f'{name:10}', end=' ', flush=True)
    began = time.monotonic()
    why = ''
    try:
        count = work(log)
    except KeyboardInterrupt:
        raise
    except Exception as problem:    # whatever broke: it is a failure, and the other steps still say theirs
        count, why = Count(0, 1, 0), f': {problem}'
        log.say(f'{type(problem).__name__}: {problem}')
    seconds = time.monotonic() - began
    verdict_word = 'FAILED' if count.failed else 'ok' if any(count) or name == 'build' else 'nothing to do'
    print(f'{verdict_word:14} {words(count):36} {seconds:6.1f} s{why}', flush=True)
    if count.failed:
        print(f'  what failed, and the end of {log.path.relative_to(ROOT)}:')
        print(what_failed(log.path, 40), end='', flush=True)
    return count, seconds


def main(arguments):
    if arguments == ['list']:
        print('\n'.join([*STEPS, *(f'{group}: {" ".join(steps)}' for group, steps in GROUPS.items())]))
        return 0
    names = [name for argument in arguments for name in GROUPS.get(argument, [argument])]
    unknown = [name for name in names if name not in STEPS]
    if unknown or not names:
        print(__doc__, file=sys.stderr)
        print(f'no such step: {" ".join(unknown)}' if unknown else 'no step was named', file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for needed in ('meson', 'ninja'):
        if not shutil.which(needed):
            print(f'{needed} is not installed; tools/setup does it', file=sys.stderr)
            return 2
    try:
        results = [run_step(name) for name in names]
    except KeyboardInterrupt:
        print('\nstopped')
        return 130
    total = Count(*(sum(count[i] for count, _ in results) for i in range(3)))
    print(f'logs in {LOGS.relative_to(ROOT)}/, {sum(seconds for _, seconds in results):.0f} s in all')
    print(words(total))
    return 1 if total.failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

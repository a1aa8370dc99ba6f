#!/usr/bin/env python3
"""`matinee bench comments` over SQLite, a MariaDB and a Redis of its own; what is said after the name is handed on.

    bench/comments.py [--rounds 3] [--tenths 20] [--clients 64] [--readers 10000]
"""
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'tests' / 'e2e'))

import matinee  # noqa: E402


def bench(*words):
    return subprocess.run([ROOT / 'build' / 'matinee', 'bench', 'comments', *words, *sys.argv[1:]]).returncode


def main():
    with tempfile.TemporaryDirectory(dir='/var/tmp') as folder:   # a real disk, or commits are flattered
        mariadb = matinee.MariaDB(pathlib.Path(folder) / 'mariadb').start()
        redis = matinee.Redis(pathlib.Path(folder) / 'redis').start()
        try:
            return bench() or bench('--database', mariadb.url) or bench('--comments', redis.url)
        finally:
            redis.kill()
            mariadb.kill()


if __name__ == '__main__':
    sys.exit(main())

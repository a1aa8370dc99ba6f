#!/usr/bin/env python3
"""`matinee bench booking` over SQLite and over a MariaDB of its own, in turn; what is said after the name is handed on.

    bench/booking.py [--rounds 3] [--tenths 20] [--only pools|clients|seats|nights|holds]
"""
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'tests' / 'e2e'))

import matinee  # noqa: E402


def main():
    with tempfile.TemporaryDirectory(dir='/var/tmp') as folder:   # a real disk, or commits are flattered
        mariadb = matinee.MariaDB(pathlib.Path(folder) / 'mariadb').start()
        try:
            return subprocess.run([ROOT / 'build' / 'matinee', 'bench', 'booking', '--beside', mariadb.url, *sys.argv[1:]]).returncode
        finally:
            mariadb.kill()


if __name__ == '__main__':
    sys.exit(main())

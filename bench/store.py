#!/usr/bin/env python3
"""`matinee bench store` with a server of its own; what it does not know is handed on.

    bench/store.py [--server radosgw|s3rver|swift|hdfs] [--line MBIT MS] [--objects 48] [--rounds 3] [--streams 8] | [--live 100] [--seconds 60]

--line puts one between: so many Mbit/s each way, and so many ms there and back (bench/line.py).
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'tests' / 'e2e'))

import hadoop  # noqa: E402
import line  # noqa: E402
import matinee  # noqa: E402
import s3_servers  # noqa: E402

MEMORY_BYTES = 8 << 30  # what radosgw may keep: it removes what was overwritten hours later


def s3(name, folder, road):
    server = s3_servers.SERVERS[name](folder / 'server')
    server.memory_bytes = MEMORY_BYTES
    server.start()
    port = road.open(('127.0.0.1', server.port)) if road else server.port
    peer = f'http://127.0.0.1:{port}/{s3_servers.BUCKET}/shows'
    storage = f's3://{s3_servers.BUCKET}/shows?endpoint=http://127.0.0.1:{port}'
    return server, storage, peer, server.environment


def hdfs(folder, road):
    """The DataNode has a name of its own there, under which the line stands: who is sent to it goes through the line too."""
    server = hadoop.Hadoop(folder / 'server', datanode='127.0.0.2' if road else '127.0.0.1')
    port = server.port
    if road:
        port = road.open(('127.0.0.1', server.port))
        road.open(('127.0.0.1', server.data_port), at=('127.0.0.2', server.data_port))
    server.start()
    peer = f'http://127.0.0.1:{port}/webhdfs/v1/shows?user.name={hadoop.USER}'
    return server, f'hdfs://127.0.0.1:{port}/shows?user={hadoop.USER}', peer, {}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--server', choices=[*s3_servers.SERVERS, 'hdfs'], default='radosgw')
    parser.add_argument('--line', nargs=2, type=float, metavar=('MBIT', 'MS'))
    o, more = parser.parse_known_args()
    road = line.Line(*o.line) if o.line else None
    with tempfile.TemporaryDirectory(dir='/var/tmp') as folder:   # a real disk, or syncs are flattered
        where = pathlib.Path(folder)
        server, storage, peer, keys = hdfs(where, road) if o.server == 'hdfs' else s3(o.server, where, road)
        try:
            return subprocess.run([matinee.MATINEE, 'bench', 'store', '--storage', storage, '--peer', peer, *more],
                                  env={**os.environ, **keys}).returncode
        finally:
            server.close()


if __name__ == '__main__':
    sys.exit(main())

"""Fixtures: a server that ends with the test, whatever happens in between."""
import os
import pathlib
import random
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import matinee  # noqa: E402
from street import Street  # noqa: E402


def pytest_configure(config):
    # The processes of one run must draw the same: they are started after this, and have its environment.
    os.environ.setdefault('MATINEE_FIRE_SEED', str(random.SystemRandom().randrange(1000)))
    config.addinivalue_line('markers', 'alone: looks at a clock or at the load of the machine: no other test runs beside it')
    config.addinivalue_line('markers', 'long: waits for long, or needs much that is installed: CI runs it, and make check-long; make check does not')
    config.addinivalue_line('markers', "hadoop: needs Hadoop's own jars: make check-hadoop and CI run it")


@pytest.fixture
def make_server(tmp_path):
    """Starts servers with options of the test's choosing; ends them all."""
    servers = []

    def make(*options, data='data', start=True, environment=None, **listeners):
        server = matinee.Server(tmp_path / data, *options, environment=environment)
        servers.append(server)
        return server.start(**listeners) if start else server

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def server(make_server):
    return make_server('--segment', '2', '--grace', '2')


@pytest.fixture
def street():
    """Network namespaces; whoever uses it asks Street.possible() first."""
    place = Street()
    try:
        yield place.open()
    finally:
        place.close()


@pytest.fixture
def nats(tmp_path):
    server = matinee.Nats(tmp_path / 'nats')
    yield server.start()
    server.close()

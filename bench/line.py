"""A line of so many Mbit/s and ms between a client and a server of this machine: a relay for TCP that lets bytes through so fast and so late.

The kernel's own way (tc with netem) wants root, and a kernel that has netem. What this line has: one speed each way for all connections
together, which take turns piece by piece; a delay; and the round trip that a connection takes to begin. What it has not: loss and TCP's slow start.
"""
import queue
import socket
import threading
import time

PIECE_BYTES = 65536
PIECES_UNDER_WAY = 64   # of a connection, one way: four megabytes, as a window of TCP grows to
CREDIT_S = 0.002        # a line that slept longer than it wanted to makes up for it


class Way:
    """One direction: when what is sent now has left, and when it has arrived."""

    def __init__(self, mbit, ms):
        self.bytes_a_second, self.delay_s = mbit * 125000, ms / 1000
        self.free_at = 0
        self.lock = threading.Lock()

    def left_at(self, size):
        with self.lock:
            self.free_at = max(self.free_at, time.monotonic() - CREDIT_S) + size / self.bytes_a_second
            return self.free_at


def sleep_until(at):
    left = at - time.monotonic()
    if left > 0:
        time.sleep(left)


def deliver(passing, target):
    """Ends with an empty piece, behind which nothing comes; where nobody takes the bytes any more they are lost."""
    while True:
        due, piece = passing.get()
        sleep_until(due)
        try:
            if not piece:
                return target.shutdown(socket.SHUT_WR)
            target.sendall(piece)
        except OSError:
            if not piece:
                return None


def carry(source, target, way, begins_at):
    passing = queue.Queue(PIECES_UNDER_WAY)
    end = threading.Thread(target=deliver, args=(passing, target), daemon=True)
    end.start()
    piece = b'?'
    while piece:
        try:
            piece = source.recv(PIECE_BYTES)
        except OSError:
            piece = b''
        sleep_until(begins_at)
        left = way.left_at(len(piece))
        sleep_until(left)
        passing.put((left + way.delay_s, piece))
    end.join()


class Line:
    def __init__(self, mbit, round_trip_ms):
        self.up, self.down = Way(mbit, round_trip_ms / 2), Way(mbit, round_trip_ms / 2)
        self.round_trip_s = round_trip_ms / 1000

    def open(self, server, at=('127.0.0.1', 0)):
        """Listens `at` an address for `server`, both (host, port), for as long as the process lives; returns the port."""
        listener = socket.create_server(at, backlog=128)
        threading.Thread(target=self.take, args=(listener, server), daemon=True).start()
        return listener.getsockname()[1]

    def take(self, listener, server):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=self.join, args=(client, server), daemon=True).start()

    def join(self, client, server):
        begins_at = time.monotonic() + self.round_trip_s
        try:
            there = socket.create_connection(server)
        except OSError:
            return client.close()
        with client, there:
            for one in (client, there):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=carry, args=(there, client, self.down, begins_at), daemon=True)
            back.start()
            carry(client, there, self.up, begins_at)
            back.join()
        return None

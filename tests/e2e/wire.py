"""A wire between matinee and MariaDB that reads along (the client/server protocol, in clear): it knows which statements a transaction
is made of, and can have something happen at its COMMIT, neither before nor after."""
import contextlib
import socket
import struct
import threading

COM_QUERY, COM_STMT_PREPARE, COM_STMT_EXECUTE, COM_STMT_BULK_EXECUTE = 0x03, 0x16, 0x17, 0xfa

MOMENTS = 'before', 'at', 'after'


class Trap:
    """Springs once, at the commit of the next transaction that has a statement with `text` in it, or at the next plain statement with
    it, which is a transaction by itself: *before* it reaches the database, *at* the same time, or *after* the database has done it and
    before anybody hears of that."""

    def __init__(self, wire, text, moment, act):
        assert moment in MOMENTS
        self.wire, self.text, self.moment, self.act = wire, text, moment, act
        self.lock = threading.Lock()
        self.is_set, self.sprung = True, threading.Event()

    def springs(self, statements):
        """Whether it is this one: true once."""
        with self.lock:
            hit = self.is_set and any(self.text in s for s in statements)
            self.is_set = self.is_set and not hit
        return hit

    def spring(self):
        self.wire.is_open = False
        self.act()
        self.sprung.set()

    def wait(self, seconds=30):
        assert self.sprung.wait(seconds), f'no transaction with {self.text!r} was committed within {seconds} s'


class Wire:
    def __init__(self, port):
        """To the database at that port of loopback."""
        self.to = port
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        self.trap = None
        self.is_open = True  # a trap closes it to new connections when it springs
        threading.Thread(target=self.accept, daemon=True).start()

    def set(self, text, moment, act):
        self.trap = Trap(self, text, moment, act)
        return self.trap

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.join, args=(client,), daemon=True).start()

    def join(self, client):
        try:
            if not self.is_open:
                raise ConnectionError
            server = socket.create_connection(('127.0.0.1', self.to))
        except OSError:
            client.close()
            return
        Line(self, client, server).run()

    def close(self):
        self.listener.close()


class Line:
    """One connection: the client says something, the server answers, in turns."""

    def __init__(self, wire, client, server):
        self.wire, self.client, self.server = wire, client, server
        self.texts = {}  # of prepared statements, by the server's number
        self.preparing = None
        self.transaction = []
        self.caught = None  # the trap that waits for this answer

    def run(self):
        for s in (self.client, self.server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers = threading.Thread(target=self.pump, args=(self.server, self.client, self.answered), daemon=True)
        answers.start()
        self.pump(self.client, self.server, self.said)
        answers.join()
        self.client.close()
        self.server.close()

    def pump(self, source, sink, look):
        """Packets from one to the other until either is gone; `look` may keep one back."""
        with contextlib.suppress(OSError, EOFError):
            while True:
                head = self.read(source, 4)
                body = self.read(source, int.from_bytes(head[:3], 'little'))
                if look(head[3], body):
                    sink.sendall(head + body)
        for s in (source, sink):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def read(source, size):
        got = b''
        while len(got) < size:
            piece = source.recv(size - len(got))
            if not piece:
                raise EOFError
            got += piece
        return got

    def said(self, number, body):
        """What the client says; false: it does not reach the server."""
        command = body[0] if body and number == 0 else None
        if command == COM_STMT_PREPARE:
            self.preparing = body[1:].decode(errors='replace')
        elif command in (COM_STMT_EXECUTE, COM_STMT_BULK_EXECUTE):
            self.transaction.append(self.texts.get(struct.unpack('<I', body[1:5])[0], ''))
        elif command == COM_QUERY:
            text = body[1:].decode(errors='replace')
            ended = self.transaction if text == 'COMMIT' else [text]
            if text in ('COMMIT', 'ROLLBACK'):
                self.transaction = []
            trap = self.wire.trap
            if trap is not None and text != 'ROLLBACK' and trap.springs(ended):
                return self.spring(trap, number, body)
        return True

    def spring(self, trap, number, body):
        if trap.moment == 'before':
            trap.spring()
            raise EOFError
        if trap.moment == 'after':
            self.caught = trap
            return True
        self.server.sendall(len(body).to_bytes(3, 'little') + bytes([number]) + body)
        trap.spring()
        raise EOFError

    def answered(self, number, body):
        if self.preparing is not None and number == 1:
            if body[0] == 0:
                self.texts[struct.unpack('<I', body[1:5])[0]] = self.preparing
            self.preparing = None
        if self.caught is not None:
            self.caught.spring()
            raise EOFError
        return True

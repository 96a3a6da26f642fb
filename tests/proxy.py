"""A way to a server that can be cut and mended: what a network, or a restart, does to whoever talks through it."""

import contextlib
import select
import socket
from collections.abc import Iterator
from threading import Event, Thread
from urllib.parse import urlsplit

POLL = 0.02


class Proxy:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname, parts.port)
        self._is_cut, self._cut_was_made, self._is_over = Event(), Event(), Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{parts.port}", f":{self._listener.getsockname()[1]}")
        Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Ends all connections, and each new one at once, until it is mended."""
        self._is_cut.set()
        assert self._cut_was_made.wait(10)

    def mend(self) -> None:
        self._is_cut.clear()
        self._cut_was_made.clear()

    def close(self) -> None:
        self._is_over.set()

    def _serve(self) -> None:
        peers: dict[socket.socket, socket.socket] = {}
        with self._listener:
            while not self._is_over.is_set():
                if self._is_cut.is_set():
                    _end(peers, *peers)
                    self._cut_was_made.set()
                for ready in select.select([self._listener, *peers], [], [], POLL)[0]:
                    if ready is self._listener:
                        client = self._listener.accept()[0]
                        if self._is_cut.is_set():
                            client.close()
                        else:
                            server = socket.create_connection(self._server)
                            peers |= {client: server, server: client}
                    elif ready in peers:
                        _forward(peers, ready)
            _end(peers, *peers)


def _forward(peers: dict[socket.socket, socket.socket], source: socket.socket) -> None:
    try:
        data = source.recv(65536)
        peers[source].sendall(data)
    except OSError:
        data = b""
    if not data:
        _end(peers, source, peers[source])


def _end(peers: dict[socket.socket, socket.socket], *ended: socket.socket) -> None:
    for each in ended:
        peers.pop(each, None)
        each.close()


@contextlib.contextmanager
def proxy_to(url: str) -> Iterator[Proxy]:
    proxy = Proxy(url)
    try:
        yield proxy
    finally:
        proxy.close()

"""A proxy before the engine's socket that refuses, answers itself, or falls silent, when it is told to."""

import json
import socket
import threading
from contextlib import suppress
from pathlib import Path

from tests.docker.engine import pour

HEAD = "HTTP/1.1 {} Said\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n"


def answer(status, kind, text):
    return (HEAD.format(status, kind, len(text)) + text).encode()


class Proxy:
    """One request a connection, so that each is judged. What it silences never arrives, what it swallows is done."""

    def __init__(self, engine_socket: Path, folder: Path):
        self._engine, self.socket = engine_socket, folder / "proxy"
        self.refuses = lambda method, path: False
        self.says = lambda method, path: None
        self.silences = lambda method, path: False
        self.swallows = lambda method, path: False
        self.asked = []
        self._open = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.socket))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self):
        return f"unix://{self.socket}"

    def close(self):
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self):
        """Break every connection that is open."""
        ends, self._open = self._open, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _serve(self):
        with suppress(OSError):
            while True:
                inner, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(inner,), daemon=True).start()

    def _answer(self, inner):
        head = b""
        with suppress(OSError):
            while b"\r\n\r\n" not in head:
                if not (data := inner.recv(65536)):
                    break
                head += data
        if not head:
            inner.close()
            return
        method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.asked.append((method, path))
        self._open.append(inner)
        if self.silences(method, path):
            return  # it stays open, and nothing comes
        if self.refuses(method, path):
            with suppress(OSError):
                inner.sendall(answer(403, "text/html", "Forbidden"))
            inner.close()
            return
        if said := self.says(method, path):
            status, text = said
            inner.sendall(answer(status, "application/json", json.dumps({"message": text})))
            inner.close()
            return
        self._lead(inner, head, method, path)

    def _lead(self, inner, head, method, path):
        outer = socket.socket(socket.AF_UNIX)
        try:
            outer.connect(str(self._engine))
        except OSError:
            inner.close()
            return
        self._open.append(outer)
        line, _, rest = head.partition(b"\r\n")
        outer.sendall(line + b"\r\nConnection: close\r\n" + rest)
        threading.Thread(target=pour, args=(inner, outer), daemon=True).start()
        self._give(outer, inner, method, path)

    def _give(self, outer, inner, method, path):
        """The answer; once silent, the rest of it is swallowed."""
        with suppress(OSError):
            while data := outer.recv(65536):
                if self.silences(method, path) or self.swallows(method, path):
                    return
                inner.sendall(data)
        if not (self.silences(method, path) or self.swallows(method, path)):
            for end in (outer, inner):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

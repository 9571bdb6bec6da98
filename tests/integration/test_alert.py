"""Alerts: to the log always, to whoever wants them over HTTP; a listener that fails or hangs fails nothing."""

import json
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from lifecycle.domain.recovery import Alert, Tone
from lifecycle.services import alert
from lifecycle.services.alert import tell

BROKEN = Alert(tone=Tone.BROKEN, key="shop/db", name="shop-db-1", text="given up for now")
WELL = Alert(tone=Tone.RESOLVED, key="shop/db", name="shop-db-1", text="well again")


@pytest.fixture
def listener():
    """What is posted, and an answer that a test may change."""
    posted, answer = [], {"status": 204}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if answer["status"]:
                self.send_response(answer["status"])
                self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", posted, answer
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_alert_is_logged(caplog):
    caplog.set_level(logging.INFO, "lifecycle.docker")
    tell([BROKEN, WELL], None)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "alert broken name=shop-db-1: given up for now"),
        ("INFO", "alert resolved name=shop-db-1: well again"),
    ]


def test_an_alert_is_posted_once(listener):
    pytest.importorskip("httpx")
    url, posted, _ = listener
    tell([BROKEN, WELL], url)
    tell([], url)
    assert posted == [
        {"tone": "broken", "key": "shop/db", "name": "shop-db-1", "text": "given up for now"},
        {"tone": "resolved", "key": "shop/db", "name": "shop-db-1", "text": "well again"},
    ]


@pytest.mark.parametrize("status", [500, None], ids=["refuses", "hangs up"])
def test_what_cannot_be_posted_is_told_and_lost(listener, caplog, status):
    pytest.importorskip("httpx")
    url, posted, answer = listener
    answer["status"] = status
    tell([BROKEN], url)
    assert len(posted) == 1
    assert "alerts not posted count=1" in caplog.text


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "no url", "http://[::1"])
def test_nobody_there(caplog, url):
    pytest.importorskip("httpx")
    tell([BROKEN], url)
    assert "alerts not posted count=1" in caplog.text


def test_a_listener_that_hangs_is_not_waited_for(listener, caplog, monkeypatch):
    pytest.importorskip("httpx")
    monkeypatch.setattr(alert, "TIMEOUT", 0.1)
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        tell([BROKEN], f"http://127.0.0.1:{silent.getsockname()[1]}/")
    assert "alerts not posted count=1" in caplog.text


def test_the_address_is_a_secret(listener, caplog):
    pytest.importorskip("httpx")
    url, posted, answer = listener
    caplog.set_level(logging.DEBUG)
    for answer["status"] in (204, 500, None):
        tell([BROKEN], f"{url}services/T000/SECRET")
    tell([BROKEN], "http://127.0.0.1:1/SECRET")
    assert len(posted) == 3
    assert "alert refused status=500" in caplog.text
    assert "SECRET" not in caplog.text


def test_who_answers_a_byte_at_a_time_is_not_waited_for(caplog, monkeypatch):
    pytest.importorskip("httpx")
    monkeypatch.setattr(alert, "TIMEOUT", 0.5)
    import socket

    over = threading.Event()

    def drip(server):
        line, _ = server.accept()
        with line:
            for _ in range(600):
                if over.wait(0.1):
                    return
                line.send(b"H" if _ else b"HTTP/1.1 200 OK\r\nX: ")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        tell([BROKEN, WELL], f"http://127.0.0.1:{server.getsockname()[1]}/")
        assert thread.is_alive()
        assert "alerts not posted count=2 in time" in caplog.text
        over.set()
        thread.join()


def test_what_is_refused_keeps_no_other_from_being_posted(listener):
    pytest.importorskip("httpx")
    url, posted, answer = listener
    answer["status"] = 500
    tell([BROKEN, WELL], url)
    assert len(posted) == 2


def test_without_httpx_it_is_only_logged(caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    tell([BROKEN], "http://127.0.0.1:1/")
    assert alert.NO_HTTPX in caplog.text

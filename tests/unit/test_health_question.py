from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from streams.cli.health_question import health_at
from streams.errors import SettingInvalid
from streams.settings import Settings

WITHOUT_THE_FILE = Settings(tls_ca="/none.pem")


class Well(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"kafka": 1}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def at() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Well) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_is_asked_in_the_clear_though_certificates_are_missing(at: str) -> None:
    assert health_at(WITHOUT_THE_FILE, at) == {"kafka": 1}


def test_over_tls_missing_certificates_are_told(at: str) -> None:
    with pytest.raises(SettingInvalid, match="FOREMESH_TLS_CA"):
        health_at(WITHOUT_THE_FILE, f"https://{at}")

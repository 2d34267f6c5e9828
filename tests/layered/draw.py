"""A service that needs the weights; it answers with what it sees of itself."""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import weights


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        random = sys.modules.get("numpy.random")
        seen = {
            "pid": os.getpid(),
            "parent": os.getppid(),
            "loaded_by": weights.LOADED_BY,
            "arguments": sys.argv[1:],
            "main": sys.modules["__main__"].__file__,
            "threads": threading.active_count(),
            "drawn": random.random() if random else 0.0,
        }
        body = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    if "--child" in sys.argv and os.fork() == 0:
        threading.Event().wait()
    HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()

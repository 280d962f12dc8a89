"""A server on this machine that answers as a test says."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread


@contextmanager
def server(*statuses: int) -> Iterator[tuple[str, list[str]]]:
    """Serve these statuses one after the other, the last for good; gives the address and the paths asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(statuses[min(len(asked), len(statuses) - 1)])
            asked.append(self.path)
            self.end_headers()
            self.wfile.write(b'{"parts":{"postgres":"down"}}')

        def log_message(self, *_):
            """Keep the tests' output clean."""

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}", asked
        finally:
            listening.shutdown()
            thread.join()

"""A small reverse proxy that shows a server under /labels, as nginx does."""

import http.client
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FOLDER = "/labels"
HOP_BY_HOP = ("connection", "transfer-encoding", "keep-alive", "host")


@contextmanager
def reverse_proxy(port, strips):
    """The address of a proxy for the server at `port`, which may start later.

    It takes /labels away and sends the server's own host, or, unless it `strips`, leaves path and host as they are.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def forward(self):
            if not self.path.startswith(f"{FOLDER}/"):
                self.send_error(404)
                return
            path = self.path.removeprefix(FOLDER) if strips else self.path
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            headers["Host"] = f"127.0.0.1:{port}" if strips else self.headers["Host"]
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            try:
                upstream.request(self.command, path, body or None, headers)
                answer = upstream.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                self.end_headers()
                while block := answer.read1(65536):
                    self.wfile.write(block)
                    self.wfile.flush()
            except ConnectionError:
                pass  # the browser has left
            finally:
                upstream.close()

        do_GET = do_POST = do_HEAD = forward  # noqa: N815 - names of the base class

        def log_message(self, *arguments):
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{FOLDER}"
    finally:
        server.shutdown()
        server.server_close()

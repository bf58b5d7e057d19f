"""A stand-in for the hub: the same addresses and headers, files from memory."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "1234567890abcdef1234567890abcdef12345678"


class Hub:
    """files: (repository, name) -> content;  stalled: names that stop half way;  gated: closed
    repositories;  lies: names whose sum the hub gives wrongly;  ranges: what was asked for in parts
    """

    def __init__(self, files):
        self.files = files
        self.stalled, self.gated, self.lies = set(), set(), set()
        self.ranges, self.begun = [], threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *unused):
                pass

            def do_HEAD(self):
                hub.answer(self, body=False)

            def do_GET(self):
                hub.answer(self, body=True)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def sum_of(self, repository, name):
        content = self.files[repository, name] + b"?" * (name in self.lies)
        return hashlib.sha256(content).hexdigest()

    def answer(self, request, *, body):
        path = request.path.split("?")[0]
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        repository = file.group(1) if file else ""
        if repository in self.gated:
            self.send(request, 403, b"closed", {"X-Error-Code": "GatedRepo"}, body=body)
        elif file and (repository, file.group(3)) in self.files:
            self.send_file(request, repository, file.group(3), body=body)
        else:
            missing = {"X-Error-Code": "EntryNotFound" if repository else "RepoNotFound"}
            self.send(request, 404, b"none", missing, body=body)

    def send_file(self, request, repository, name, *, body):
        content = self.files[repository, name]
        headers = {
            "ETag": f'"{self.sum_of(repository, name)}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if not wanted:
            self.send(request, 200, content, headers, body=body, stall=name in self.stalled)
            return
        first = int(wanted.group(1))
        if first:
            self.ranges.append((name, first))
        headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        part = content[first:]
        self.send(request, 206, part, headers, body=body, stall=name in self.stalled)

    def send(self, request, code, content, headers, *, body, stall=False):
        request.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            request.send_header(key, value)
        request.end_headers()
        if not body:
            return
        if stall:
            request.wfile.write(content[: len(content) // 2])
            request.wfile.flush()
            self.begun.set()
            time.sleep(60)
            return
        request.wfile.write(content)

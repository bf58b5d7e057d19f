"""A real server with the cheap tools, and a client that can say anything.

python tests/serving.py FOLDER [SECONDS_PER_CLIP]
"""

import json
import signal
import subprocess
import sys
import time
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote, urlsplit

import cheap
from facerestore.serve.server import serve

PATIENCE_SECONDS = 300


class Client:
    """Asks the server as its own page does, unless told otherwise."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.url, self.address, self.base = url, parts.netloc, parts.path

    def ask(self, method, path, *, body=None, headers=None, host=None, base=None):
        """Status, headers and body; headers with the value None are left out."""
        connection = HTTPConnection(self.address, timeout=60)
        whole = (self.base if base is None else base) + path
        connection.putrequest(method, whole, skip_host=True, skip_accept_encoding=True)
        fields = {"Host": self.address if host is None else host}
        if method not in ("GET", "HEAD"):
            fields |= {"X-Facerestore": "1", "Origin": f"http://{self.address}"}
        if body is not None:
            fields["Content-Length"] = str(len(body))
        for name, value in (fields | (headers or {})).items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return SimpleNamespace(
            status=answer.status, headers=answer.headers, body=content, text=content.decode("latin")
        )

    def get(self, path, **how):
        return self.ask("GET", path, **how)

    def json(self, path):
        answer = self.get(path)
        assert answer.status == 200, answer.text
        return json.loads(answer.body)

    def post(self, path, content, **headers):
        body = json.dumps(content).encode()
        return self.ask("POST", path, body=body, headers={"Content-Type": "application/json"})

    def upload(self, name, content):
        return self.ask("PUT", f"api/films?name={quote(name)}", body=content)

    def ticket(self, number):
        return next(one for one in self.json("api/queue") if one["number"] == number)

    def until(self, number, condition):
        """The ticket as soon as the condition holds."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not condition(ticket := self.ticket(number)):
            assert time.monotonic() < end, ticket
            time.sleep(0.05)
        return ticket

    def over(self, number):
        return self.until(number, lambda one: one["status"] not in ("waiting", "working"))


def begin(folder, seconds=0.0):
    """A server's process and a client of it."""
    command = [sys.executable, __file__, str(folder), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return process, Client(process.stdout.readline().strip())


def end(process):
    """End a server as Ctrl-C does; what it said on stderr."""
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return said


def tools(options, *, seconds):
    """As `load_tools`, in the sandbox."""
    made = cheap.cheap(options)
    made.restorer.seconds = seconds
    return made


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serve(
        Path(sys.argv[1]),
        host="127.0.0.1",
        port=0,
        opened=partial(print, flush=True),
        load=partial(tools, seconds=float((*sys.argv[2:], "0")[0])),
    )
